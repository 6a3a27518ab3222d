//! A WebSocket of whole messages, for what speaks JSON and for the echo.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use roost_wire::websocket::{
    Assembler, CloseError, Decoder, Event, Kind, Limits, Opcode, close_code, encode_close, encode_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::stream::Stream;

/// The largest message.
pub(crate) const MESSAGE_LENGTH_MAX: u32 = 1024 * 1024;
/// How many bytes may wait to be written before no more is taken from who writes.
const OUTPUT_LENGTH_MAX: usize = 256 * 1024;
/// How much more a peer may make us owe it (pongs, echoes) before we hang up.
const OUTPUT_EXCESS_MAX: usize = 4 * 1024 * 1024;
/// Pings without an answer before we hang up (W-16).
const UNANSWERED_MAX: u32 = 2;
/// How long a peer has to answer our close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
    decoder: Decoder,
    assembler: Assembler,
    input: BytesMut,
    output: BytesMut,
    /// Frames that wait to be written one by one.
    alone: VecDeque<BytesMut>,
    /// How many bytes have come, by which silence is told.
    pub(crate) received: u64,
    /// What the peer said with its close frame.
    pub(crate) farewell: String,
    /// Pings of ours that nobody answered.
    unanswered: u32,
}

/// A message that came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
}

/// Why no message comes any more.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The peer hung up.
    Lost,
    /// The peer said good-bye, with this code.
    Closed(u16),
    /// The peer broke the protocol.
    Broken(CloseError),
}

impl From<io::Error> for Ended {
    fn from(_error: io::Error) -> Self {
        Self::Lost
    }
}

impl Socket {
    /// A socket whose upgrade was answered; `input` came behind the request.
    pub(crate) fn new(stream: Stream, input: &[u8]) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer,
            decoder: Decoder::new(Limits { message_max: MESSAGE_LENGTH_MAX }),
            assembler: Assembler::default(),
            input: BytesMut::from(input),
            output: BytesMut::new(),
            alone: VecDeque::new(),
            received: 0,
            farewell: String::new(),
            unanswered: 0,
        }
    }

    /// Whether the peer keeps up with what is sent.
    pub(crate) fn has_room(&self) -> bool {
        self.output.len() < OUTPUT_LENGTH_MAX
    }

    /// The next message; also writes what is to be sent, so it is to be awaited all the time.
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Received, Ended> {
        loop {
            if let Some(received) = self.decode()? {
                return Ok(received);
            }
            if self.output.len() > OUTPUT_LENGTH_MAX + OUTPUT_EXCESS_MAX {
                return Err(Ended::Lost);
            }
            let Self { reader, writer, input, output, alone, received, .. } = self;
            if output.is_empty()
                && let Some(frame) = alone.pop_front()
            {
                *output = frame;
            }
            tokio::select! {
                read = reader.read_buf(input) => match read? {
                    0 => return Err(Ended::Lost),
                    count => *received += count as u64,
                },
                written = writer.write_buf(output), if !output.is_empty() => {
                    written?;
                    if output.is_empty() {
                        *output = BytesMut::new();
                        writer.flush().await?;
                    }
                }
            }
        }
    }

    fn decode(&mut self) -> Result<Option<Received>, Ended> {
        loop {
            let Self { decoder, assembler, input, output, .. } = self;
            let step = decoder.decode(input).map_err(Ended::Broken)?;
            let consumed = step.consumed;
            let mut message = None;
            match step.event {
                Event::NeedMore => {
                    input.advance(consumed);
                    if input.is_empty() {
                        *input = BytesMut::new();
                    }
                    return Ok(None);
                }
                Event::Data(data) => {
                    message = assembler.push(data).map(|message| Received {
                        kind: message.kind,
                        payload: message.payload.into_owned(),
                    });
                }
                Event::Ping(payload) => encode_frame(Opcode::Pong, payload, output),
                Event::Pong(_) => self.unanswered = 0,
                Event::Close { code, reason } => {
                    self.farewell = reason.to_owned();
                    return Err(Ended::Closed(code.unwrap_or(close_code::NORMAL)));
                }
            }
            self.input.advance(consumed);
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// Puts a message into the output; [`Socket::next`] writes it.
    pub(crate) fn send(&mut self, kind: Kind, payload: &[u8]) {
        let opcode = match kind {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
        };
        encode_frame(opcode, payload, &mut self.output);
    }

    /// Queues a text that leaves with a write of its own, so that it is one TCP segment where it fits
    /// one. The caller bounds how many wait.
    pub(crate) fn send_alone(&mut self, text: &str) {
        let mut frame = BytesMut::new();
        encode_frame(Opcode::Text, text.as_bytes(), &mut frame);
        self.alone.push_back(frame);
    }

    /// Pings, from time to time (W-16, W-18).
    ///
    /// # Errors
    /// Close code and words for a peer that is gone or stuck.
    pub(crate) fn look_after(&mut self) -> Result<(), (u16, &'static str)> {
        if self.unanswered < UNANSWERED_MAX {
            self.ping(b"");
            return Ok(());
        }
        match self.has_room() {
            true => Err((close_code::POLICY_VIOLATION, "two pings without an answer")),
            false => Err((close_code::TRY_AGAIN_LATER, "too slow")),
        }
    }

    pub(crate) fn ping(&mut self, payload: &[u8]) {
        self.unanswered += 1;
        encode_frame(Opcode::Ping, payload, &mut self.output);
    }

    /// Writes what is owed and a close frame, and waits a little for the peer's (W-15).
    pub(crate) async fn close(mut self, code: u16, reason: &str) {
        encode_close(code, reason, &mut self.output);
        let said = async {
            self.writer.write_all_buf(&mut self.output).await?;
            self.writer.shutdown().await?;
            // Not in the future itself, which is held as long as the connection.
            let mut rest = vec![0; 4096];
            while self.reader.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether it arrived or not, this is the end.
        drop(tokio::time::timeout(CLOSE_TIMEOUT, said).await);
    }
}

/// Answers the peer's end of a socket.
pub(crate) async fn end(socket: Socket, ended: Ended) {
    match ended {
        Ended::Lost => {}
        Ended::Closed(code) => socket.close(code, "").await,
        Ended::Broken(CloseError { code, reason }) => socket.close(code, reason).await,
    }
}
