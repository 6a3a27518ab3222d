//! One door: its socket, its peers, and the answers that wait for the log.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roost_hub::changes::Changes;
use roost_hub::flight::FlightKind;
use roost_hub::id::CredentialId;
use roost_hub::principal::{Actor, Principal};
use roost_hub::storage::Position;
use roost_wire::coap::{
    Answer, Assembler, Code, Endpoint, EndpointOptions, Event, ObservationId, Output, Request,
    SEQUENCE_MILLIS, Ticket,
};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::commands::Handed;
use super::dtls::Sessions;
use super::mapping::{IntoAnswer, come_again};
use super::observing::Target;
use crate::authenticate;
use crate::listener::asked;
use crate::shared::Shared;
use crate::tls::Tls;

/// How many datagrams are taken before their answers go out.
const BATCH_LENGTH_MAX: usize = 128;
/// The longest datagram there is.
const DATAGRAM_LENGTH_MAX: usize = 65_536;
/// How many requests may be worked on at once beside those that only wait for the log.
const JOBS_MAX: usize = 1_024;
/// How many answers may wait for the log.
const OWED_MAX: usize = 262_144;
/// For how many credentials it is known that they were shown in the clear.
const SHOWN_MAX: usize = 10_000;
/// How often what is half done is looked at.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// Whether what comes is readable by whoever is on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// UDP.
    Plain,
    /// DTLS over UDP.
    Secure,
}

/// One listener and all its peers.
pub(crate) struct Door {
    pub(super) shared: Arc<Shared>,
    socket: UdpSocket,
    sessions: Option<Box<Sessions>>,
    start: Instant,
    /// The time since the start, read once for each batch.
    pub(super) now: Duration,
    pub(super) endpoint: Endpoint,
    pub(super) assembler: Assembler,
    pub(super) out: Output,
    owed: VecDeque<Owed>,
    jobs: JoinSet<(Ticket, Answer)>,
    pub(super) changes: Arc<Changes>,
    pub(super) targets: Vec<Option<Target>>,
    pub(super) handed: HashMap<u64, Handed>,
    pub(super) receipts: u64,
    /// The latest commands of each peer, for those who fetch them block by block.
    pub(super) fetched: HashMap<SocketAddr, (Duration, Answer)>,
    /// The credentials that were shown in the clear since the door was opened.
    shown: HashSet<CredentialId>,
    tidied_at: Duration,
}

/// To whom an answer goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Request(Ticket),
    Registration(Ticket, ObservationId),
    Notification(ObservationId),
}

/// An answer that waits until the log is durable.
struct Owed {
    position: Position,
    reply: Reply,
    answer: Answer,
}

/// What becomes of a request.
pub(super) enum Done {
    /// It is answered.
    Now(Answer),
    /// It is, once the log is durable up to here.
    At(Position, Answer),
    /// Something else is waited for.
    Later(std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>),
    /// It is taken care of.
    Taken,
}

impl From<Result<Answer, Answer>> for Done {
    fn from(result: Result<Answer, Answer>) -> Self {
        Self::Now(result.unwrap_or_else(|refusal| refusal))
    }
}

impl Door {
    /// A door for DTLS takes the certificates, if there are any.
    pub(crate) fn new(
        shared: Arc<Shared>,
        socket: UdpSocket,
        (transport, tls): (Transport, Option<Arc<Tls>>),
    ) -> Self {
        let is_secure = transport == Transport::Secure;
        let ticks = (shared.hub.now().0 / i64::from(SEQUENCE_MILLIS)) & 0xFF_FFFF;
        let sequence_start = u32::try_from(ticks).unwrap_or_default();
        let options = EndpointOptions { is_secure, sequence_start, ..EndpointOptions::default() };
        let seed = shared.hub.random_bytes();
        let start = shared.hub.clock().now();
        Self {
            sessions: is_secure.then(|| Box::new(Sessions::new(&shared.hub, tls, start))),
            start,
            now: Duration::ZERO,
            endpoint: Endpoint::new(options, seed),
            assembler: Assembler::default(),
            out: Output::default(),
            owed: VecDeque::new(),
            jobs: JoinSet::new(),
            changes: Arc::default(),
            targets: Vec::new(),
            handed: HashMap::new(),
            receipts: 0,
            fetched: HashMap::new(),
            shown: HashSet::new(),
            tidied_at: Duration::ZERO,
            socket,
            shared,
        }
    }

    /// Serves until the server stops.
    pub(crate) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        let mut buffer = vec![0; DATAGRAM_LENGTH_MAX];
        let mut durability = self.shared.hub.durability();
        loop {
            let wanted = self.owed.front().map(|owed| owed.position);
            let due = self.next_timeout();
            let now = self.now;
            tokio::select! {
                ready = self.socket.readable(), if self.owed.len() < OWED_MAX => {
                    if ready.is_ok() {
                        self.receive(&mut buffer);
                    }
                }
                reached = durability.reached(wanted.unwrap_or_default()), if wanted.is_some() => {
                    self.read_clock();
                    match reached {
                        Ok(position) => self.settle(position),
                        Err(error) => self.refuse(&error.into_answer()),
                    }
                }
                Some(done) = self.jobs.join_next() => self.finish(done),
                numbers = poll_fn(|context| self.changes.poll_take(context)) => {
                    self.read_clock();
                    for number in numbers {
                        self.endpoint.changed(self.now, ObservationId(number));
                    }
                }
                () = tokio::time::sleep(due.unwrap_or_default().saturating_sub(now)), if due.is_some() => {
                    self.read_clock();
                    self.endpoint.handle_timeout(self.now, &mut self.out);
                    self.wake_sessions();
                    self.tidy();
                }
                () = asked(&mut shutdown) => break,
            }
            self.pump();
            self.flush().await;
        }
        if let Some(sessions) = &mut self.sessions {
            sessions.close(self.start + self.now);
        }
        self.flush().await;
    }

    fn read_clock(&mut self) {
        self.now = self.shared.hub.clock().now().saturating_duration_since(self.start);
    }

    fn next_timeout(&self) -> Option<Duration> {
        let is_half_done = !self.assembler.is_empty() || !self.fetched.is_empty() || self.sessions.is_some();
        let tidy = is_half_done.then_some(self.tidied_at + TIDY_EVERY);
        let session = self.sessions.as_ref().and_then(|sessions| sessions.next_timeout());
        let session = session.map(|at| at.saturating_duration_since(self.start));
        [self.endpoint.next_timeout(), tidy, session].into_iter().flatten().min()
    }

    fn tidy(&mut self) {
        if self.now >= self.tidied_at + TIDY_EVERY {
            self.tidied_at = self.now;
            self.assembler.expire(self.now);
            self.forget_fetched();
            let now = self.start + self.now;
            if let Some(sessions) = &mut self.sessions {
                sessions.tidy(now);
            }
        }
    }

    fn wake_sessions(&mut self) {
        let now = self.start + self.now;
        if let Some(sessions) = &mut self.sessions {
            sessions.handle_timeout(now);
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) {
        self.read_clock();
        for _ in 0..BATCH_LENGTH_MAX {
            let (length, peer) = match self.socket.try_recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "a datagram was lost");
                    return;
                }
            };
            let Some(datagram) = buffer.get(..length) else { return };
            if let Some(sessions) = &mut self.sessions {
                sessions.handle_datagram(self.start + self.now, peer, datagram);
                self.take_plain();
            } else {
                self.take_datagram(peer, datagram);
            }
        }
    }

    /// Takes what came out of sessions.
    fn take_plain(&mut self) {
        let Some(sessions) = &mut self.sessions else { return };
        let (plain, ended) = (std::mem::take(&mut sessions.plain), std::mem::take(&mut sessions.ended));
        for peer in ended {
            self.endpoint.forget(peer);
            self.fetched.remove(&peer);
        }
        for (peer, datagram) in plain {
            self.take_datagram(peer, &datagram);
        }
    }

    fn take_datagram(&mut self, peer: SocketAddr, datagram: &[u8]) {
        if let Some((ticket, request)) =
            self.endpoint.handle_datagram(self.now, peer, datagram, &mut self.out)
        {
            self.take(&ticket, &request);
        }
    }

    fn take(&mut self, ticket: &Ticket, request: &Request<'_>) {
        match self.act(ticket, request) {
            Done::Now(answer) => self.endpoint.answer(self.now, ticket, answer, &mut self.out),
            Done::At(position, answer) => self.owe(position, Reply::Request(*ticket), answer),
            Done::Later(_) if self.jobs.len() >= JOBS_MAX => {
                let answer = come_again(Code::UNAVAILABLE, 1, "too much is being done at once");
                self.endpoint.answer(self.now, ticket, answer, &mut self.out);
            }
            Done::Later(work) => {
                let ticket = *ticket;
                self.jobs.spawn(async move { (ticket, work.await) });
            }
            Done::Taken => {}
        }
    }

    /// Answers once the log is durable up to the position.
    pub(super) fn owe(&mut self, position: Position, reply: Reply, answer: Answer) {
        if self.shared.durable.position() >= position {
            return self.reply(reply, answer);
        }
        self.owed.push_back(Owed { position, reply, answer });
    }

    fn settle(&mut self, durable: Position) {
        while let Some(owed) = self.owed.pop_front_if(|owed| owed.position <= durable) {
            self.reply(owed.reply, owed.answer);
        }
    }

    /// Nothing will ever be durable again.
    fn refuse(&mut self, answer: &Answer) {
        for owed in std::mem::take(&mut self.owed) {
            self.reply(owed.reply, answer.clone());
        }
    }

    pub(super) fn reply(&mut self, reply: Reply, answer: Answer) {
        let (now, out) = (self.now, &mut self.out);
        match reply {
            Reply::Request(ticket) => self.endpoint.answer(now, &ticket, answer, out),
            Reply::Registration(ticket, id) => self.endpoint.answer_observed(now, (&ticket, id), answer, out),
            Reply::Notification(id) => self.endpoint.notify(now, id, answer, out),
        }
    }

    fn finish(&mut self, done: Result<(Ticket, Answer), tokio::task::JoinError>) {
        self.read_clock();
        match done {
            Ok((ticket, answer)) => self.endpoint.answer(self.now, &ticket, answer, &mut self.out),
            Err(error) => {
                self.shared.hub.counters.panics_total.increment();
                tracing::error!(%error, "a request ended in a panic: please report this");
            }
        }
    }

    /// Follows what happened to messages of ours, and tells observers.
    fn pump(&mut self) {
        self.handle_events();
        while let Some(id) = self.endpoint.next_notification() {
            self.tell(id);
            self.handle_events();
        }
    }

    pub(super) fn handle_events(&mut self) {
        while let Some(event) = self.endpoint.next_event() {
            match event {
                Event::Delivered(receipt) => self.delivered(receipt),
                Event::Lost(receipt) => drop(self.handed.remove(&receipt)),
                Event::Ended(id) => self.unwatch(id),
            }
        }
    }

    async fn flush(&mut self) {
        let Some(sessions) = &mut self.sessions else { return self.flush_plain().await };
        for (peer, datagram) in self.out.datagrams() {
            sessions.seal(self.start + self.now, peer, datagram);
        }
        self.out.clear();
        for (peer, datagram) in std::mem::take(&mut sessions.sealed) {
            if let Err(error) = self.socket.send_to(&datagram, peer).await {
                tracing::debug!(%peer, %error, "a datagram could not be sent");
            }
        }
    }

    async fn flush_plain(&mut self) {
        for (peer, datagram) in self.out.datagrams() {
            let sent = match self.socket.try_send_to(datagram, peer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.send_to(datagram, peer).await
                }
                sent => sent,
            };
            if let Err(error) = sent {
                // As if it had been lost on the way: what matters is sent again.
                tracing::debug!(%peer, %error, "a datagram could not be sent");
            }
        }
        self.out.clear();
    }

    /// Who asks.
    pub(super) fn recognise(
        &mut self,
        ticket: &Ticket,
        request: &Request<'_>,
    ) -> Result<Arc<Principal>, Answer> {
        let hub = &self.shared.hub;
        let refused = |answer: Answer| {
            hub.counters.logins_refused_total.increment();
            answer
        };
        let identified = self.sessions.as_ref().and_then(|sessions| sessions.principal(ticket.peer));
        if let Some(principal) = identified {
            // a session outlives its credential.
            let holds = hub.principal_holds(&principal).unwrap_or(false);
            let over = || refused(Answer::error(Code::UNAUTHORIZED, "the credential holds no longer"));
            return holds.then_some(principal).ok_or_else(over);
        }
        let token = request.query("token").ok_or_else(|| {
            refused(Answer::error(Code::UNAUTHORIZED, "show the device's token as ?token=…"))
        })?;
        let principal = authenticate::by_token_now(hub, token, ticket.peer.ip())
            .map_err(|failed| refused(failed.into_answer()))?;
        if self.sessions.is_none() {
            self.note_shown(&principal)?;
        }
        Ok(principal)
    }

    /// C-28: a token came in the clear, which the device's people are told once, and its profile may
    /// not want.
    fn note_shown(&mut self, principal: &Principal) -> Result<(), Answer> {
        let Actor::Device { device, grants, .. } = &principal.actor else { return Ok(()) };
        if let Some(credential) = &principal.credential
            && self.shown.len() < SHOWN_MAX
            && self.shown.insert(credential.id.clone())
        {
            let hub = &self.shared.hub;
            let text = format_args!("its token came over CoAP without DTLS, for all on the way to read");
            hub.note(&principal.tenant, device, FlightKind::Connected, text, hub.now());
        }
        if grants.is_dtls_only() {
            return Err(Answer::error(Code::FORBIDDEN, "the device's profile asks for coaps: use DTLS"));
        }
        Ok(())
    }
}
