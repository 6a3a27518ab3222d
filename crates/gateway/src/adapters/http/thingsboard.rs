//! ThingsBoard's HTTP device API: the device's token stands in the path. Client attributes are the
//! twin's `reported`, shared ones its `desired`, a server-side RPC is a command.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use http::request::Parts;
use roost_hub::Hub;
use roost_hub::changes::{Changes, Part};
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::mailbox::Answer;
use roost_hub::twin::ReportTwinError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::caller::Caller;
use super::commands::{acting, not_by_head, take, take_answer};
use super::lines::JSON;
use super::refusal::{Refusal, sentence};
use super::telemetry::Target;
use super::{Ingest, body};
use crate::problem::Problem;

/// How long somebody waits who does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(20);
/// The longest wait; a longer one counts as this.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// The number of the one watch of a listener.
const WATCH: u32 = 0;

pub(super) fn routes() -> Router<Arc<Ingest>> {
    Router::new()
        .route("/api/v1/{token}/telemetry", post(telemetry))
        .route("/api/v1/{token}/attributes", get(attributes).post(report))
        .route("/api/v1/{token}/attributes/updates", get(updates))
        .route("/api/v1/{token}/rpc", get(next_call).post(call).head(not_by_head))
        .route("/api/v1/{token}/rpc/{id}", post(result))
}

type Token = Result<Path<String>, PathRejection>;

/// Who shows the token, and which device that is.
async fn device(
    ingest: &Ingest,
    head: &Parts,
    token: Result<&str, &PathRejection>,
) -> Result<(Caller, DeviceId), Problem> {
    let caller = Caller::recognise(head, ingest, Some(token.unwrap_or_default())).await?;
    let device = acting(&caller)?;
    Ok((caller, device))
}

fn text(token: &Token) -> Result<&str, &PathRejection> {
    token.as_ref().map(|Path(token)| token.as_str())
}

/// A body's JSON, whatever content type devices of the family say it is.
async fn json_of<T: DeserializeOwned>(ingest: &Ingest, request: Request) -> Result<T, Refusal> {
    body::parse(&body::read(request, ingest.body_length_max).await?)
}

async fn telemetry(
    State(ingest): State<Arc<Ingest>>,
    token: Token,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let (head, body) = request.into_parts();
    let (caller, device) = device(&ingest, &head, text(&token)).await?;
    let payload = body::read(Request::from_parts(head, body), ingest.body_length_max).await?;
    let position = Target::new(&ingest, &caller, device).publish(JSON, None, payload)?;
    ingest.hub.durable(position).await?;
    Ok(StatusCode::OK)
}

async fn report(
    State(ingest): State<Arc<Ingest>>,
    token: Token,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let (head, body) = request.into_parts();
    let (caller, device) = device(&ingest, &head, text(&token)).await?;
    let said: Map<String, Value> = json_of(&ingest, Request::from_parts(head, body)).await?;
    let reported = ingest.hub.report(caller.tenant(), &device, Value::Object(said), ingest.hub.now());
    let position = reported.map_err(|error| match error {
        ReportTwinError::Storage(error) => Problem::from(error),
        error => Problem::invalid(sentence(&error.to_string())),
    })?;
    ingest.hub.durable(position).await?;
    Ok(StatusCode::OK)
}

#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(rename = "clientKeys")]
    client: Option<String>,
    #[serde(rename = "sharedKeys")]
    shared: Option<String>,
}

async fn attributes(
    State(ingest): State<Arc<Ingest>>,
    token: Token,
    keys: Result<Query<Keys>, QueryRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, _body) = request.into_parts();
    let (caller, device) = device(&ingest, &head, text(&token)).await?;
    let Query(keys) = keys.map_err(|rejection| Problem::invalid(sentence(&rejection.body_text())))?;
    let twin = ingest.hub.twin(caller.tenant(), &device)?;
    let asks_for_all = keys.client.is_none() && keys.shared.is_none();
    let chosen = |state: Map<String, Value>, names: Option<String>| match names {
        _ if asks_for_all => state,
        None => Map::new(),
        Some(names) => {
            let names: Vec<&str> = names.split(',').map(str::trim).collect();
            state.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect()
        }
    };
    let halves =
        [("client", chosen(twin.reported, keys.client)), ("shared", chosen(twin.desired, keys.shared))];
    let told = halves.into_iter().filter(|(_, values)| !values.is_empty());
    let answer: Map<String, Value> = told.map(|(name, values)| (name.to_owned(), values.into())).collect();
    Ok(Json(answer).into_response())
}

/// How long to wait, in milliseconds.
#[derive(Debug, Deserialize)]
struct Timeout {
    timeout: Option<u64>,
}

type TimeoutQuery = Result<Query<Timeout>, QueryRejection>;

fn wait(query: TimeoutQuery) -> Result<Duration, Problem> {
    let Query(Timeout { timeout }) =
        query.map_err(|_rejection| Problem::invalid("`timeout` is a number of milliseconds."))?;
    Ok(timeout.map_or(WAIT_DEFAULT, Duration::from_millis).min(WAIT_MAX))
}

/// A device that waits, and for how long.
struct Poll {
    caller: Caller,
    device: DeviceId,
    wait: Duration,
}

impl FromRequestParts<Arc<Ingest>> for Poll {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, ingest: &Arc<Ingest>) -> Result<Self, Refusal> {
        let token = Token::from_request_parts(parts, ingest).await.unwrap_or_else(|never| match never {});
        let timeout =
            TimeoutQuery::from_request_parts(parts, ingest).await.unwrap_or_else(|never| match never {});
        let (caller, device) = device(ingest, parts, text(&token)).await?;
        Ok(Self { caller, device, wait: wait(timeout)? })
    }
}

/// As the family's own server says that nothing came.
fn nothing_came() -> Response {
    StatusCode::REQUEST_TIMEOUT.into_response()
}

/// A watch on a twin, which ends when dropped.
struct Watched<'a> {
    hub: &'a Hub,
    whose: (&'a TenantId, &'a DeviceId),
    changes: Arc<Changes>,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.hub.unwatch_changes(self.whose.0, self.whose.1, WATCH, &self.changes);
    }
}

async fn updates(
    State(ingest): State<Arc<Ingest>>,
    Poll { caller, device, wait }: Poll,
) -> Result<Response, Refusal> {
    let mut until = pin!(tokio::time::sleep(wait));
    let (hub, tenant) = (&*ingest.hub, caller.tenant());
    let _place = ingest.waiting.enter(tenant, &device)?;
    let changes = Arc::new(Changes::default());
    if !hub.watch_changes(tenant, &device, (Part::Twin, WATCH), &changes) {
        return Err(Problem::too_many("Too many wait for this device.", WAIT_DEFAULT).into());
    }
    let watched = Watched { hub, whose: (tenant, &device), changes };
    let before = hub.twin(tenant, &device)?;
    loop {
        tokio::select! {
            _told = poll_fn(|context| watched.changes.poll_take(context)) => {}
            () = until.as_mut() => return Ok(nothing_came()),
        }
        caller.still_holds(&ingest)?;
        let now = hub.twin(tenant, &device)?;
        if now.version == before.version {
            continue;
        }
        let is_new = |name: &String, value: &Value| before.desired.get(name) != Some(value);
        let mut changed: Map<String, Value> =
            now.desired.iter().filter(|(name, value)| is_new(name, value)).map(owned).collect();
        let gone: Vec<&String> =
            before.desired.keys().filter(|name| !now.desired.contains_key(*name)).collect();
        if !gone.is_empty() {
            changed.insert("deleted".to_owned(), json!(gone));
        }
        return Ok(Json(changed).into_response());
    }
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

async fn next_call(
    State(ingest): State<Arc<Ingest>>,
    Poll { caller, device, wait }: Poll,
) -> Result<Response, Refusal> {
    let taken = take(&ingest, &caller, &device, (wait, 1)).await?;
    Ok(match taken.first() {
        None => nothing_came(),
        Some(command) => {
            let call = json!({ "id": command.id.as_str(), "method": command.name, "params": command.params });
            Json(call).into_response()
        }
    })
}

async fn result(
    State(ingest): State<Arc<Ingest>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let (head, body) = request.into_parts();
    let path =
        path.map(|Path(path)| path).map_err(|_no_text| Problem::not_found("There is no such call."))?;
    let (caller, _) = device(&ingest, &head, Ok(&path.0)).await?;
    let said: Value = json_of(&ingest, Request::from_parts(head, body)).await?;
    take_answer(&ingest, &caller, &path.1, outcome(said)).await?;
    Ok(StatusCode::OK)
}

/// A device answers with any JSON; one that says nothing but an error did not do it.
fn outcome(said: Value) -> Answer {
    let error = said.as_object().filter(|answer| answer.len() == 1).and_then(|answer| answer.get("error"));
    match error {
        Some(Value::String(text)) => Answer::Failed(text.clone()),
        Some(other) => Answer::Failed(other.to_string()),
        None => Answer::Succeeded(Some(said)),
    }
}

/// A device's own call: nobody answers those here, as over MQTT.
async fn call(
    State(ingest): State<Arc<Ingest>>,
    token: Token,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, _body) = request.into_parts();
    device(&ingest, &head, text(&token)).await?;
    Ok(Json(json!({ "error": "this server answers no calls of devices" })).into_response())
}
