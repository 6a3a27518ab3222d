//! A stream whose first bytes were read already, held to the strict form of requests, and given up
//! when its peer reads nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::framing::{Fault, Framing};
use crate::stream::Stream;

/// For how long a peer may take nothing of what is written to it (H-16).
const STALLED_MAX: Duration = Duration::from_secs(60);

/// Gives the bytes again that were read, then those that follow.
#[derive(Debug)]
pub(crate) struct Rewind {
    read: Vec<u8>,
    given: usize,
    stream: Stream,
    framing: Framing,
    /// Who reads on once a request for another protocol is answered.
    waiting: Option<Waker>,
    /// Since when the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Rewind {
    pub(crate) fn new(read: Vec<u8>, stream: Stream) -> Self {
        Self { read, given: 0, stream, framing: Framing::new(), waiting: None, stalled: None }
    }

    /// The stream, and what was read of it and not given yet.
    pub(crate) fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.read.get(self.given..).unwrap_or_default().to_vec())
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let rest = self.read.get(self.given..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..count).unwrap_or_default());
        self.given += count;
        if self.given == self.read.len() {
            (self.read, self.given) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps the end of what was read for later.
    fn give_back(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let rest = self.read.get(self.given..).unwrap_or_default();
            (self.read, self.given) = ([bytes, rest].concat(), 0);
        }
    }

    /// Notes that the peer takes something or does not; an error when it has not for too long.
    fn note<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALLED_MAX)));
        timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Rewind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.framing.is_over() {
            return Poll::Ready(Ok(()));
        }
        if self.framing.is_asked() {
            self.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = self.poll_bytes(context, buffer);
        match self.framing.follow(buffer.filled().get(before..).unwrap_or_default()) {
            Ok(taken) => {
                self.give_back(buffer.filled().get(before + taken..).unwrap_or_default());
                buffer.set_filled(before + taken);
            }
            Err(Fault::Head(index)) => {
                // No head has a NUL: whoever reads this refuses it.
                buffer.set_filled(before + index);
                buffer.put_slice(&[0]);
            }
            Err(Fault::Body(index)) => buffer.set_filled(before + index + 1),
        }
        polled
    }
}

impl AsyncWrite for Rewind {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.framing.is_asked() {
            self.framing.answered(bytes);
            if let Some(waiting) = self.waiting.take() {
                waiting.wake();
            }
        }
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.note(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.note(context, polled)
    }
}
