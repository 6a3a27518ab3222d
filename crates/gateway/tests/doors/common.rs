//! A gateway on free ports with a hub in memory, and a raw client.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use roost_gateway::{Gateway, Protocol, Settings, Tls};
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::principal::Role;
use roost_hub::registry::{NewDevice, NewToken, SealKey};
use roost_hub::storage::Store;
use roost_hub::storage::memory::MemoryStore;
use roost_hub::time::{Clock, Timestamp};
use roost_hub::{Hub, Ports, Rng};
use roost_wire::mqtt::{
    ConnAck, Connect, Decoded, Limits, Packet, Publish, QoS, ReasonCode, Subscribe, SubscribeProperties,
    Subscription, SubscriptionOptions, Version, decode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service;

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const TOKEN: &str = "a-token-of-the-device";
pub(crate) const ADMIN: &str = "a-token-of-the-owner-1234567890";

/// The clocks of the machine, which a test may move forward.
#[derive(Debug, Default)]
struct RunningClock {
    ahead: AtomicI64,
}

impl Clock for RunningClock {
    fn wall(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the test's own clock")]
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp(i64::try_from(since.as_millis()).unwrap() + self.ahead.load(Ordering::SeqCst))
    }
    fn now(&self) -> Instant {
        #[expect(clippy::disallowed_methods, reason = "the test's own clock")]
        let now = Instant::now();
        now + Duration::from_millis(self.ahead.load(Ordering::SeqCst).unsigned_abs())
    }
}

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Rng for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let number = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            chunk.copy_from_slice(&number.to_le_bytes()[..chunk.len()]);
        }
    }
}

pub(crate) struct World {
    pub(crate) hub: Arc<Hub>,
    pub(crate) mqtt: SocketAddr,
    pub(crate) http: SocketAddr,
    clock: Arc<RunningClock>,
    pub(crate) coap: SocketAddr,
    pub(crate) coaps: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinSet<()>,
}

pub(crate) fn tenant() -> TenantId {
    TenantId::parse("default").unwrap()
}

pub(crate) fn device() -> DeviceId {
    DeviceId::parse("s1").unwrap()
}

/// Deadlines short enough for tests that wait for them.
pub(crate) fn hasty() -> Settings {
    Settings {
        login_timeout: Duration::from_millis(300),
        tick: Duration::from_millis(20),
        ..Settings::default()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Settings { tick: Duration::from_millis(20), ..Settings::default() }).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        Self::on(MemoryStore::store(), settings, None).await
    }

    /// A world on a store, whose doors all have TLS when there are certificates.
    pub(crate) async fn on(store: Store, settings: Settings, tls: Option<Arc<Tls>>) -> Self {
        Self::not_set_up(store, (settings, roost_hub::Settings::default()), tls).set_up().await
    }

    /// A world in memory with bounds of its own.
    pub(crate) async fn within(settings: Settings, hub: roost_hub::Settings) -> Self {
        let settings = Settings { tick: Duration::from_millis(20), ..settings };
        Self::not_set_up(MemoryStore::store(), (settings, hub), None).set_up().await
    }

    /// Makes the owner and the device `s1`.
    pub(crate) async fn set_up(self) -> Self {
        self.hub.ensure_admin_token(ADMIN).await.unwrap();
        let new = NewDevice { id: Some(device()), token: Some(TOKEN.to_owned()), ..NewDevice::default() };
        self.hub.create_device(&tenant(), new).await.unwrap();
        self
    }

    /// A world in which nobody is registered yet.
    pub(crate) fn not_set_up(
        store: Store,
        (settings, hub): (Settings, roost_hub::Settings),
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let clock = Arc::new(RunningClock::default());
        let ports = Ports {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            rng: Arc::new(Counting::default()),
            seal_key: SealKey::new([7; SealKey::LENGTH]),
        };
        let hub = Hub::open(store, ports, hub).unwrap();
        let later = Arc::new(OnceLock::new());
        let mut gateway = Gateway::new(Arc::clone(&hub), settings, passing_on(&later));
        let adapter = roost_gateway::adapters::http::router(&gateway);
        drop(later.set(adapter.merge(gateway.dialects())));
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let protocols =
            if tls.is_some() { [Protocol::Mqtts, Protocol::Https] } else { [Protocol::Mqtt, Protocol::Http] };
        if let Some(tls) = tls {
            gateway.set_tls(tls);
        }
        let [mqtt, http] = protocols.map(|protocol| gateway.open(protocol, free).unwrap());
        let [coap, coaps] =
            [Protocol::Coap, Protocol::Coaps].map(|protocol| gateway.open(protocol, free).unwrap());
        let (stop, stopping) = watch::channel(false);
        let mut running = JoinSet::new();
        running.spawn(gateway.run(stopping));
        let deferred = Arc::clone(&hub);
        running.spawn(async move { deferred.run_deferred().await });
        let replayed = Arc::clone(&hub);
        running.spawn(async move {
            loop {
                let wanted = replayed.next_replay().await;
                let read = replayed.read_replay(&wanted).unwrap();
                replayed.finish_replay(read).await.unwrap();
            }
        });
        Self { hub, mqtt, http, coap, coaps, clock, stop, running }
    }

    /// Moves both clocks forward.
    pub(crate) fn advance(&self, duration: Duration) {
        self.clock.ahead.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// What the flight recorder says of `s1`, the newest first.
    pub(crate) fn flight(&self) -> Vec<String> {
        let entries = self.hub.flight_entries(&tenant(), &device()).unwrap();
        entries.into_iter().map(|entry| entry.detail).collect()
    }

    /// A device of its own, with [`TOKEN`] and its id as token.
    pub(crate) async fn device(&self, id: &str) {
        let token = Some(format!("{TOKEN}-{id}"));
        let new = NewDevice { id: Some(DeviceId::parse(id).unwrap()), token, ..NewDevice::default() };
        self.hub.create_device(&tenant(), new).await.unwrap();
    }

    /// The token of an application with a role.
    pub(crate) async fn application(&self, role: Role) -> String {
        let new = NewToken { name: "test".to_owned(), role, operator: false, expires_at: None };
        let (_, secret) = self.hub.create_token(&tenant(), new).await.unwrap();
        secret.reveal().to_owned()
    }

    pub(crate) async fn client(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.mqtt).await.unwrap(),
            version: Version::V5,
            input: Vec::new(),
        }
    }

    /// The device `s1`, connected.
    pub(crate) async fn connected(&self, version: Version) -> Client {
        let mut client = self.client().await;
        client.log_in(&connect(version)).await;
        client
    }

    /// An application, connected.
    pub(crate) async fn owner(&self, client_id: &str) -> Client {
        let mut client = self.client().await;
        let connect = Connect {
            client_id,
            username: Some("app"),
            password: Some(ADMIN.as_bytes()),
            ..connect(Version::V5)
        };
        client.log_in(&connect).await;
        client
    }

    pub(crate) fn ask_to_stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) async fn stop(mut self) {
        self.ask_to_stop();
        tokio::time::timeout(PATIENCE, self.running.join_next())
            .await
            .expect("the gateway ends")
            .unwrap()
            .unwrap();
    }
}

/// As in the server: the routes of dialects are known only when the gateway is.
fn passing_on(later: &Arc<OnceLock<Router>>) -> Router {
    let later = Arc::clone(later);
    Router::new().fallback(move |request: Request| {
        let mut router = later.get().cloned().unwrap_or_default();
        async move { router.call(request).await }
    })
}

pub(crate) fn connect(version: Version) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        properties: Default::default(),
        client_id: "client",
        will: None,
        username: Some("s1"),
        password: Some(TOKEN.as_bytes()),
    }
}

pub(crate) fn publish<'a>(topic: &'a str, payload: &'a str, qos: QoS, id: u16) -> Publish<'a> {
    Publish {
        topic,
        payload: payload.as_bytes(),
        qos,
        packet_id: std::num::NonZeroU16::new(id),
        ..Publish::default()
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) version: Version,
    pub(crate) input: Vec<u8>,
}

impl Client {
    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn send(&mut self, packet: &Packet<'_>) {
        let mut out = Vec::new();
        packet.encode(self.version, &mut out).unwrap();
        self.bytes(&out).await;
    }

    pub(crate) async fn publish(&mut self, publish: Publish<'_>) {
        self.send(&Packet::Publish(publish)).await;
    }

    pub(crate) async fn log_in(&mut self, connect: &Connect<'_>) -> Answer {
        let answer = self.try_log_in(connect).await;
        assert_eq!(answer.reason, ReasonCode::Success);
        answer
    }

    pub(crate) async fn try_log_in(&mut self, connect: &Connect<'_>) -> Answer {
        self.version = connect.version;
        self.send(&Packet::Connect(Box::new(connect.clone()))).await;
        self.expect(|packet| match packet {
            Packet::ConnAck(connack) => Answer::new(&connack),
            other => panic!("no CONNACK: {other:?}"),
        })
        .await
    }

    /// Looks at the next packet.
    pub(crate) async fn expect<T>(&mut self, look: impl FnOnce(Packet<'_>) -> T) -> T {
        let limits = Limits { packet_size_max: u32::MAX, ..Limits::default() };
        loop {
            match decode(&self.input, Some(self.version), &limits).unwrap() {
                Decoded::Packet { packet, length } => {
                    let seen = look(packet);
                    self.input.drain(..length);
                    return seen;
                }
                Decoded::NeedMore { .. } => {
                    let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
                    assert_ne!(read.expect("no packet came").unwrap(), 0, "closed instead of a packet");
                }
            }
        }
    }

    pub(crate) async fn expect_text(&mut self) -> String {
        self.expect(|packet| format!("{packet:?}")).await
    }

    /// The next packet is this one.
    pub(crate) async fn expect_packet(&mut self, expected: Packet<'_>) {
        self.expect(|packet| assert_eq!(packet, expected)).await;
    }

    pub(crate) async fn expect_publish(&mut self) -> (String, String) {
        self.expect(|packet| match packet {
            Packet::Publish(publish) => {
                (publish.topic.to_owned(), String::from_utf8(publish.payload.to_vec()).unwrap())
            }
            other => panic!("no PUBLISH: {other:?}"),
        })
        .await
    }

    /// The reason of the acknowledgement or DISCONNECT that comes next.
    pub(crate) async fn expect_reason(&mut self) -> ReasonCode {
        self.expect(|packet| match packet {
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
                ack.reason
            }
            Packet::Disconnect(disconnect) => disconnect.reason,
            Packet::ConnAck(connack) => connack.reason,
            other => panic!("no reason: {other:?}"),
        })
        .await
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) -> Vec<u8> {
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let subscriptions = [Subscription { filter, options }];
        self.send(&Packet::Subscribe(Subscribe {
            packet_id: std::num::NonZeroU16::MIN,
            properties: SubscribeProperties::default(),
            subscriptions: subscriptions.as_slice().into(),
        }))
        .await;
        self.expect(|packet| match packet {
            Packet::SubAck(suback) => suback.codes.to_vec(),
            other => panic!("no SUBACK: {other:?}"),
        })
        .await
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.input);
        let read = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        // A reset is a close too.
        drop(read.expect("the server does not close"));
        rest
    }

    pub(crate) async fn ping(&mut self) {
        self.send(&Packet::PingReq).await;
        self.expect_packet(Packet::PingResp).await;
    }
}

/// What CONNACK said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) reason: ReasonCode,
    pub(crate) present: bool,
    pub(crate) assigned: Option<String>,
    pub(crate) keep_alive: Option<u16>,
    pub(crate) session_expiry: Option<u32>,
    pub(crate) response_information: Option<String>,
}

impl Answer {
    fn new(connack: &ConnAck<'_>) -> Self {
        let properties = &connack.properties;
        Self {
            reason: connack.reason,
            present: connack.session_present,
            assigned: properties.assigned_client_id.map(str::to_owned),
            keep_alive: properties.server_keep_alive,
            session_expiry: properties.session_expiry,
            response_information: properties.response_information.map(str::to_owned),
        }
    }
}
