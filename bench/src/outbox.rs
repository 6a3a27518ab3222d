//! Bytes that wait for a socket to take them. Without a bound: the load is closed-loop, so what waits is bounded by it.

use std::io::{ErrorKind, Result, Write};

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    start: usize,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Writes as much as the socket takes; what is left goes when it is writable again.
    pub(crate) fn flush(&mut self, socket: &mut impl Write) -> Result<()> {
        while let Some(rest) = self.bytes.get(self.start..).filter(|rest| !rest.is_empty()) {
            match socket.write(rest) {
                Ok(count) => self.start += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.start = 0;
        // A burst must not leave every connection with a large buffer: idle memory is one of the cases.
        if self.bytes.capacity() > KEPT_CAPACITY_MAX {
            self.bytes = Vec::new();
        }
        Ok(())
    }
}

const KEPT_CAPACITY_MAX: usize = 256 * 1024;
