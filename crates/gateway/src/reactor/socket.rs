//! A socket that a reactor watches, and what was reported of it.

use std::io::{self, ErrorKind, Read, Write};
use std::task::Poll;

use tokio::io::ReadBuf;

/// What a socket is ready for. Sockets are reported once per change, so a mark stands until the
/// socket itself says "not now".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness(u8);

impl Readiness {
    const READABLE: u8 = 1;
    const WRITABLE: u8 = 2;
    /// The peer will send no more. Stands for ever, since it is reported once.
    const CLOSED: u8 = 4;

    pub(super) fn set_readable(&mut self) {
        self.0 |= Self::READABLE;
    }
    pub(super) fn set_writable(&mut self) {
        self.0 |= Self::WRITABLE;
    }
    pub(super) fn close(&mut self) {
        self.0 |= Self::CLOSED | Self::WRITABLE;
    }
    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
    fn may_read(self) -> bool {
        self.0 & (Self::READABLE | Self::CLOSED) != 0
    }
    fn may_write(self) -> bool {
        self.0 & Self::WRITABLE != 0
    }
    fn was_read_empty(&mut self) {
        self.0 &= !Self::READABLE;
    }
    fn was_filled(&mut self) {
        self.0 &= !Self::WRITABLE;
    }
}

/// See the module. Reading and writing wake nobody: the reactor polls the connection whose socket
/// is reported.
#[derive(Debug)]
pub(crate) struct Socket {
    tcp: mio::net::TcpStream,
    pub(super) readiness: Readiness,
}

impl Socket {
    /// Of a socket that does not block.
    pub(super) fn new(tcp: std::net::TcpStream) -> Self {
        Self { tcp: mio::net::TcpStream::from_std(tcp), readiness: Readiness::default() }
    }

    pub(super) fn into_std(self) -> std::net::TcpStream {
        self.tcp.into()
    }

    pub(super) fn source(&mut self) -> &mut mio::net::TcpStream {
        &mut self.tcp
    }

    pub(crate) fn poll_read(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.readiness.may_read() {
            let room = buffer.initialize_unfilled();
            let wanted = room.len();
            match self.tcp.read(room) {
                Ok(count) => {
                    if count < wanted {
                        self.readiness.was_read_empty();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readiness.was_read_empty();
                    // After the end of the input nothing would block; a socket that says so is not at it.
                    return Poll::Pending;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }

    pub(crate) fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        while self.readiness.may_write() {
            match self.tcp.write(bytes) {
                Ok(count) => {
                    if count < bytes.len() {
                        self.readiness.was_filled();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readiness.was_filled(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }

    pub(crate) fn shutdown(&self) -> io::Result<()> {
        self.tcp.shutdown(std::net::Shutdown::Write)
    }
}
