//! Devices that a dialect recognised and nobody registered yet.

use std::collections::BTreeMap;

use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header;
use http::{HeaderMap, StatusCode};
use roost_hub::access::Action;
use roost_hub::id::DeviceId;
use roost_hub::inbox::{Accept, AcceptError, InboxRule, PutInboxRulesError, Waiting, inbox_rules_etag};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::body::Json;
use crate::devices::{created, not_created};
use crate::params::Params;
use crate::problem::{Problem, sentence};
use crate::route::{Route, delete, get, post, put};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/inbox", list)
            .about("inbox", "Lists devices that were recognised and wait to be let in")
            .paged()
            .answers(200, "InboxPage"),
        post("/api/v1/inbox/{id}/accept", accept)
            .about("inbox", "Registers a device that waits; its token is shown this once")
            .header("Idempotency-Key", "Sent again, the request is answered again, not done again")
            .takes("Accept")
            .answers(201, "CreatedDevice"),
        delete("/api/v1/inbox/{id}", dismiss)
            .about("inbox", "Forgets a device that waits, until it is heard of again")
            .answers(204, ""),
        get("/api/v1/inbox/rules", rules)
            .about("inbox", "Lists the rules by which devices are let in without anybody asking")
            .answers(200, "InboxRules"),
        put("/api/v1/inbox/rules", set_rules)
            .about("inbox", "Sets all rules, and lets in whom of those that wait they match")
            .header("If-Match", "The ETag of the rules that are to be replaced; 412 when there are others")
            .takes("InboxRules")
            .answers(200, "InboxRules"),
    ]
}

/// A waiting device as it is answered.
fn shown(waiting: &Waiting) -> Value {
    let proposed = &waiting.proposed;
    let profile = proposed.profile.as_ref().map_or(waiting.dialect.as_str(), |profile| profile.as_str());
    json!({
        "id": waiting.id,
        "dialect": waiting.dialect,
        "name": waiting.name,
        "proposed": {
            "id": proposed.id,
            "name": proposed.name,
            "profile": profile,
            "labels": proposed.labels,
            "parent": waiting.parent,
            "links": [waiting.link()],
        },
        "first_seen_at": waiting.first_seen_at.to_string(),
        "last_seen_at": waiting.last_seen_at.to_string(),
        "sample": waiting.sample,
    })
}

async fn list(
    State(api): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Reply<Value>, Problem> {
    caller.may(Action::ReadDevices)?;
    let (limit, cursor) = params.take_page()?;
    params.finish()?;
    let page = api.hub.inbox(caller.tenant(), (limit, cursor.as_deref()))?;
    let items: Vec<Value> = page.items.iter().map(shown).collect();
    Ok(Reply(json!({ "items": items, "next": page.next, "total": page.total })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    id: Option<DeviceId>,
    name: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

async fn accept(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Result<Response, Problem> {
    caller.may(Action::WriteDevices)?;
    let Wanted { id: device, name, labels } = wanted;
    let accept = Accept { id: device.clone(), name, labels, profile: None };
    match api.hub.accept(caller.tenant(), &id, accept).await {
        Ok((device, credential, token)) => Ok(created(&api, &caller, &device, (&credential, &token))),
        Err(AcceptError::Unknown) => Err(unknown(&id)),
        Err(AcceptError::Create(error)) => Err(not_created(error, device)),
        Err(AcceptError::Storage(error)) => Err(error.into()),
    }
}

async fn dismiss(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::WriteDevices)?;
    match api.hub.dismiss(caller.tenant(), &id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown(&id)),
    }
}

async fn rules(State(api): State<Shared>, caller: Caller) -> Result<Response, Problem> {
    caller.may(Action::ReadDevices)?;
    Ok(shown_rules(api.hub.inbox_rules(caller.tenant())?))
}

fn shown_rules(rules: Vec<InboxRule>) -> Response {
    let etag = [(header::ETAG, format!("\"{}\"", inbox_rules_etag(&rules)))];
    (etag, Reply(rules)).into_response()
}

async fn set_rules(
    State(api): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    Json(rules): Json<Vec<InboxRule>>,
) -> Result<Response, Problem> {
    caller.may(Action::WriteDevices)?;
    let etag = headers.get(header::IF_MATCH).map(|value| value.to_str().unwrap_or_default().trim());
    let etag = etag.filter(|etag| *etag != "*").map(|etag| etag.trim_matches('"'));
    let put = api.hub.put_inbox_rules(caller.tenant(), (rules, etag)).await;
    put.map(shown_rules).map_err(|error| match error {
        PutInboxRulesError::Conflict(_) => Problem::condition(
            "Somebody else changed the rules meanwhile, and nothing of yours was: read them, then try again.",
        ),
        PutInboxRulesError::Invalid(text) => Problem::invalid(sentence(&text)),
        PutInboxRulesError::Storage(error) => error.into(),
    })
}

fn unknown(id: &str) -> Problem {
    let shown: String = id.chars().take(64).collect();
    Problem::not_found(format!("Nothing of the id {shown:?} waits in the inbox."))
}
