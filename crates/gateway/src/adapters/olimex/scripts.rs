//! Scripts that were made for the system's own server: `/api/nodes`, answered as it answers.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};
use roost_hub::access::{self, Action};
use roost_hub::principal::Principal;
use serde_json::{Map, Value, json};

use super::clients::tell;
use super::nodes::Node;
use crate::http::Peer;
use crate::http::credentials::Credentials;
use crate::shared::Shared;

/// The largest command.
const BODY_LENGTH_MAX: usize = 64 * 1024;
/// Who may ask from another page, and with what.
const CORS: [(HeaderName, HeaderValue); 2] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization, Content-Type")),
];

pub(super) fn routes() -> Router<Arc<Shared>> {
    let all = || -> MethodRouter<Arc<Shared>> { get(list).options(preflight) };
    let one = || -> MethodRouter<Arc<Shared>> { get(list).post(command).options(preflight) };
    Router::new()
        .route("/api/nodes", all())
        .route("/api/nodes/api-key/{key}", all())
        .route("/api/nodes/{id}", one())
        .route("/api/nodes/{id}/api-key/{key}", one())
}

async fn preflight() -> Response {
    (StatusCode::OK, HeaderMap::from_iter(CORS)).into_response()
}

fn answer(status: StatusCode, value: &Value) -> Response {
    let mut headers = HeaderMap::from_iter(CORS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::UNAUTHORIZED {
        let realm = HeaderValue::from_static("Basic realm=\"Authentication required\"");
        headers.insert(header::WWW_AUTHENTICATE, realm);
    }
    (status, headers, value.to_string()).into_response()
}

fn denied() -> Response {
    answer(StatusCode::UNAUTHORIZED, &json!({ "Status": "Access denied" }))
}

/// An API token, as the password of Basic or behind `/api-key/`.
async fn recognise(shared: &Arc<Shared>, head: &Parts, key: Option<&str>) -> Option<Arc<Principal>> {
    let authorization = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = Credentials {
        authorization: authorization.filter(|_| key.is_none()),
        token: key,
        ..Credentials::default()
    };
    let peer = head.extensions.get::<Peer>();
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
    let principal = shown.recognise(&shared.hub, address).await.ok().flatten()?;
    access::may(&principal, Action::ReadDevices).is_ok().then_some(principal)
}

/// What stands in the path.
type Named = Path<Vec<(String, String)>>;

fn named<'a>(path: &'a Named, name: &str) -> Option<&'a str> {
    path.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

fn nodes(shared: &Shared, principal: &Principal, id: Option<&str>) -> Vec<Arc<Node>> {
    let mut nodes = shared.olimex.of(&principal.tenant);
    nodes.retain(|node| id.is_none_or(|id| node.number().to_string() == id));
    nodes.sort_by_key(|node| node.number());
    nodes
}

async fn list(State(shared): State<Arc<Shared>>, path: Named, request: Request<Body>) -> Response {
    let (head, _body) = request.into_parts();
    let Some(principal) = recognise(&shared, &head, named(&path, "key")).await else { return denied() };
    let shown = nodes(&shared, &principal, named(&path, "id")).into_iter().map(|node| {
        let mut shown = node.shown();
        shown.insert("User".to_owned(), Value::from(principal.tenant.as_str()));
        shown.insert("Devices".to_owned(), node.devices());
        Value::Object(shown)
    });
    answer(StatusCode::OK, &shown.collect())
}

async fn command(State(shared): State<Arc<Shared>>, path: Named, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let Some(principal) = recognise(&shared, &head, named(&path, "key")).await else { return denied() };
    let body = Limited::new(body, BODY_LENGTH_MAX).collect().await.map(|whole| whole.to_bytes());
    let said: Option<Map<String, Value>> = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
    let Some(said) = said else {
        return answer(StatusCode::BAD_REQUEST, &json!({ "Status": "Invalid request" }));
    };
    let node = nodes(&shared, &principal, named(&path, "id")).into_iter().next();
    let status = match node {
        None => "Invalid nodeID".to_owned(),
        Some(node) => match tell(&shared.hub, &principal, &node, &said).await {
            Ok(()) => "OK".to_owned(),
            Err(error) => error,
        },
    };
    answer(StatusCode::OK, &json!({ "Status": status }))
}
