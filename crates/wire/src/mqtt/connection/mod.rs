//! The server's side of one connection: order of packets, flow control, keep alive, topic aliases.
//!
//! Bytes and time come in as arguments, events go out. Which packet ids are in flight across
//! connections is the session's; here only their number is kept.

mod aliases;
mod error;
mod options;
mod output;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use self::aliases::Aliases;
pub use self::aliases::Topic;
pub use self::error::ConnectionError;
pub use self::options::ConnectionOptions;
pub use self::output::WriteError;
use super::fault::{self, DecodeError};
use super::{
    Ack, Auth, Connect, Decoded, Disconnect, Packet, Publish, QoS, ReasonCode, Subscribe, Unsubscribe,
    Version, decode,
};

/// What one connection needs to follow the protocol. Less than 200 bytes.
///
/// Times are [`Duration`]s since any moment that stays the same for the connection.
#[derive(Debug)]
pub struct Connection {
    options: Arc<ConnectionOptions>,
    deadline: Option<Duration>,
    aliases: Aliases,
    phase: Phase,
    version: Version,
    keep_alive: u16,
    client: Client,
    /// PUBLISH of the client that wait for our PUBACK or PUBREC.
    owed: u32,
    /// PUBLISH of the client that wait for its PUBREL.
    held: u32,
    /// Our PUBLISH that the client has not finished.
    sent: u16,
}

/// What CONNECT said about the client.
#[derive(Debug)]
struct Client {
    receive_maximum: u16,
    packet_size_max: u32,
    problem_information: Wanted,
    session_expiry: SessionExpiry,
    authentication: Authentication,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    AwaitingConnect,
    /// CONNECT was handed out and has no answer yet.
    Connecting,
    Connected,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionExpiry {
    Zero,
    Later,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Authentication {
    Plain,
    Enhanced,
}

/// What [`Connection::handle_input`] found at the beginning of the buffer.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<'a> {
    /// Something happened; `consumed` bytes of the buffer are done with.
    Event {
        /// Borrows from the buffer.
        event: Event<'a>,
        /// Bytes to drop from the front of the buffer.
        consumed: usize,
    },
    /// The packet is not complete.
    NeedMore {
        /// Bytes that the buffer must hold before it is worth another try.
        at_least: usize,
    },
    /// It is our turn: CONNECT waits for an answer, or too many PUBLISH for their acknowledgement.
    /// Keep the buffer, stop reading, and try again after [`Connection::answer_connect`] or
    /// [`Connection::write`].
    Waiting,
    /// The connection is over; what is in the buffer has no meaning any more.
    Closed,
}

/// What a client did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// Answer with [`Connection::answer_connect`]; nothing else is handed out before.
    Connect(Box<Connect<'a>>),
    /// A message. QoS 1 and 2 wait for [`Connection::write`] of PUBACK or PUBREC.
    Publish {
        /// The packet as it came; its topic may be empty.
        publish: Publish<'a>,
        /// The topic that is meant, whether by name or by alias.
        topic: Topic<'a>,
    },
    /// A message that must not be passed on. With QoS 1 and 2, acknowledge it with this reason;
    /// with QoS 0 drop it. MQTT 5.0 only.
    PublishRefused {
        /// The packet as it came; its topic may be empty.
        publish: Publish<'a>,
        /// Topic over a limit (0x90), or payload not as it says (0x99).
        reason: ReasonCode,
    },
    /// The client has a QoS 1 message.
    PubAck(Ack<'a>),
    /// The client has a QoS 2 message, or refuses it.
    PubRec(Ack<'a>),
    /// The client is done with a QoS 2 message that it sent.
    PubRel(Ack<'a>),
    /// The client is done with a QoS 2 message that it got.
    PubComp(Ack<'a>),
    /// Filters to add.
    Subscribe(Subscribe<'a>),
    /// Filters to remove.
    Unsubscribe(Unsubscribe<'a>),
    /// Answer with PINGRESP.
    PingReq,
    /// The last thing that is handed out. [`ReasonCode::NORMAL_DISCONNECTION`] drops the will,
    /// any other reason sends it.
    Disconnect(Disconnect<'a>),
    /// A step of enhanced authentication. That its method is that of CONNECT is not checked here.
    Auth(Auth<'a>),
}

impl Connection {
    /// A connection that was accepted at `now`. It has [`ConnectionOptions::connect_timeout`] for CONNECT.
    #[must_use]
    pub fn new(options: Arc<ConnectionOptions>, now: Duration) -> Self {
        Self {
            deadline: Some(now + options.connect_timeout),
            options,
            aliases: Aliases::default(),
            phase: Phase::AwaitingConnect,
            version: Version::V5,
            keep_alive: 0,
            client: Client {
                receive_maximum: u16::MAX,
                packet_size_max: u32::MAX,
                problem_information: Wanted::Yes,
                session_expiry: SessionExpiry::Zero,
                authentication: Authentication::Plain,
            },
            owed: 0,
            held: 0,
            sent: 0,
        }
    }

    /// The version that CONNECT asked for; 5.0 before CONNECT.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Has CONNECT been answered with success, and has the connection not ended since?
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Handles the packet at the beginning of `buffer`. Call it again, without the consumed bytes,
    /// until it says something else than an event.
    ///
    /// # Errors
    /// The client broke a rule: write the farewell of the error and close.
    pub fn handle_input<'a>(
        &mut self,
        buffer: &'a [u8],
        now: Duration,
    ) -> Result<Input<'a>, ConnectionError> {
        let version = match self.phase {
            Phase::Closed => return Ok(Input::Closed),
            Phase::AwaitingConnect => None,
            Phase::Connecting if self.client.authentication == Authentication::Plain => {
                return Ok(Input::Waiting);
            }
            // 3.1.1 has no receive maximum to hold a client to: the rest of the buffer waits.
            Phase::Connected if self.version == Version::V3 && self.is_reading_paused() => {
                return Ok(Input::Waiting);
            }
            Phase::Connecting | Phase::Connected => Some(self.version),
        };
        let handled = decode(buffer, version, &self.options.limits).and_then(|decoded| match decoded {
            Decoded::NeedMore { at_least } => Ok(Input::NeedMore { at_least }),
            Decoded::Packet { packet, length } => {
                let event = self.handle_packet(packet, now)?;
                Ok(Input::Event { event, consumed: length })
            }
        });
        handled.map_err(|error| self.fail(error, buffer))
    }

    /// Stop reading from the socket while this is true: as many PUBLISH are in flight as were
    /// allowed, and some of them wait for us. It changes with [`Connection::write`].
    #[must_use]
    pub fn is_reading_paused(&self) -> bool {
        // With nothing owed the next move is the client's: its PUBREL must be read.
        self.owed > 0 && self.in_flight() >= u32::from(self.options.receive_maximum.get())
    }

    /// When to call [`Connection::handle_timeout`]; `None` means never.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        self.deadline
    }

    /// Has the client been silent for too long at `now`?
    ///
    /// # Errors
    /// It has: write the farewell of the error and close.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), ConnectionError> {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        if self.phase != Phase::Connected {
            self.end();
            return Err(ConnectionError::silent((&fault::CONNECT_TIMEOUT).into()));
        }
        if self.is_reading_paused() {
            // It is we who do not listen.
            self.restart_keep_alive(now);
            return Ok(());
        }
        Err(self.fail((&fault::KEEP_ALIVE).into(), &[]))
    }

    /// The silence of the client until `now` does not count: it is we who did not read.
    pub fn excuse_silence(&mut self, now: Duration) {
        if self.phase == Phase::Connected {
            self.restart_keep_alive(now);
        }
    }

    fn in_flight(&self) -> u32 {
        self.owed.saturating_add(self.held)
    }

    fn fail(&mut self, error: DecodeError, buffer: &[u8]) -> ConnectionError {
        let farewell = match self.phase {
            Phase::AwaitingConnect => ConnectionError::before_connect(error, buffer),
            Phase::Connecting => ConnectionError::with_connack(error, self.version),
            Phase::Connected if self.version == Version::V5 => ConnectionError::with_disconnect(error),
            Phase::Connected | Phase::Closed => ConnectionError::silent(error),
        };
        self.end();
        farewell
    }

    fn end(&mut self) {
        self.phase = Phase::Closed;
        self.deadline = None;
        self.aliases = Aliases::default();
    }

    fn restart_keep_alive(&mut self, now: Duration) {
        // MQTT 5.0 section 3.1.2.10: one and a half times the keep alive.
        let silence_max = Duration::from_millis(u64::from(self.keep_alive) * 1500);
        self.deadline = (self.keep_alive != 0).then(|| now + silence_max);
    }

    fn handle_packet<'a>(&mut self, packet: Packet<'a>, now: Duration) -> Result<Event<'a>, DecodeError> {
        if self.phase == Phase::Connecting && !matches!(packet, Packet::Auth(_) | Packet::Disconnect(_)) {
            return Err((&fault::BEFORE_CONNACK).into());
        }
        if self.phase == Phase::Connected {
            self.restart_keep_alive(now);
        }
        match packet {
            Packet::Connect(connect) => {
                self.handle_connect(&connect, now);
                Ok(Event::Connect(connect))
            }
            Packet::Publish(publish) => self.handle_publish(publish),
            Packet::PubAck(ack) => {
                self.sent = self.sent.saturating_sub(1);
                Ok(Event::PubAck(ack))
            }
            Packet::PubRec(ack) => {
                if ack.reason.is_error() {
                    self.sent = self.sent.saturating_sub(1);
                }
                Ok(Event::PubRec(ack))
            }
            Packet::PubRel(ack) => Ok(Event::PubRel(ack)),
            Packet::PubComp(ack) => {
                self.sent = self.sent.saturating_sub(1);
                Ok(Event::PubComp(ack))
            }
            Packet::Subscribe(subscribe) => Ok(Event::Subscribe(subscribe)),
            Packet::Unsubscribe(unsubscribe) => Ok(Event::Unsubscribe(unsubscribe)),
            Packet::PingReq => Ok(Event::PingReq),
            Packet::Disconnect(disconnect) => self.handle_disconnect(disconnect),
            Packet::Auth(auth) => self.handle_auth(auth),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                Err((&fault::SERVER_PACKET).into())
            }
        }
    }

    fn handle_connect(&mut self, connect: &Connect<'_>, now: Duration) {
        let properties = &connect.properties;
        self.phase = Phase::Connecting;
        self.deadline = Some(now + self.options.connect_timeout);
        self.version = connect.version;
        self.keep_alive = connect.keep_alive;
        self.aliases = Aliases::new(properties.topic_alias_maximum);
        self.client = Client {
            receive_maximum: properties.receive_maximum.map_or(u16::MAX, NonZeroU16::get),
            packet_size_max: properties.maximum_packet_size.map_or(u32::MAX, Into::into),
            problem_information: if properties.request_problem_information {
                Wanted::Yes
            } else {
                Wanted::No
            },
            session_expiry: match properties.session_expiry {
                0 => SessionExpiry::Zero,
                _ => SessionExpiry::Later,
            },
            authentication: match properties.authentication_method {
                None => Authentication::Plain,
                Some(_) => Authentication::Enhanced,
            },
        };
    }

    fn handle_publish<'a>(&mut self, publish: Publish<'a>) -> Result<Event<'a>, DecodeError> {
        let properties = &publish.properties;
        if !properties.subscription_identifiers.is_empty() {
            return Err((&fault::IDENTIFIER_FROM_CLIENT).into());
        }
        if publish.qos != QoS::AtMostOnce {
            self.owed = self.owed.saturating_add(1);
            let in_flight_max = 2 * u32::from(self.options.receive_maximum.get());
            if self.version == Version::V5 && self.in_flight() > in_flight_max {
                return Err((&fault::RECEIVE_MAXIMUM).into());
            }
        }
        let topic = match properties.topic_alias {
            None => Topic::Named(publish.topic),
            Some(alias) => self.aliases.resolve(alias, publish.topic, &self.options)?,
        };
        Ok(match publish.refusal(&self.options.limits) {
            None => Event::Publish { publish, topic },
            Some(reason) => Event::PublishRefused { publish, reason },
        })
    }

    fn handle_disconnect<'a>(&mut self, disconnect: Disconnect<'a>) -> Result<Event<'a>, DecodeError> {
        let properties = &disconnect.properties;
        let raises_expiry = properties.session_expiry.is_some_and(|seconds| seconds != 0);
        if raises_expiry && self.client.session_expiry == SessionExpiry::Zero {
            return Err((&fault::SESSION_EXPIRY_RAISED).into());
        }
        if properties.server_reference.is_some() {
            return Err((&fault::PROPERTY_NOT_ALLOWED).into());
        }
        self.end();
        Ok(Event::Disconnect(disconnect))
    }

    fn handle_auth<'a>(&mut self, auth: Auth<'a>) -> Result<Event<'a>, DecodeError> {
        if self.client.authentication == Authentication::Plain {
            return Err((&fault::AUTH_WITHOUT_METHOD).into());
        }
        // Section 3.15.2.1: only a server says success, and re-authentication comes after CONNACK.
        let expected = match self.phase {
            Phase::Connected => {
                matches!(auth.reason, ReasonCode::ContinueAuthentication | ReasonCode::ReAuthenticate)
            }
            _ => auth.reason == ReasonCode::ContinueAuthentication,
        };
        if expected { Ok(Event::Auth(auth)) } else { Err((&fault::AUTH_REASON).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Connection;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() < 100, "{}", size_of::<Connection>());
    }
}
