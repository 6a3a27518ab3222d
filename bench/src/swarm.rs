//! All the MQTT clients of a run on one thread and one epoll. Acknowledgements that the protocol demands are given
//! here, together per read; everything else is told to the case as an `Arrival`.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::clock;
use crate::inbound::{Event, take};
use crate::outbox::Outbox;
use crate::wire::{self, Login, Qos, kind};

const READ_LENGTH: usize = 64 * 1024;
const EVENTS_MAX: usize = 1024;
/// Below mosquitto's listen backlog of 100, beyond which a connect waits for a retransmission.
const CONNECTS_AT_ONCE: usize = 50;
/// Below the ephemeral ports that one source address has towards one listener.
const CONNECTIONS_PER_ADDRESS: usize = 20_000;
/// How long a broker may say nothing while an answer is due.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) client: usize,
    /// When its bytes were read, by `clock::nanos`.
    pub(crate) nanos: u64,
    pub(crate) event: Event,
}

struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    outbox: Outbox,
    is_open: bool,
}

pub(crate) struct Swarm {
    server: SocketAddr,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    scratch: Vec<u8>,
}

impl Swarm {
    pub(crate) fn new(server: SocketAddr) -> Result<Swarm> {
        Ok(Swarm {
            server,
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_MAX),
            clients: Vec::new(),
            scratch: vec![0; READ_LENGTH],
        })
    }

    /// Connects and logs in one client per login, and gives their numbers.
    pub(crate) fn connect(&mut self, logins: &[Login]) -> Result<Range<usize>> {
        let first = self.clients.len();
        for some in logins.chunks(CONNECTS_AT_ONCE) {
            for login in some {
                self.connect_without_waiting(login)?;
            }
            self.wait_for(some.len(), |event| matches!(event, Event::Connected))
                .context("waiting for CONNACK")?;
        }
        Ok(first..self.clients.len())
    }

    /// For a session that is handed messages at once: none of them is lost to a wait for CONNACK.
    pub(crate) fn connect_without_waiting(&mut self, login: &Login) -> Result<()> {
        let number = self.open()?;
        let mut bytes = Vec::new();
        wire::encode_connect(login, &mut bytes)?;
        self.send(number, &bytes)
    }

    fn open(&mut self) -> Result<usize> {
        let number = self.clients.len();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let host @ 1.. = number / CONNECTIONS_PER_ADDRESS {
            let source = Ipv4Addr::new(127, 0, 0, u8::try_from(host + 1)?);
            let source = SocketAddr::new(IpAddr::V4(source), 0);
            socket.bind(&source.into()).context("binding a source address")?;
        }
        socket.connect(&self.server.into()).with_context(|| format!("connecting client {number}"))?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut socket, Token(number), Interest::READABLE | Interest::WRITABLE)?;
        self.clients.push(Client { socket, input: Vec::new(), outbox: Outbox::default(), is_open: true });
        Ok(number)
    }

    /// One SUBSCRIBE per entry with all its filters; returns when all are granted.
    pub(crate) fn subscribe(&mut self, wanted: &[(usize, Vec<String>)], qos: Qos) -> Result<()> {
        for some in wanted.chunks(CONNECTS_AT_ONCE) {
            for (client, filters) in some {
                let mut bytes = Vec::new();
                wire::encode_subscribe(1, filters, qos, &mut bytes)?;
                self.send(*client, &bytes)?;
            }
            self.wait_for(some.len(), |event| matches!(event, Event::Subscribed))
                .context("waiting for SUBACK")?;
        }
        Ok(())
    }

    /// DISCONNECT, and wait until the broker has closed the connection.
    pub(crate) fn disconnect(&mut self, client: usize) -> Result<()> {
        self.send(client, &[kind::DISCONNECT, 0])?;
        self.wait_for(1, |event| matches!(event, Event::Closed))
    }

    /// Polls until so many of the wanted events came; other arrivals are dropped.
    fn wait_for(&mut self, count: usize, wanted: impl Fn(&Event) -> bool) -> Result<()> {
        let mut arrivals = Vec::new();
        let mut seen = 0;
        while seen < count {
            self.poll(SILENCE_MAX, &mut arrivals)?;
            if arrivals.is_empty() {
                bail!("the broker said nothing for {SILENCE_MAX:?}");
            }
            for arrival in arrivals.drain(..) {
                if wanted(&arrival.event) {
                    seen += 1;
                } else if matches!(arrival.event, Event::Closed) {
                    bail!("the broker closed connection {}", arrival.client);
                }
            }
        }
        Ok(())
    }

    /// One write call, unless earlier bytes still wait.
    pub(crate) fn send(&mut self, client: usize, bytes: &[u8]) -> Result<()> {
        let found = self.clients.get_mut(client).context("no such client")?;
        let mut rest = bytes;
        if found.outbox.is_empty() {
            match found.socket.write(bytes) {
                Ok(count) => rest = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        found.outbox.bytes_mut().extend_from_slice(rest);
        Ok(())
    }

    /// Waits until something happens or the timeout is over, and appends what came.
    pub(crate) fn poll(&mut self, timeout: Duration, arrivals: &mut Vec<Arrival>) -> Result<()> {
        // A wake-up may bring nothing to tell (a socket became writable): then wait for the rest of the time.
        let deadline = clock::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(clock::now());
            match self.poll.poll(&mut self.events, Some(left)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &self.events {
                let Token(number) = event.token();
                let Some(client) = self.clients.get_mut(number) else {
                    continue;
                };
                if event.is_readable() {
                    client.read(number, &mut self.scratch, arrivals)?;
                }
                // The end came with the last bytes: it has no edge of its own after a short read.
                if event.is_read_closed() {
                    client.read(number, &mut self.scratch, arrivals)?;
                }
                if event.is_writable() && client.is_open && !client.outbox.is_empty() {
                    client.flush()?;
                }
            }
            if !arrivals.is_empty() || left.is_zero() {
                return Ok(());
            }
        }
    }
}

impl Client {
    fn read(&mut self, number: usize, scratch: &mut [u8], arrivals: &mut Vec<Arrival>) -> Result<()> {
        while self.is_open {
            let count = match self.socket.read(scratch) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
                Err(error) => return Err(error.into()),
            };
            let nanos = clock::nanos();
            let mut tell = |event| {
                arrivals.push(Arrival { client: number, nanos, event });
            };
            if count == 0 {
                self.is_open = false;
                tell(Event::Closed);
                return Ok(());
            }
            let bytes = scratch.get(..count).unwrap_or_default();
            let mut input = std::mem::take(&mut self.input);
            let rest = if input.is_empty() {
                take(bytes, &mut self.outbox, &mut tell)?
            } else {
                input.extend_from_slice(bytes);
                take(&input, &mut self.outbox, &mut tell)?
            };
            self.input = rest.to_vec();
            if !self.outbox.is_empty() {
                self.flush()?;
            }
            // With edge-triggered epoll a short read means that a new edge will follow (epoll(7)).
            if count < scratch.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        match self.outbox.flush(&mut self.socket) {
            // The broker was killed: what it had acknowledged still waits to be read, and the end of that is told.
            Err(error) if is_gone(error.kind()) => Ok(()),
            other => Ok(other?),
        }
    }
}

fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}
