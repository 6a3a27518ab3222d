//! A hub on the memory store with clocks that the test moves. It fails by panicking.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::missing_panics_doc, reason = "a test fails by panicking")]

use std::num::NonZeroU16;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use roost_hub::access::Grants;
use roost_hub::broker::{
    ConnectError, ConnectOptions, Connected, Outgoing, RetainHandling, Session, Start, SubscribeRequest,
    SubscriptionFlags, SubscriptionOptions, Will,
};
use roost_hub::id::{DeviceId, ProfileId, TenantId};
use roost_hub::message::{Message, QoS};
use roost_hub::principal::{Actor, Principal};
use roost_hub::registry::{NewDevice, Presented, SealKey};
use roost_hub::storage::Store;
use roost_hub::storage::memory::MemoryStore;
use roost_hub::time::{Clock, Timestamp};
use roost_hub::topic::{Subscribed, Topic};
use roost_hub::{Hub, Ports, Rng, Settings};

const ADMIN_TOKEN: &str = "an-admin-token-of-the-tests";

/// The tenant of the tests that need no other.
pub fn tenant() -> TenantId {
    TenantId::parse("default").unwrap()
}

/// The id of a device.
pub fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

/// The device of [`World::with_lamp`].
pub fn lamp() -> DeviceId {
    id("lamp")
}

/// What a session is given next: payloads as texts, and the releases of QoS 2.
pub fn payloads(session: &mut Session) -> Vec<String> {
    let mut out = Vec::new();
    session.next_outgoing(&mut out, 1_000);
    out.iter()
        .map(|one| match one {
            Outgoing::Publish(delivery) => String::from_utf8_lossy(&delivery.message.payload).into_owned(),
            Outgoing::Release(id, _) => format!("release {id}"),
        })
        .collect()
}

/// The packet ids of the messages that a session is given next, and whether each was given before.
pub fn packet_ids(session: &mut Session) -> Vec<(NonZeroU16, bool)> {
    let mut out = Vec::new();
    session.next_outgoing(&mut out, 1_000);
    out.iter()
        .filter_map(|one| match one {
            Outgoing::Publish(delivery) => Some((delivery.packet_id?, delivery.dup)),
            Outgoing::Release(..) => None,
        })
        .collect()
}

/// What a future gives at its first poll: the memory store makes nobody wait.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    match at_once(future) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the memory store makes nobody wait"),
    }
}

/// Clocks that stand still until they are moved.
#[derive(Debug)]
pub struct TestClock {
    start: Instant,
    milliseconds: AtomicI64,
    /// How far people have set the wall clock wrong.
    set_by: AtomicI64,
}

impl Clock for TestClock {
    fn wall(&self) -> Timestamp {
        let passed = self.milliseconds.load(Ordering::SeqCst) + self.set_by.load(Ordering::SeqCst);
        Timestamp(1_795_269_297_000 + passed)
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.milliseconds.load(Ordering::SeqCst).unsigned_abs())
    }
}

impl TestClock {
    /// Clocks that begin at a moment of 2026.
    pub(crate) fn new() -> Arc<Self> {
        // Not the clock that the product may not read: the test's has to begin at some instant.
        #[expect(clippy::disallowed_methods, reason = "the test's clock begins somewhere")]
        let start = Instant::now();
        Arc::new(Self { start, milliseconds: AtomicI64::new(0), set_by: AtomicI64::new(0) })
    }

    /// Moves both clocks.
    pub(crate) fn advance(&self, duration: Duration) {
        let milliseconds = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.milliseconds.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

/// The ports of a hub in a test.
pub(crate) fn ports(clock: &Arc<TestClock>, rng: &Arc<TestRng>) -> Ports {
    let seal_key = SealKey::new([7; SealKey::LENGTH]);
    Ports { clock: Arc::clone(clock) as Arc<dyn Clock>, rng: Arc::clone(rng) as Arc<dyn Rng>, seal_key }
}

/// Bytes that differ at each call, the same in each run.
#[derive(Debug, Default)]
pub(crate) struct TestRng(AtomicU64);

impl Rng for TestRng {
    fn fill(&self, buffer: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bytes = number.to_le_bytes().into_iter().cycle();
        buffer.fill_with(|| bytes.next().unwrap_or_default());
    }
}

/// One hub, its store, its clocks.
pub struct World {
    hub: Arc<Hub>,
    store: Store,
    clock: Arc<TestClock>,
    rng: Arc<TestRng>,
    settings: Settings,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(|_settings| {})
    }

    /// A world with one device.
    pub fn with_lamp() -> Self {
        let world = Self::new();
        world.create_device("lamp");
        world
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        Self::open(MemoryStore::store(), TestClock::new(), Arc::default(), settings)
    }

    /// A world on a store of the test's own.
    pub fn on(store: Store) -> Self {
        Self::open(store, TestClock::new(), Arc::default(), Settings::default())
    }

    fn open(store: Store, clock: Arc<TestClock>, rng: Arc<TestRng>, settings: Settings) -> Self {
        let hub = Hub::open(store.clone(), ports(&clock, &rng), settings.clone()).unwrap();
        Self { hub, store, clock, rng, settings }
    }

    /// The same store opened by a new hub, as after kill -9.
    pub fn restarted(&self) -> Self {
        Self::open(self.store.clone(), Arc::clone(&self.clock), Arc::clone(&self.rng), self.settings.clone())
    }

    /// The ports of the hub.
    pub fn ports(&self) -> Ports {
        ports(&self.clock, &self.rng)
    }

    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub fn advance(&self, duration: Duration) {
        self.clock.advance(duration);
        self.hub.tick();
    }

    /// Sets the wall clock forward by so many milliseconds, or back, and does what is due then.
    pub fn jump(&self, milliseconds: i64) {
        self.clock.set_by.fetch_add(milliseconds, Ordering::SeqCst);
        self.hub.tick();
    }

    /// Sends on what waited to become durable.
    pub fn deliver_deferred(&self) {
        assert!(at_once(self.hub.run_deferred()).is_pending(), "it runs as long as the hub does");
    }

    /// Reads the log for those who subscribed from the past on; gives for how many it did.
    pub fn replay(&self) -> usize {
        let wanted: Vec<_> = std::iter::from_fn(|| match at_once(self.hub.next_replay()) {
            Poll::Ready(wanted) => Some(wanted),
            Poll::Pending => None,
        })
        .collect();
        for one in &wanted {
            block_on(self.hub.finish_replay(self.hub.read_replay(one).unwrap())).unwrap();
        }
        wanted.len()
    }

    /// An application with the owner's token of the tenant, which is made when it is not there.
    pub fn principal_of_tenant(&self, tenant: &str) -> Arc<Principal> {
        let secret = if tenant == "default" {
            block_on(self.hub.ensure_admin_token(ADMIN_TOKEN)).unwrap();
            ADMIN_TOKEN.to_owned()
        } else {
            let created = block_on(self.hub.create_tenant(TenantId::parse(tenant).unwrap(), None)).unwrap();
            created.1.reveal().to_owned()
        };
        self.hub.authenticate(Presented::Token(&secret)).unwrap()
    }

    pub fn device_principal(&self, id: &str) -> Arc<Principal> {
        let actor = Actor::Device {
            device: DeviceId::parse(id).unwrap(),
            profile: ProfileId::parse("standard").unwrap(),
            grants: Grants::standard(),
        };
        Arc::new(Principal { tenant: TenantId::parse("default").unwrap(), actor, credential: None })
    }

    /// Registers a device, and gives who it is when it connects.
    pub fn create_device(&self, id: &str) -> Arc<Principal> {
        let new = NewDevice { id: Some(DeviceId::parse(id).unwrap()), ..NewDevice::default() };
        let tenant = TenantId::parse("default").unwrap();
        let created = block_on(self.hub.create_device(&tenant, new)).unwrap();
        self.hub.authenticate(Presented::Token(created.2.reveal())).unwrap()
    }

    pub fn try_connect(&self, id: &str, options: Options) -> Result<Connected, ConnectError> {
        self.hub.connect(&self.principal_of_tenant("default"), options.start(Start::Resume).build(id))
    }

    pub fn connect(&self, id: &str, options: Options) -> Session {
        self.hub.connect(&self.principal_of_tenant("default"), options.build(id)).unwrap().session
    }

    pub fn subscribe(&self, session: &mut Session, filter: &str, qos: QoS) {
        self.subscribe_with(
            session,
            filter,
            SubscriptionOptions { qos, flags: SubscriptionFlags::default(), identifier: 0 },
        );
    }

    pub fn subscribe_with(&self, session: &mut Session, filter: &str, options: SubscriptionOptions) {
        let qos = options.qos;
        let request = SubscribeRequest {
            subscribed: Subscribed::parse(filter).unwrap(),
            options,
            retain_handling: RetainHandling::Send,
        };
        assert_eq!(session.subscribe(&[request]).granted, [Ok(qos)]);
    }
}

/// What a client asks for, with what tests mostly want.
pub struct Options(ConnectOptions);

pub fn options() -> Options {
    Options(ConnectOptions {
        client_id: None,
        start: Start::Clean,
        expiry: Duration::ZERO,
        will: None,
        receive_maximum: 100,
        protocol: &"test",
        address: None,
    })
}

impl Options {
    pub fn expiry(mut self, expiry: Duration) -> Self {
        self.0.expiry = expiry;
        self
    }

    pub fn start(mut self, start: Start) -> Self {
        self.0.start = start;
        self
    }

    pub fn will(mut self, will: Will) -> Self {
        self.0.will = Some(will);
        self
    }

    pub fn build(mut self, id: &str) -> ConnectOptions {
        self.0.client_id = Some(id.to_owned());
        self.0
    }
}

pub fn message(topic: &str, payload: &str) -> Message {
    Message::new(Topic::parse(topic).unwrap(), payload.to_owned(), Timestamp(1_795_269_297_000))
}

pub fn with_qos(mut message: Message, qos: QoS) -> Message {
    message.qos = qos;
    message
}
