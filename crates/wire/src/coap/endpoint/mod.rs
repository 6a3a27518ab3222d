//! One listener's side of the message layer and of Observe, with all its peers (RFC 7252 section 4,
//! RFC 7641): takes datagrams and time, gives datagrams and events.

mod buckets;
mod flight;
mod observe;
mod peer;
mod respond;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

use super::answer::Answer;
use super::block::Block;
use super::code::Code;
use super::echo::EchoKey;
use super::message::{DecodeError, Head, Kind, Message, Token, decode};
use super::request::Request;

use buckets::Buckets;
use observe::Observations;
use peer::{Exchange, Peer, Progress};

pub use observe::{ObservationId, SEQUENCE_MILLIS};

/// RFC 7252 section 4.8.2: for how long a message id is not used again for something else.
const EXCHANGE_LIFETIME: Duration = Duration::from_secs(247);
/// How often peers that are gone are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// C-27: services that answer whatever comes, so that two servers could be made to talk for ever:
/// echo, chargen, domain, time. And port 0, which is nobody.
const REFLECTING_PORTS: [u16; 5] = [0, 7, 19, 53, 123];

/// Times and bounds.
#[derive(Clone, Copy, Debug)]
pub struct EndpointOptions {
    /// The largest message that is taken, in bytes; larger ones are answered 4.13.
    pub message_max: usize,
    /// How long a first acknowledgement is waited for (`ACK_TIMEOUT`).
    pub ack_timeout: Duration,
    /// How often a confirmable message is sent again (`MAX_RETRANSMIT`).
    pub retransmit_max: u32,
    /// After how long a request is acknowledged although its answer is not there yet.
    pub separate_after: Duration,
    /// The most peers that are known at once.
    pub peers_max: usize,
    /// The most exchanges of one peer that are remembered.
    pub exchanges_per_peer_max: usize,
    /// The most exchanges of all peers that are remembered.
    pub exchanges_max: usize,
    /// The most confirmable messages that wait for their turn at one peer.
    pub waiting_max: usize,
    /// The most observations of one peer.
    pub observations_per_peer_max: usize,
    /// The most observations of all peers.
    pub observations_max: usize,
    /// How long after a notification the next one goes out, at the earliest.
    pub notify_every: Duration,
    /// The number of a notification at time zero (RFC 7641 section 4.4), one more every
    /// [`SEQUENCE_MILLIS`]: from the wall clock it is later after a restart, too.
    pub sequence_start: u32,
    /// Non-confirmable requests in a second from one network; loopback is exempt.
    pub non_confirmable_rate: u32,
    /// Whether the layer below has proven the addresses of peers (DTLS).
    pub is_secure: bool,
}

impl Default for EndpointOptions {
    fn default() -> Self {
        Self {
            message_max: 8 * 1_024,
            ack_timeout: Duration::from_secs(2),
            retransmit_max: 4,
            separate_after: Duration::from_secs(1),
            peers_max: 1_000_000,
            exchanges_per_peer_max: 256,
            exchanges_max: 262_144,
            waiting_max: 16,
            observations_per_peer_max: 32,
            observations_max: 1_000_000,
            notify_every: Duration::from_millis(50),
            sequence_start: 1,
            non_confirmable_rate: 1_000,
            is_secure: false,
        }
    }
}

/// The datagrams to be sent, one behind the other in one buffer.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
    ends: Vec<(SocketAddr, usize)>,
}

impl Output {
    /// The datagrams and to whom they go.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(peer, end)| {
            let datagram = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            (*peer, datagram)
        })
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets what was sent, and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn push(&mut self, peer: SocketAddr, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push((peer, self.bytes.len()));
    }
}

/// A request that is to be answered.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// Who asks.
    pub peer: SocketAddr,
    id: u16,
    token: Token,
    is_confirmable: bool,
    block2: Option<Block>,
    no_response: u8,
}

/// What is to be known of messages that we sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer acknowledged an answer or a notification with this receipt.
    Delivered(u64),
    /// Nobody knows whether it arrived: it was rejected, or never acknowledged.
    Lost(u64),
    /// Nobody observes that any more.
    Ended(ObservationId),
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams that were no CoAP, or nothing that one could act on.
    pub malformed: u64,
    /// Requests that had come before.
    pub duplicates: u64,
    /// Messages of ours that were sent again.
    pub retransmitted: u64,
    /// Messages of ours that were never acknowledged.
    pub given_up: u64,
    /// Datagrams dropped because too many came, or from where no answer may go.
    pub dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Retransmit(SocketAddr),
    Notify(ObservationId),
}

/// The state of one listener.
#[derive(Debug)]
pub struct Endpoint {
    options: EndpointOptions,
    echo: EchoKey,
    random: u64,
    peers: HashMap<SocketAddr, Peer>,
    exchanges: usize,
    buckets: Buckets,
    observations: Observations,
    /// In the order of their times, since all wait equally long.
    acks_due: VecDeque<(Duration, SocketAddr, u16)>,
    timers: BinaryHeap<Reverse<(Duration, Timer)>>,
    events: VecDeque<Event>,
    swept_at: Duration,
    /// What happened so far.
    pub counts: Counts,
}

impl Endpoint {
    /// An endpoint without peers; the seed is 40 bytes that nobody can guess.
    #[must_use]
    pub fn new(options: EndpointOptions, seed: [u8; 40]) -> Self {
        let (secret, random) = seed.split_at(32);
        let secret = secret.first_chunk().copied().unwrap_or_default();
        let random = random.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Self {
            echo: EchoKey::new(secret),
            random,
            peers: HashMap::new(),
            exchanges: 0,
            buckets: Buckets::new(options.non_confirmable_rate),
            observations: Observations::default(),
            acks_due: VecDeque::new(),
            timers: BinaryHeap::new(),
            events: VecDeque::new(),
            swept_at: Duration::ZERO,
            counts: Counts::default(),
            options,
        }
    }

    /// Takes a datagram; gives the request in it, when there is one that is to be acted on. All else
    /// is answered here. Ask [`Endpoint::next_event`] and [`Endpoint::next_notification`] afterwards.
    pub fn handle_datagram<'a>(
        &mut self,
        now: Duration,
        peer: SocketAddr,
        datagram: &'a [u8],
        out: &mut Output,
    ) -> Option<(Ticket, Request<'a>)> {
        if REFLECTING_PORTS.contains(&peer.port()) || peer.ip().is_multicast() {
            self.counts.dropped += 1;
            return None;
        }
        let message = match decode(datagram) {
            Ok(message) => message,
            Err(error) => {
                self.counts.malformed += 1;
                if let DecodeError::Reset(id) = error {
                    send_empty(out, peer, Kind::Reset, id);
                }
                return None;
            }
        };
        match message.kind {
            Kind::Acknowledgement | Kind::Reset => {
                if message.code == Code::EMPTY {
                    self.settle(now, peer, (message.id, message.kind), out);
                }
                None
            }
            Kind::Confirmable if message.code == Code::EMPTY => {
                // RFC 7252 section 4.3: a ping.
                send_empty(out, peer, Kind::Reset, message.id);
                None
            }
            _ if message.code.is_request() => self.handle_request(now, peer, (message, datagram), out),
            // C-25: a response, and we asked nothing.
            _ => None,
        }
    }

    fn handle_request<'a>(
        &mut self,
        now: Duration,
        peer: SocketAddr,
        (message, datagram): (Message<'a>, &'a [u8]),
        out: &mut Output,
    ) -> Option<(Ticket, Request<'a>)> {
        let is_confirmable = message.kind == Kind::Confirmable;
        let is_trusted = self.options.is_secure || peer.ip().to_canonical().is_loopback();
        if !is_confirmable && !is_trusted && !self.buckets.take(peer.ip(), now) {
            self.counts.dropped += 1;
            return None;
        }
        let hash = hash(datagram);
        let Some(known) = self.meet(now, peer) else {
            self.counts.dropped += 1;
            return None;
        };
        known.earn(datagram.len());
        if let Some(progress) = known.repeated(now, message.id, hash) {
            self.counts.duplicates += 1;
            self.repeat(peer, &message, &progress, out);
            return None;
        }
        let (id, token) = (message.id, message.token);
        let mut ticket = Ticket { peer, id, token, is_confirmable, block2: None, no_response: 0 };
        let exchange = Exchange::new(message.id, hash, now);
        let request = match Request::read(message) {
            _ if datagram.len() > self.options.message_max => Err(Answer {
                // Section 2.9.3 of RFC 7959: how it fits.
                block1: Some(Block { number: 0, more: true, szx: super::SZX_MAX }),
                size1: Some(1 << (super::SZX_MAX + 4)),
                ..Answer::error(Code::TOO_LARGE, "send the body in blocks")
            }),
            Err(error) => Err(Answer::error(error.code, error.text)),
            Ok(request) => Ok(request),
        };
        let request = match request {
            Ok(request) => request,
            Err(answer) => {
                self.counts.malformed += 1;
                // RFC 7252 section 5.4.1: only a confirmable one is told about its options.
                if is_confirmable || answer.code != Code::BAD_OPTION {
                    // Not remembered: it would be answered in the same way again.
                    self.answer(now, &ticket, answer, out);
                }
                self.dismiss(&ticket);
                return None;
            }
        };
        (ticket.block2, ticket.no_response) = (request.block2, request.no_response);
        self.remember(peer, exchange);
        if let Some(token) = request.echo {
            if !self.echo.is_fresh(token, peer, now) {
                self.challenge(now, &ticket, out);
                return None;
            }
            if let Some(known) = self.peers.get_mut(&peer) {
                known.is_verified = true;
            }
        }
        if is_confirmable {
            self.acks_due.push_back((now + self.options.separate_after, peer, id));
        }
        Some((ticket, request))
    }

    /// Finds the peer, or makes its acquaintance; `None` when there is no room for one more.
    fn meet(&mut self, now: Duration, address: SocketAddr) -> Option<&mut Peer> {
        if !self.peers.contains_key(&address) {
            if self.peers.len() >= self.options.peers_max {
                self.sweep(now);
            }
            if self.peers.len() >= self.options.peers_max {
                return None;
            }
            let id = self.next_random().to_le_bytes();
            let [low, high, ..] = id;
            let mut peer = Peer::new(u16::from_le_bytes([low, high]));
            peer.is_verified = self.options.is_secure;
            self.peers.insert(address, peer);
        }
        let peer = self.peers.get_mut(&address)?;
        peer.heard_at = now;
        Some(peer)
    }

    /// Notes that a request is being worked on, so that a repeated one is recognised.
    fn remember(&mut self, address: SocketAddr, exchange: Exchange) {
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let before = peer.exchanges.len();
        peer.exchanges.retain(|known| known.id != exchange.id);
        let is_full = peer.exchanges.len() >= self.options.exchanges_per_peer_max
            || self.exchanges >= self.options.exchanges_max;
        if is_full {
            peer.exchanges.pop_front();
        }
        // C-12: beyond the bound of all peers, those who have none remembered get none.
        if self.exchanges < self.options.exchanges_max || peer.exchanges.len() < before {
            peer.exchanges.push_back(exchange);
        }
        let after = peer.exchanges.len();
        self.exchanges = (self.exchanges + after).saturating_sub(before);
    }

    /// Forgets a request that had no effect, and a peer of which nothing else is known: strangers
    /// take no room.
    fn dismiss(&mut self, ticket: &Ticket) {
        let Some(peer) = self.peers.get_mut(&ticket.peer) else { return };
        let before = peer.exchanges.len();
        peer.exchanges.retain(|known| known.id != ticket.id);
        self.exchanges = self.exchanges.saturating_sub(before - peer.exchanges.len());
        if !peer.is_needed() && !peer.is_verified {
            self.peers.remove(&ticket.peer);
        }
    }

    /// Answers a request that came before as it was answered then (RFC 7252 section 4.5).
    fn repeat(&mut self, peer: SocketAddr, message: &Message<'_>, progress: &Progress, out: &mut Output) {
        if message.kind != Kind::Confirmable {
            return;
        }
        let head = |code| Head { kind: Kind::Acknowledgement, code, id: message.id, token: message.token };
        match progress {
            Progress::Working => {}
            Progress::Acknowledged => self.send(peer, out, |out| {
                Head::empty(Kind::Acknowledgement, message.id).encode(out);
            }),
            Progress::Answered(code) => self.send(peer, out, |out| head(*code).encode(out)),
            Progress::AnsweredWith(bytes) => self.send(peer, out, |out| out.extend_from_slice(bytes)),
        }
    }

    /// What has happened to messages of ours.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Endpoint::handle_timeout`] is to be called next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Duration> {
        let ack = self.acks_due.front().map(|(at, ..)| *at);
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let sweep = (!self.peers.is_empty()).then_some(self.swept_at + SWEEP_EVERY);
        [ack, timer, sweep].into_iter().flatten().min()
    }

    /// Does what is due: acknowledges requests whose answers take longer, sends again, gives up,
    /// forgets.
    pub fn handle_timeout(&mut self, now: Duration, out: &mut Output) {
        while let Some((_, peer, id)) = self.acks_due.pop_front_if(|(at, ..)| *at <= now) {
            self.acknowledge(peer, id, out);
        }
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            match self.timers.pop() {
                Some(Reverse((_, Timer::Retransmit(peer)))) => self.retransmit(now, peer, out),
                Some(Reverse((_, Timer::Notify(observation)))) => self.offer(now, observation),
                None => {}
            }
        }
        if now >= self.swept_at + SWEEP_EVERY {
            self.sweep(now);
        }
    }

    /// Forgets exchanges that are too old to be repeated, and peers of which nothing is left.
    fn sweep(&mut self, now: Duration) {
        self.swept_at = now;
        let mut exchanges = 0;
        self.peers.retain(|_, peer| {
            peer.expire(now);
            exchanges += peer.exchanges.len();
            peer.is_needed() || now.saturating_sub(peer.heard_at) < EXCHANGE_LIFETIME
        });
        self.exchanges = exchanges;
        self.peers.shrink_to(self.peers.len().saturating_mul(2));
    }

    /// Forgets a peer whose security association has ended; what it observed ends, what was on its
    /// way is lost.
    pub fn forget(&mut self, address: SocketAddr) {
        let Some(peer) = self.peers.remove(&address) else { return };
        self.exchanges = self.exchanges.saturating_sub(peer.exchanges.len());
        for observation in &peer.observations {
            self.observations.remove(*observation);
            self.events.push_back(Event::Ended(*observation));
        }
        self.events.extend(peer.receipts().map(Event::Lost));
    }

    /// How many peers are known.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// splitmix64: for message ids and jitter, from a seed that nobody knows.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

fn send_empty(out: &mut Output, peer: SocketAddr, kind: Kind, id: u16) {
    out.push(peer, |out| Head::empty(kind, id).encode(out));
}

/// Tells a repeated datagram from another one under the same message id. Who makes two alike harms
/// only themselves.
fn hash(datagram: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(datagram);
    hasher.finish()
}
