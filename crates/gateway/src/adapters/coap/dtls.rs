//! DTLS 1.2 below CoAP: who has a session, and what goes in and out of each. Nothing is remembered of
//! an address before it has shown a cookie of ours (RFC 6347 section 4.2.1).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, Error, Output, PskResolver};
use roost_hub::Hub;
use roost_hub::principal::Principal;
use roost_wire::coap::EchoKey;
use roost_wire::dtls::ClientHello;
use rustls::server::danger::ClientCertVerifier;

use super::identify::{Identified, Resolver, by_certificate};
use crate::tls::{DtlsCertificate, Tls};

/// The most sessions at once.
const SESSIONS_MAX: usize = 100_000;
/// The most handshakes at once, of addresses that have shown a cookie.
const HANDSHAKES_MAX: usize = 2_000;
/// How long a handshake may take (T-02).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// What a client may send of a handshake, in bytes (T-02). No longer than `DATAGRAM_LENGTH_MAX`, so
/// that what comes out of one has room.
const HANDSHAKE_LENGTH_MAX: usize = 16 * 1_024;
/// How long a session may be silent.
const IDLE_MAX: Duration = Duration::from_secs(24 * 3600);
/// For how long the random of a ClientHello is remembered, longer than a cookie is good: a recorded
/// handshake must not work a second time.
const RANDOM_KEPT: Duration = Duration::from_secs(90);
/// How many of them; beyond, nobody shakes hands until some are forgotten.
const RANDOMS_MAX: usize = 65_536;
/// What a datagram of ours has at most.
const DATAGRAM_LENGTH_MAX: usize = 16 * 1_024;
/// Where the cookie stands in a HelloVerifyRequest: behind record head, message head, version, length.
const COOKIE_AT: usize = 13 + 12 + 2 + 1;
/// `TLS_PSK_WITH_AES_128_CCM_8`, the one suite with a pre-shared key here.
const PSK_SUITE: [u8; 2] = [0xC0, 0xA8];
/// `TLS_ECDHE_ECDSA_WITH_…`: `AES_128_GCM_SHA256`, `AES_256_GCM_SHA384`, `CHACHA20_POLY1305_SHA256`.
const CERTIFICATE_SUITES: [[u8; 2]; 3] = [[0xC0, 0x2B], [0xC0, 0x2C], [0xCC, 0xA9]];

/// All sessions of a door.
pub(super) struct Sessions {
    cookies: EchoKey,
    start: Instant,
    resolver: Arc<Resolver>,
    tls: Option<Arc<Tls>>,
    sessions: HashMap<SocketAddr, Session>,
    handshakes: usize,
    randoms: HashMap<[u8; 32], Instant>,
    timers: BinaryHeap<Reverse<(Instant, SocketAddr)>>,
    /// The plain datagrams that came out, in order.
    pub(super) plain: Vec<(SocketAddr, Vec<u8>)>,
    /// The datagrams to be sent.
    pub(super) sealed: Vec<(SocketAddr, Vec<u8>)>,
    /// Those whose session has ended.
    pub(super) ended: Vec<SocketAddr>,
    buffer: Vec<u8>,
}

struct Session {
    dtls: Dtls,
    /// By which a ClientHello that comes again is known.
    random: [u8; 32],
    way: Way,
    identified: Option<Identified>,
    state: State,
    /// Of the handshake, in bytes.
    received: usize,
    heard_at: Instant,
}

/// By what both sides show who they are.
#[derive(Clone)]
enum Way {
    Key,
    Certificate(Arc<DtlsCertificate>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    ShakingHands,
    Open,
}

impl Sessions {
    pub(super) fn new(hub: &Arc<Hub>, tls: Option<Arc<Tls>>, start: Instant) -> Self {
        Self {
            cookies: EchoKey::new(hub.random_bytes()),
            start,
            resolver: Arc::new(Resolver::new(Arc::clone(hub))),
            tls,
            sessions: HashMap::new(),
            handshakes: 0,
            randoms: HashMap::new(),
            timers: BinaryHeap::new(),
            plain: Vec::new(),
            sealed: Vec::new(),
            ended: Vec::new(),
            buffer: vec![0; DATAGRAM_LENGTH_MAX],
        }
    }

    /// Takes a datagram; what it says comes out in the fields above.
    pub(super) fn handle_datagram(&mut self, now: Instant, peer: SocketAddr, datagram: &[u8]) {
        // The library has states that it panics in: should somebody find one, it ends their session
        // and not the door.
        if catch_unwind(AssertUnwindSafe(|| self.take(now, peer, datagram))).is_err() {
            self.resolver.hub.counters.panics_total.increment();
            tracing::error!(%peer, "a DTLS session ended in a panic: please report this");
            self.end(peer);
        }
    }

    fn take(&mut self, now: Instant, peer: SocketAddr, datagram: &[u8]) {
        if let Some(hello) = ClientHello::read(datagram) {
            let is_known = self.sessions.get(&peer).is_some_and(|session| session.random == *hello.random);
            if !is_known {
                return self.greet(now, peer, &hello, datagram);
            }
        }
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        session.heard_at = now;
        if session.state == State::ShakingHands {
            session.received = session.received.saturating_add(datagram.len());
            if session.received > HANDSHAKE_LENGTH_MAX {
                return self.end(peer);
            }
        }
        self.resolver.expect(peer.ip());
        let handled = session.dtls.handle_timeout(now).and_then(|()| session.dtls.handle_packet(datagram));
        if let Some(found) = self.resolver.take_found() {
            session.identified = Some(found);
        }
        self.drain(now, peer, handled);
    }

    /// Answers a ClientHello: without a cookie of ours with one, remembering nothing; with one by a
    /// session, which takes the place of one that the peer has lost (section 4.2.8).
    fn greet(&mut self, now: Instant, peer: SocketAddr, hello: &ClientHello<'_>, datagram: &[u8]) {
        let Some(way) = self.way(hello) else { return };
        let since = now.saturating_duration_since(self.start);
        let first = hello.without_cookie();
        let mut answer = None;
        for ago in [0, 1] {
            let seed = self.cookies.seed(peer, hello.random, (since, ago));
            // The cookie is the same either way, and without a certificate it costs less.
            let Some((dtls, packet)) = self.begin(now, seed, (&Way::Key, &first)) else { return };
            let cookie = packet.get(COOKIE_AT..).unwrap_or_default();
            if !hello.cookie.is_empty() && hello.cookie == cookie {
                let begun = match &way {
                    Way::Key => Some(dtls),
                    Way::Certificate(_) => self.begin(now, seed, (&way, &first)).map(|(dtls, _)| dtls),
                };
                let Some(dtls) = begun else { return };
                return self.open(now, peer, (dtls, way), (hello, datagram));
            }
            answer = answer.or(Some(packet));
            if hello.cookie.is_empty() {
                break;
            }
        }
        self.sealed.extend(answer.map(|packet| (peer, packet)));
    }

    /// The first way of the client's that is also one of ours.
    fn way(&self, hello: &ClientHello<'_>) -> Option<Way> {
        let certificate = self.tls.as_ref().and_then(|tls| tls.dtls());
        let ours = |suite: &[u8; 2]| {
            *suite == PSK_SUITE || certificate.is_some() && CERTIFICATE_SUITES.contains(suite)
        };
        match hello.cipher_suites().find(ours)? {
            PSK_SUITE => Some(Way::Key),
            _ => certificate.map(Way::Certificate),
        }
    }

    /// A server that has been asked for its cookie, and the cookie. From the same seed it gives the
    /// same one; its keys do not come from the seed.
    fn begin(&mut self, now: Instant, seed: u64, (way, first): (&Way, &[u8])) -> Option<(Dtls, Vec<u8>)> {
        let config = Config::builder().handshake_timeout(HANDSHAKE_TIMEOUT).dangerously_set_rng_seed(seed);
        let mut dtls = match way {
            Way::Key => {
                let resolver: Arc<dyn PskResolver> = Arc::clone(&self.resolver) as _;
                Dtls::new_12_psk(Arc::new(config.with_psk_server(None, resolver).build().ok()?), now)
            }
            Way::Certificate(shown) => {
                let config = config.require_client_certificate(shown.clients.is_some()).build().ok()?;
                Dtls::new_12(Arc::new(config), shown.own.clone(), now)
            }
        };
        dtls.handle_timeout(now).and_then(|()| dtls.handle_packet(first)).ok()?;
        let mut packet = None;
        loop {
            match dtls.poll_output(&mut self.buffer) {
                Output::Packet(bytes) => packet = Some(bytes.to_vec()),
                Output::Timeout(_) => break,
                _ => {}
            }
        }
        Some((dtls, packet?))
    }

    fn open(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        (dtls, way): (Dtls, Way),
        (hello, datagram): (&ClientHello<'_>, &[u8]),
    ) {
        if self.randoms.len() >= RANDOMS_MAX {
            self.randoms.retain(|_, at| now.saturating_duration_since(*at) < RANDOM_KEPT);
        }
        let is_full = self.sessions.len() >= SESSIONS_MAX
            || self.handshakes >= HANDSHAKES_MAX
            || self.randoms.len() >= RANDOMS_MAX;
        // T-04: the random decides the keys of a pre-shared key together with ours, which is the same
        // for the same cookie.
        if is_full || self.randoms.insert(*hello.random, now).is_some() {
            return;
        }
        self.end(peer);
        let session = Session {
            dtls,
            random: *hello.random,
            way,
            identified: None,
            state: State::ShakingHands,
            received: datagram.len(),
            heard_at: now,
        };
        self.sessions.insert(peer, session);
        self.handshakes += 1;
        self.handle_known(now, peer, datagram);
    }

    fn handle_known(&mut self, now: Instant, peer: SocketAddr, datagram: &[u8]) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let handled = session.dtls.handle_packet(datagram);
        self.drain(now, peer, handled);
    }

    /// Takes everything out of a session that it has to give.
    fn drain(&mut self, now: Instant, peer: SocketAddr, mut handled: Result<(), Error>) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let mut is_over = false;
        loop {
            match session.dtls.poll_output(&mut self.buffer) {
                Output::Packet(bytes) => self.sealed.push((peer, bytes.to_vec())),
                Output::ApplicationData(bytes) => self.plain.push((peer, bytes.to_vec())),
                Output::Connected => {
                    session.state = State::Open;
                    self.handshakes = self.handshakes.saturating_sub(1);
                    if let Some(identity) = identity(session) {
                        let hub = &self.resolver.hub;
                        hub.throttle().login_succeeded(peer.ip(), identity, hub.now());
                    }
                }
                Output::CloseNotify => is_over = true,
                Output::Timeout(at) => {
                    if at > now && at.saturating_duration_since(now) < IDLE_MAX {
                        self.timers.push(Reverse((at, peer)));
                    }
                    break;
                }
                Output::BufferTooSmall { .. } => {
                    handled = Err(Error::ConnectionClosed);
                    break;
                }
                Output::PeerCert(certificate) => {
                    let hub = &self.resolver.hub;
                    session.identified = session
                        .way
                        .clients()
                        .and_then(|authority| by_certificate(hub, authority, certificate));
                    if session.identified.is_none() {
                        handled = Err(Error::ConnectionClosed);
                        break;
                    }
                }
                Output::KeyingMaterial(..) => {}
                _ => {}
            }
        }
        if let Err(error) = handled {
            tracing::debug!(%peer, %error, "a DTLS session ends");
            if session.state == State::ShakingHands {
                let hub = &self.resolver.hub;
                hub.counters.logins_refused_total.increment();
                if let Some(identity) = identity(session) {
                    hub.throttle().login_failed(peer.ip(), identity, hub.now());
                }
            }
            is_over = true;
        }
        if is_over {
            self.end(peer);
        }
    }

    fn end(&mut self, peer: SocketAddr) {
        let Some(session) = self.sessions.remove(&peer) else { return };
        if session.state == State::ShakingHands {
            self.handshakes = self.handshakes.saturating_sub(1);
        }
        self.ended.push(peer);
    }

    /// Who is at the other end of an open session; `None` also where certificates are not asked for,
    /// and a token is shown instead.
    pub(super) fn principal(&self, peer: SocketAddr) -> Option<Arc<Principal>> {
        let session = self.sessions.get(&peer).filter(|session| session.state == State::Open)?;
        session.identified.as_ref().map(|found| Arc::clone(&found.principal))
    }

    /// Seals a datagram for a peer with a session; without one it is dropped.
    pub(super) fn seal(&mut self, now: Instant, peer: SocketAddr, datagram: &[u8]) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let sealed = session
            .dtls
            .handle_timeout(now)
            .and_then(|()| session.dtls.send_application_data(datagram).map(drop));
        self.drain(now, peer, sealed);
    }

    /// When [`Sessions::handle_timeout`] is to be called next.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Lets handshakes send again or give up.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, peer))) = self.timers.pop() else { return };
            let Some(session) = self.sessions.get_mut(&peer) else { continue };
            let handled = session.dtls.handle_timeout(now);
            self.drain(now, peer, handled);
        }
    }

    /// Forgets sessions that have been silent for too long.
    pub(super) fn tidy(&mut self, now: Instant) {
        let is_idle = |session: &Session| now.saturating_duration_since(session.heard_at) > IDLE_MAX;
        let idle = self.sessions.iter().filter(|(_, session)| is_idle(session)).map(|(peer, _)| *peer);
        for peer in idle.collect::<Vec<_>>() {
            self.end(peer);
        }
        self.randoms.retain(|_, at| now.saturating_duration_since(*at) < RANDOM_KEPT);
    }

    /// Says goodbye to everybody.
    pub(super) fn close(&mut self, now: Instant) {
        for peer in self.sessions.keys().copied().collect::<Vec<_>>() {
            if let Some(session) = self.sessions.get_mut(&peer) {
                let closed = session.dtls.close();
                self.drain(now, peer, closed);
            }
        }
    }
}

impl Way {
    /// Who signs the certificates of clients.
    fn clients(&self) -> Option<&dyn ClientCertVerifier> {
        match self {
            Self::Key => None,
            Self::Certificate(shown) => shown.clients.as_deref(),
        }
    }
}

/// The identity whose key was asked for.
fn identity(session: &Session) -> Option<&str> {
    session.identified.as_ref()?.identity.as_deref()
}
