//! Plain TCP connections on one thread and one epoll, for what is not MQTT. What comes is handed to the case as it comes.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::outbox::Outbox;

const READ_LENGTH: usize = 64 * 1024;
const EVENTS_MAX: usize = 1024;

struct Connection {
    socket: TcpStream,
    outbox: Outbox,
}

/// See the module.
pub(crate) struct Sockets {
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    scratch: Vec<u8>,
}

/// What a case makes of what comes.
pub(crate) trait Talk {
    /// Bytes came on the connection of this number; what it answers goes behind `out`.
    fn hear(&mut self, number: usize, bytes: &[u8], out: &mut Vec<u8>) -> Result<()>;
}

impl Sockets {
    /// So many connections, numbered from 0.
    pub(crate) fn open(server: SocketAddr, count: usize) -> Result<Sockets> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(count);
        for number in 0..count {
            let socket = std::net::TcpStream::connect(server)
                .with_context(|| format!("opening connection {number}"))?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            let mut socket = TcpStream::from_std(socket);
            poll.registry().register(&mut socket, Token(number), Interest::READABLE | Interest::WRITABLE)?;
            connections.push(Connection { socket, outbox: Outbox::default() });
        }
        let events = Events::with_capacity(EVENTS_MAX);
        Ok(Sockets { poll, events, connections, scratch: vec![0; READ_LENGTH] })
    }

    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Bytes that the socket did not take yet.
    pub(crate) fn unsent(&self, number: usize) -> usize {
        self.connections.get(number).map_or(0, |connection| connection.outbox.len())
    }

    /// One write call, unless earlier bytes still wait.
    pub(crate) fn send(&mut self, number: usize, bytes: &[u8]) -> Result<()> {
        let connection = self.connections.get_mut(number).context("no such connection")?;
        let waits = !connection.outbox.is_empty();
        connection.outbox.bytes_mut().extend_from_slice(bytes);
        if !waits {
            connection.outbox.flush(&mut connection.socket)?;
        }
        Ok(())
    }

    /// Waits until something happens or the timeout is over, and tells what came.
    pub(crate) fn turn(&mut self, timeout: Duration, talk: &mut impl Talk) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            let Token(number) = event.token();
            let connection = self.connections.get_mut(number).context("no such connection")?;
            if event.is_readable() {
                connection.read(number, &mut self.scratch, talk)?;
            }
            if !connection.outbox.is_empty() {
                connection.outbox.flush(&mut connection.socket)?;
            }
        }
        Ok(())
    }
}

impl Connection {
    fn read(&mut self, number: usize, scratch: &mut [u8], talk: &mut impl Talk) -> Result<()> {
        loop {
            let count = match self.socket.read(scratch) {
                Ok(0) => bail!("the server closed connection {number}"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            talk.hear(number, scratch.get(..count).unwrap_or_default(), self.outbox.bytes_mut())?;
            // With edge-triggered epoll a short read means that a new edge will follow (epoll(7)).
            if count < scratch.len() {
                return Ok(());
            }
        }
    }
}
