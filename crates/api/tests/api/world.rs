//! A hub in memory, a history in a folder of its own, and short names for asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use roost_api::{ApiState, ServerInfo, router};
use roost_history::{FlushRule, History};
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::message::{Message, Telemetry};
use roost_hub::reading::{Quality, Reading, Value as ReadingValue};
use roost_hub::registry::SealKey;
use roost_hub::storage::Store;
use roost_hub::storage::memory::MemoryStore;
use roost_hub::time::{Clock, Timestamp};
use roost_hub::topic::Topic;
use roost_hub::{Hub, Ports, Rng, Settings};
use serde_json::Value;
use tempfile::TempDir;
use tower_service::Service;

pub(crate) const ADMIN: &str = "the-first-token-of-all";
pub(crate) const NOW: i64 = 1_795_269_297_250;

#[derive(Debug)]
pub(crate) struct TestClock {
    wall: AtomicI64,
    started: Instant,
}

impl Clock for TestClock {
    fn wall(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::Relaxed))
    }

    fn now(&self) -> Instant {
        self.started
    }
}

#[derive(Debug, Default)]
struct TestRng(AtomicU64);

impl Rng for TestRng {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            // Splitmix64: different every time, and the same in every run.
            let mut mixed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = mixed.to_be_bytes()[0];
        }
    }
}

pub(crate) struct World {
    pub(crate) hub: Arc<Hub>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) store: Store,
    history: Arc<History>,
    router: Router,
    _folder: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        if status >= 400 {
            assert_eq!(self.header("content-type"), "application/problem+json");
            let problem = self.json();
            assert!(problem["type"].as_str().unwrap().starts_with("urn:roost:problem:"), "{problem}");
            assert_eq!(problem["status"], status);
            assert!(problem["detail"].as_str().unwrap().len() > 10, "{problem}");
        }
        self
    }
}

impl World {
    /// A server whose operator has the token [`ADMIN`].
    pub(crate) async fn new() -> Self {
        let world = Self::empty();
        world.hub.ensure_admin_token(ADMIN).await.unwrap();
        world
    }

    /// A server that has no owner yet.
    pub(crate) fn empty() -> Self {
        let clock = Arc::new(TestClock { wall: AtomicI64::new(NOW), started: test_start() });
        Self::on(MemoryStore::store(), clock, 1)
    }

    /// The same server after a restart.
    pub(crate) fn restarted(&self) -> Self {
        Self::on(self.store.clone(), Arc::clone(&self.clock), 1_000_003)
    }

    fn on(store: Store, clock: Arc<TestClock>, seed: u64) -> Self {
        let rng = Arc::new(TestRng(AtomicU64::new(seed)));
        let seal_key = SealKey::new([7; SealKey::LENGTH]);
        let ports = Ports { clock: Arc::clone(&clock) as Arc<dyn Clock>, rng, seal_key };
        let hub = Hub::open(store.clone(), ports, Settings::default()).unwrap();
        let folder = TempDir::new().unwrap();
        let history = History::open(folder.path(), Arc::clone(&store.log), FlushRule::default()).unwrap();
        let info = ServerInfo {
            version: "0.1.0".to_owned(),
            started_at: Timestamp(NOW),
            doors: vec![("mqtt".to_owned(), "127.0.0.1:1883".to_owned())],
            acks: "synced".to_owned(),
            retention: "forever".to_owned(),
        };
        let state = ApiState { hub: Arc::clone(&hub), history: Arc::clone(&history), info };
        Self { hub, clock, store, history, router: router(state), _folder: folder }
    }

    pub(crate) fn pass(&self, milliseconds: i64) {
        self.clock.wall.fetch_add(milliseconds, Ordering::Relaxed);
    }

    pub(crate) async fn flush(&self) {
        self.history.flush(self.hub.now()).await.unwrap();
    }

    /// Sends any request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.open(request).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Sends any request and leaves the answer's body to be read.
    pub(crate) async fn open(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().call(request).await.unwrap()
    }

    /// Asks with a token; a body that is not null is sent as JSON.
    pub(crate) async fn ask(&self, token: &str, line: &str, body: Value) -> Answer {
        self.send(request(token, line, body)).await
    }

    /// The same by the operator.
    pub(crate) async fn admin(&self, line: &str, body: Value) -> Answer {
        self.ask(ADMIN, line, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.admin(&format!("GET {path}"), Value::Null).await
    }

    /// Registers a device; gives its token.
    pub(crate) async fn device(&self, id: &str) -> String {
        let made = self.admin("POST /api/v1/devices", serde_json::json!({ "id": id })).await.expect(201);
        made.json()["credential"]["token"].as_str().unwrap().to_owned()
    }

    /// Makes an API token of this role.
    pub(crate) async fn token(&self, role: &str) -> String {
        let body = serde_json::json!({ "name": role, "role": role });
        let made = self.admin("POST /api/v1/tokens", body).await.expect(201);
        made.json()["token"].as_str().unwrap().to_owned()
    }

    /// Makes a tenant; gives its owner's token.
    pub(crate) async fn tenant(&self, id: &str) -> String {
        let made = self.admin("POST /api/v1/tenants", serde_json::json!({ "id": id })).await.expect(201);
        made.json()["owner_token"].as_str().unwrap().to_owned()
    }

    /// Lets a device of the tenant `default` publish a reading.
    pub(crate) async fn measure(&self, device: &str, (key, ts): (&str, i64), value: ReadingValue) {
        let tenant = TenantId::parse("default").unwrap();
        let device = DeviceId::parse(device).unwrap();
        let principal = self.hub.device_principal(&tenant, &device).unwrap();
        let topic = Topic::parse(&format!("devices/{device}/telemetry")).unwrap();
        let mut message = Message::new(topic, "{}", self.hub.now());
        let reading = Reading { key: Arc::from(key), ts: Timestamp(ts), value, quality: Quality::Good };
        message.telemetry = Some(Box::new(Telemetry { device, readings: vec![reading] }));
        let published = self.hub.publish(&principal, message).unwrap();
        self.hub.durable(published.position.unwrap()).await.unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the tests")]
fn test_start() -> Instant {
    Instant::now()
}

/// A request with a token, from a line such as `GET /path`.
pub(crate) fn request(token: &str, line: &str, body: Value) -> Request<Body> {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target).header("host", "roost.test");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    match body {
        Value::Null => request.body(Body::empty()).unwrap(),
        body => {
            request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
        }
    }
}
