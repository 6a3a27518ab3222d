//! `Idempotency-Key`: a POST that is sent again is answered again, not done again, for 24 hours.
//!
//! Answers are kept in memory and, so that they outlive a restart, as facts under
//! `idempotency/{hash}`. An answer that holds a secret is in memory only: of it, the fact says no
//! more than that it was done, and after a restart its repetition is refused.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use roost_hub::Hub;
use roost_hub::principal::Principal;
use roost_hub::storage::{Change, Expected, Key, PutError};
use roost_hub::time::Timestamp;
use roost_wire::lines::LINE_TYPES;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::auth::Caller;
use crate::body;
use crate::problem::Problem;
use crate::state::Shared;

/// For how long a key counts.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// The most keys that are remembered; the oldest go first.
const KEYS_MAX: usize = 10_000;
/// The most bytes of answers that are remembered.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest answer that is remembered.
const ANSWER_LENGTH_MAX: usize = 16 * 1024;
/// The longest key.
const KEY_LENGTH_MAX: usize = 256;
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];

/// Marks an answer that holds a secret.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HoldsSecret;

/// Marks an answer with a secret in it.
pub(crate) fn secret(response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.extensions_mut().insert(HoldsSecret);
    response
}

/// An answer that can be given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// What is remembered of a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Done {
    at: Timestamp,
    /// The hash of what was sent; `None` where that could be a secret.
    sent: Option<String>,
    /// `None` when the answer held a secret or was too large.
    answer: Option<Arc<Answer>>,
}

#[derive(Debug)]
enum Known {
    Underway,
    Done(Done),
}

#[derive(Debug, Default)]
struct Memory {
    known: HashMap<String, Known>,
    order: VecDeque<(Timestamp, String)>,
    bytes: usize,
}

/// The keys that were used.
#[derive(Debug, Default)]
pub(crate) struct Idempotency {
    memory: Mutex<Memory>,
}

/// What to do with a request that has a key.
enum Found {
    New,
    Underway,
    Done(Done),
}

impl Done {
    fn size(&self) -> usize {
        self.answer.as_ref().map_or(0, |answer| answer.body.len())
    }
}

impl Memory {
    fn insert(&mut self, name: String, done: Done) {
        self.bytes += done.size();
        self.order.push_back((done.at, name.clone()));
        self.known.insert(name, Known::Done(done));
    }

    /// Forgets what is old or too much; gives the names.
    fn prune(&mut self, now: Timestamp) -> Vec<String> {
        let mut gone = Vec::new();
        while let Some((at, _)) = self.order.front() {
            let is_old = now.since(*at) >= KEPT;
            if !is_old && self.order.len() <= KEYS_MAX && self.bytes <= BYTES_MAX {
                break;
            }
            let Some((_, name)) = self.order.pop_front() else { break };
            if let Some(Known::Done(done)) = self.known.remove(&name) {
                self.bytes = self.bytes.saturating_sub(done.size());
            }
            gone.push(name);
        }
        gone
    }
}

fn fact(name: &str) -> Option<Key> {
    Key::of("idempotency").level(name).key().ok()
}

fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

/// A key as the caller's own, which no other caller's key can be.
pub(crate) fn scoped(principal: &Principal, key: &[u8]) -> String {
    hash(&[principal.label().as_bytes(), key])
}

impl Idempotency {
    /// Reads what the store has from before the start. What cannot be read is forgotten.
    pub(crate) fn load(hub: &Hub) -> Self {
        let prefix = Key::of("idempotency").prefix();
        let page = hub.store().table.scan(&prefix, None, KEYS_MAX).unwrap_or_default();
        let mut found: Vec<(String, Done)> = page
            .into_iter()
            .filter_map(|(key, entry)| {
                Some((key.levels().last()?, serde_json::from_slice(&entry.value).ok()?))
            })
            .collect();
        found.sort_by_key(|(_, done)| done.at);
        let mut memory = Memory::default();
        for (name, done) in found {
            memory.insert(name, done);
        }
        Self { memory: Mutex::new(memory) }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, name: &str, now: Timestamp) -> Found {
        let mut memory = self.memory();
        match memory.known.get(name) {
            Some(Known::Underway) => return Found::Underway,
            Some(Known::Done(done)) if now.since(done.at) < KEPT => return Found::Done(done.clone()),
            Some(Known::Done(_)) | None => {}
        }
        memory.known.insert(name.to_owned(), Known::Underway);
        Found::New
    }

    /// Remembers what was done, durably.
    async fn keep(&self, hub: &Hub, name: &str, done: Done) {
        let stored = serde_json::to_vec(&Done {
            answer: done.answer.clone().filter(|_| done.sent.is_some()),
            ..done.clone()
        });
        let gone = {
            let mut memory = self.memory();
            memory.insert(name.to_owned(), done);
            memory.prune(hub.now())
        };
        let table = &hub.store().table;
        for old in gone {
            if let Some(key) = fact(&old) {
                drop(table.put(&key, None, Expected::Any));
            }
        }
        let (Some(key), Ok(stored)) = (fact(name), stored) else { return };
        let put: Result<Change, PutError> = table.put(&key, Some(Bytes::from(stored)), Expected::Any);
        let kept = match put {
            Ok(change) => hub.durable(change.position).await.is_ok(),
            Err(_full_or_broken) => false,
        };
        if !kept {
            // The work itself is done and durable; only after a restart it would be done again.
            tracing::debug!("an idempotency key could not be stored");
        }
    }
}

/// Frees the key when the request ends without an answer that counts.
struct Underway {
    api: Shared,
    name: String,
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut memory = self.api.idempotency.memory();
        if matches!(memory.known.get(&self.name), Some(Known::Underway)) {
            memory.known.remove(&self.name);
        }
    }
}

fn read_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let rule = || {
        Problem::invalid(format!("`Idempotency-Key` is 1 to {KEY_LENGTH_MAX} printable characters, once."))
    };
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_not_ascii| rule())?;
    if values.next().is_some() || !(1..=KEY_LENGTH_MAX).contains(&text.len()) {
        return Err(rule());
    }
    Ok(Some(text))
}

/// Whether the body is a stream, of which the key is the name: who takes its lines looks at it.
fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    LINE_TYPES.iter().any(|lines| kind.eq_ignore_ascii_case(lines))
}

/// Answers again what was done before. Log-in and set-up are left alone: their bodies are secrets,
/// and doing them twice does no harm.
pub(crate) async fn layer(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let key = match read_key(request.headers()) {
        Ok(Some(key)) if request.method() == Method::POST && !is_stream(request.headers()) => key.to_owned(),
        Ok(_) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    let (mut parts, body) = request.into_parts();
    let Ok(caller) = Caller::from_request_parts(&mut parts, &api).await else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let name = hash(&[caller.principal.label().as_bytes(), target.as_bytes(), key.as_bytes()]);
    let request = Request::from_parts(parts, body);
    answer(api, (name, caller), request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(
    api: Shared,
    (name, caller): (String, Caller),
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let bytes = body::read(Request::new(body), &()).await?;
    let sent = hash(&[&bytes]);
    let now = api.hub.now();
    match api.idempotency.begin(&name, now) {
        Found::New => {}
        Found::Underway => {
            return Err(Problem::conflict(
                "A request with this Idempotency-Key is being worked on; ask again.",
            )
            .retry_after(Duration::from_secs(1)));
        }
        Found::Done(done) => return repeat(&done, &sent),
    }
    let underway = Underway { api: Arc::clone(&api), name };
    parts.extensions.insert(caller);
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    if !response.status().is_success() {
        return Ok(response);
    }
    let is_secret = response.extensions().get::<HoldsSecret>().is_some();
    let (head, body) = response.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|_broken| Problem::unavailable("The answer could not be made."))?
        .to_bytes();
    let answer = std::str::from_utf8(&body).ok().filter(|text| text.len() <= ANSWER_LENGTH_MAX).map(|text| {
        let headers = KEPT_HEADERS.iter().filter_map(|name| {
            Some((name.as_str().to_owned(), head.headers.get(name)?.to_str().ok()?.to_owned()))
        });
        Arc::new(Answer { status: head.status.as_u16(), headers: headers.collect(), body: text.to_owned() })
    });
    let done = Done { at: now, sent: (!is_secret).then_some(sent.clone()), answer };
    api.idempotency.keep(&api.hub, &underway.name, done).await;
    if is_secret {
        api.idempotency.remember_sent(&underway.name, sent);
    }
    Ok(Response::from_parts(head, Body::from(body)))
}

impl Idempotency {
    /// In memory, also what may be a secret is compared.
    fn remember_sent(&self, name: &str, sent: String) {
        if let Some(Known::Done(done)) = self.memory().known.get_mut(name) {
            done.sent = Some(sent);
        }
    }
}

fn repeat(done: &Done, sent: &str) -> Result<Response, Problem> {
    if done.sent.as_deref().is_some_and(|before| before != sent) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "The key was used before",
            "This Idempotency-Key came with another body before; use a new key for a new request.",
        ));
    }
    let Some(answer) = &done.answer else {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "done-before",
            "Done before",
            "This was done before, and what was answered is not kept (it held a secret). Look at what is there.",
        ));
    };
    let mut response = (
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK),
        [("idempotency-replayed", "true")],
        answer.body.clone(),
    )
        .into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}
