//! What a run did: so that a simulation in which something no longer happens is seen to have
//! stopped testing it, and so that two runs can be compared.

/// Something that a run is to go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A writer knows its message as acknowledged.
    Acknowledged,
    /// A reader took a message.
    Received,
    /// The power went.
    PowerCut,
    /// The program was killed.
    Killed,
    /// The program ended since the disk had refused.
    Broken,
    /// The store could not be opened at the first attempt.
    OpenedTwice,
    /// A publish was refused, for want of room or as the store was broken.
    Refused,
    /// A QoS 2 message was sent again, having been taken before.
    ExactlyOnceAgain,
    /// A session went over to another connection.
    TakenOver,
    /// A reader came back from a long sleep.
    Slept,
    /// A client with a will was lost.
    WillAfterLoss,
    /// A client with a will was connected when the server crashed.
    WillAfterCrash,
    /// A session of a short life was there again.
    Resumed,
    /// A session of a short life was over.
    Expired,
    /// A retained message was found after a crash.
    RetainedAfterCrash,
    /// A shared subscription gave a message to one of its members.
    Shared,
    /// A checkpoint was taken.
    Checkpoint,
    /// The beginning of the log went.
    Trimmed,
    /// What a sleeping session waits for was copied to the end of the log.
    CopiedForward,
    /// The writes that a power cut undid, those it tore, and what the disk refused.
    LostWrite,
    /// See [`Event::LostWrite`].
    TornWrite,
    /// See [`Event::LostWrite`].
    RefusedSync,
    /// See [`Event::LostWrite`].
    DiskError,
    /// See [`Event::LostWrite`].
    DiskFull,
}

/// How many kinds of events there are.
const EVENTS: usize = Event::DiskFull as usize + 1;

/// How often each event happened, and a hash of everything that did, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; EVENTS],
    /// The same for the same run.
    pub trace: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: [0; EVENTS], trace: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Tally {
    /// How often it happened.
    #[must_use]
    pub fn count(&self, event: Event) -> u64 {
        self.counts.get(event as usize).copied().unwrap_or(0)
    }

    /// It happened so many times more.
    pub(crate) fn add(&mut self, event: Event, times: u64) {
        if let Some(count) = self.counts.get_mut(event as usize) {
            *count += times;
        }
        self.note(event as u64);
        self.note(times);
    }

    /// Puts a number into the trace (FNV-1a).
    pub(crate) fn note(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Adds what another run did.
    pub(crate) fn join(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        // In whichever order the runs end.
        self.trace ^= other.trace;
    }
}
