//! A WebSocket as a stream of bytes, for MQTT: frames are cut without regard to packets
//! [MQTT-6.0.0-2].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use roost_wire::websocket::{
    CloseError, Decoder, Event, Kind, Limits, Opcode, close_code, encode_close, encode_frame,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::Stream;

/// How much is read from the socket at once.
const READ_LENGTH: usize = 16 * 1024;
/// The largest message, all its frames together. MQTT's own limit is below it.
const MESSAGE_LENGTH_MAX: u32 = 16 * 1024 * 1024;
/// How many bytes of answers to pings may wait; a peer that sends more without reading is cut off.
const OUTPUT_LENGTH_MAX: usize = 512 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct WebSocketStream {
    stream: Stream,
    decoder: Decoder,
    /// Read and not decoded.
    input: Vec<u8>,
    /// Decoded and not taken.
    payload: Vec<u8>,
    /// Encoded and not written.
    output: Vec<u8>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// A close frame is in the output or was written; what comes is dropped.
    Closing,
}

impl WebSocketStream {
    /// A stream whose upgrade was answered; `input` came behind the request.
    pub(crate) fn new(stream: Stream, input: Vec<u8>) -> Self {
        Self {
            stream,
            decoder: Decoder::new(Limits { message_max: MESSAGE_LENGTH_MAX }),
            input,
            payload: Vec::new(),
            output: Vec::new(),
            phase: Phase::Open,
        }
    }

    fn close(&mut self, code: u16, reason: &str) {
        if self.phase == Phase::Open {
            encode_close(code, reason, &mut self.output);
            self.phase = Phase::Closing;
        }
    }

    /// Decodes what was read into `payload`.
    fn decode(&mut self) {
        let mut input = std::mem::take(&mut self.input);
        let mut consumed = 0;
        while self.phase == Phase::Open {
            let step = match self.decoder.decode(input.get_mut(consumed..).unwrap_or_default()) {
                Ok(step) => step,
                Err(CloseError { code, reason }) => return self.close(code, reason),
            };
            consumed += step.consumed;
            match step.event {
                Event::NeedMore => {
                    input.drain(..consumed);
                    if !input.is_empty() {
                        self.input = input;
                    }
                    return;
                }
                Event::Data(data) if data.kind == Kind::Binary => {
                    self.payload.extend_from_slice(data.payload)
                }
                // [MQTT-6.0.0-1]
                Event::Data(_) => self.close(close_code::UNSUPPORTED_DATA, "MQTT comes in binary frames"),
                Event::Ping(payload) => encode_frame(Opcode::Pong, payload, &mut self.output),
                Event::Pong(_) => {}
                Event::Close { code, .. } => self.close(code.unwrap_or(close_code::NORMAL), ""),
            }
        }
    }

    fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.output))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => drop(self.output.drain(..count)),
            }
        }
        self.output = Vec::new();
        Poll::Ready(Ok(()))
    }

    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.payload.len().min(buffer.remaining());
        buffer.put_slice(self.payload.get(..count).unwrap_or_default());
        self.payload.drain(..count);
        if self.payload.is_empty() {
            self.payload = Vec::new();
        }
    }
}

impl AsyncRead for WebSocketStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.input.is_empty() {
                self.decode();
            }
            if self.output.len() > OUTPUT_LENGTH_MAX {
                return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
            }
            // Pongs and the close frame leave as the socket takes them; only an error matters here.
            if let Poll::Ready(Err(error)) = self.poll_output(context) {
                return Poll::Ready(Err(error));
            }
            if !self.payload.is_empty() {
                self.give(buffer);
                return Poll::Ready(Ok(()));
            }
            if self.phase == Phase::Closing {
                return Poll::Ready(Ok(()));
            }
            let mut bytes = [0; READ_LENGTH];
            let mut room = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut room))?;
            if room.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.input.extend_from_slice(room.filled());
        }
    }
}

impl AsyncWrite for WebSocketStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_output(context))?;
        if self.phase == Phase::Closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        encode_frame(Opcode::Binary, bytes, &mut self.output);
        match self.poll_output(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What the socket did not take yet leaves with the next write or flush.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close(close_code::NORMAL, "");
        ready!(self.poll_output(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
