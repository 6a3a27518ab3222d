//! A router over a hub in memory, and what it answers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use roost_gateway::adapters::http::router;
use roost_gateway::{Gateway, Settings};
use roost_hub::Hub;
use roost_hub::flight::FlightKind;
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::principal::Role;
use roost_hub::reading::{Reading, Value};
use roost_hub::registry::{NewDevice, NewToken, Presented};
use tower_service::Service;

pub(crate) use roost_testkit::world::{World, options};

/// The same that the world uses for its own sessions; another would take its place.
pub(crate) const OWNER: &str = "an-admin-token-of-the-tests";
pub(crate) const JSON: &str = "application/json";
pub(crate) const LINES: &str = "application/x-ndjson";

/// A hub with the devices `a` and `b` and an owner.
pub(crate) struct Ingest {
    pub(crate) world: World,
    router: Router,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

pub(crate) fn tenant() -> TenantId {
    TenantId::parse("default").unwrap()
}

pub(crate) fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

/// The token of a device.
pub(crate) fn token(device: &str) -> String {
    format!("a-token-of-the-device-{device}")
}

pub(crate) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// The routes of a gateway without doors.
pub(crate) fn routes(hub: Arc<Hub>, settings: Settings) -> Router {
    router(&Gateway::new(hub, settings, Router::new()))
}

pub(crate) async fn register(hub: &Arc<Hub>, device: &str) {
    let new = NewDevice { id: Some(id(device)), token: Some(token(device)), ..NewDevice::default() };
    hub.create_device(&tenant(), new).await.unwrap();
}

impl Ingest {
    pub(crate) async fn new() -> Self {
        Self::with(World::new(), Settings::default()).await
    }

    pub(crate) async fn with(world: World, settings: Settings) -> Self {
        let hub = world.hub();
        hub.ensure_admin_token(OWNER).await.unwrap();
        register(hub, "a").await;
        register(hub, "b").await;
        Self { router: routes(Arc::clone(hub), settings), world }
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        self.world.hub()
    }

    pub(crate) async fn application(&self, role: Role) -> String {
        let new = NewToken { name: "test".to_owned(), role, operator: false, expires_at: None };
        let (_, secret) = self.hub().create_token(&tenant(), new).await.unwrap();
        secret.reveal().to_owned()
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        answer(self.router.clone(), request).await
    }

    /// The answer while it comes.
    pub(crate) async fn respond(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().call(request).await.unwrap()
    }

    /// Posts as the device `a`.
    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        self.call(post(&token("a"), path, content_type, body)).await
    }

    pub(crate) async fn get(&self, device: &str, path: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {}", token(device)));
        self.call(request.body(Body::empty()).unwrap()).await
    }

    /// The newest value of a key of `a`.
    pub(crate) fn latest(&self, key: &str) -> Option<Reading> {
        let latest = self.hub().latest(&tenant(), &id("a")).unwrap();
        latest.into_iter().find(|(name, _)| &**name == key).map(|(_, reading)| reading)
    }

    pub(crate) fn value(&self, key: &str) -> Option<Value> {
        self.latest(key).map(|reading| reading.value)
    }

    /// Whether the device's people can read there what was refused.
    pub(crate) fn has_note(&self, kind: FlightKind) -> bool {
        let entries = self.hub().flight_entries(&tenant(), &id("a")).unwrap();
        entries.iter().any(|entry| entry.kind == kind)
    }

    /// Takes the token of `a` back.
    pub(crate) async fn revoke(&self) {
        let principal = self.hub().authenticate(Presented::Token(&token("a"))).unwrap();
        let credential = principal.credential.clone().unwrap().id;
        self.hub().revoke_credential(&tenant(), &id("a"), &credential).await.unwrap();
    }
}

pub(crate) async fn answer(mut router: Router, request: Request<Body>) -> Answer {
    let response = router.call(request).await.unwrap();
    let (head, body) = response.into_parts();
    Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}

pub(crate) fn post(token: &str, path: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post(path).header("authorization", format!("Bearer {token}"));
    if !content_type.is_empty() {
        request = request.header("content-type", content_type);
    }
    request.body(body.into()).unwrap()
}

/// A body that comes in these pieces.
pub(crate) fn pieces(pieces: impl IntoIterator<Item = impl Into<Bytes>, IntoIter: Send + 'static>) -> Body {
    let pieces = pieces.into_iter().map(|piece| Ok::<Bytes, std::io::Error>(piece.into()));
    Body::from_stream(futures_util::stream::iter(pieces))
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// What a problem document says.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, slug: &str) -> serde_json::Value {
        let answer = self.expect(status);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let document = answer.json();
        assert_eq!(document["type"], format!("urn:roost:problem:{slug}"), "{document}");
        assert_eq!(document["status"], status);
        document
    }
}
