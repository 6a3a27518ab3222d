//! A script as bytes: each step takes a few of them, and any bytes are a script.

/// How many clients there are.
pub(crate) const CLIENTS: usize = 4;

/// Seconds that pass: around the deadlines that packets name.
const WAITS: [u64; 8] = [1, 2, 3, 6, 11, 16, 40, 91];

/// One step.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A packet that is well-formed, unless a flaw is put into it.
    Packet { kind: u8, choices: [u8; 4], flaw: Option<(u8, u8)> },
    /// Bytes as they are.
    Raw(&'a [u8]),
    /// Says what a good client says to what it received.
    Answer,
    /// The client hangs up; its next step is over a new connection.
    HangUp,
    /// The client reads no more, or again.
    StopOrGoOnReading,
    /// Time passes, in seconds.
    Wait(u64),
    /// The server saves what it knows.
    Checkpoint,
}

/// Reads the steps of a script: which client, and what.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}

impl<'a> Iterator for Script<'a> {
    type Item = (usize, Step<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.byte()?;
        let client = usize::from(first >> 6);
        let mut more = || self.byte().unwrap_or(0);
        let step = match first & 0x3f {
            kind @ 0..=31 => {
                Step::Packet { kind: kind % 16, choices: [more(), more(), more(), more()], flaw: None }
            }
            kind @ 32..=39 => Step::Packet {
                kind: kind % 16,
                choices: [more(), more(), more(), more()],
                flaw: Some((more(), more())),
            },
            40..=45 => {
                let length = usize::from(more()).min(self.0.len());
                let (raw, rest) = self.0.split_at(length);
                self.0 = rest;
                Step::Raw(raw)
            }
            46..=53 => Step::Answer,
            54..=56 => Step::HangUp,
            57 => Step::StopOrGoOnReading,
            58 => Step::Checkpoint,
            _ => Step::Wait(WAITS[usize::from(more()) % WAITS.len()]),
        };
        Some((client, step))
    }
}
