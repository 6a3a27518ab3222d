//! Looking at the tenant's MQTT sessions and retained messages.

use std::sync::Arc;

use axum::Json as Reply;
use axum::extract::{Path, State};
use http::StatusCode;
use roost_hub::access::{self, Action};
use roost_hub::broker::{Owner, QueuedMessage, QueuedState, RetainedMessage, SessionQuery, SessionState};
use roost_hub::time::Timestamp;
use roost_hub::topic::TopicFilter;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::live::payload;
use crate::page::Page;
use crate::params::Params;
use crate::problem::{Problem, sentence};
use crate::route::{Route, delete, get};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/sessions", list)
            .about("broker", "Lists the MQTT sessions, connected or not")
            .query("q", "string", "A part of the client id, the owner's id or the address")
            .query("connected", "boolean", "Only those that have a connection, or only those that have none")
            .paged()
            .answers(200, "MqttSessionPage"),
        get("/api/v1/sessions/{client_id}", show)
            .about("broker", "Shows a session")
            .answers(200, "MqttSession"),
        get("/api/v1/sessions/{client_id}/queue", queue)
            .about(
                "broker",
                "Lists the QoS 1 and 2 messages that wait for a session or are on their way to it",
            )
            .paged()
            .answers(200, "QueuedMessagePage"),
        delete("/api/v1/sessions/{client_id}", kick)
            .about("broker", "Ends a session: closes its connection and forgets what waits for it")
            .answers(204, ""),
        get("/api/v1/retained", retained)
            .about("broker", "Lists retained messages")
            .query("filter", "string", "An MQTT topic filter; # by default")
            .paged()
            .answers(200, "RetainedPage"),
        delete("/api/v1/retained", delete_retained)
            .about("broker", "Deletes retained messages, except the server's own words")
            .query("filter", "string", "An MQTT topic filter (needed)")
            .answers(200, "Deleted"),
    ]
}

fn shown_session(session: &SessionState) -> Value {
    let owner = match &session.owner {
        Owner::Device(device) => json!({ "kind": "device", "id": device }),
        Owner::Token(token) => json!({ "kind": "token", "id": token }),
        Owner::User(user) => json!({ "kind": "user", "id": user }),
    };
    let subscriptions: Vec<Value> =
        session.subscriptions.iter().map(|(filter, qos)| json!({ "filter": filter, "qos": qos })).collect();
    // The time of a connection before a restart is not known.
    let connected_at = (session.connected_at > Timestamp(0)).then(|| session.connected_at.to_string());
    json!({
        "client_id": &*session.client_id,
        "owner": owner,
        "connected": session.is_connected,
        "protocol": session.protocol,
        "address": session.address,
        "connected_at": connected_at,
        "disconnected_at": session.disconnected_at.map(|at| at.to_string()),
        "subscriptions": subscriptions,
        "queued": session.queued,
    })
}

fn shown_message(retained: &RetainedMessage) -> Value {
    let message = &retained.message;
    json!({
        "topic": message.topic.as_str(),
        "payload": payload(message),
        "qos": message.qos.number(),
        "ts": message.time.0,
    })
}

async fn list(
    State(api): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    caller.may(Action::WriteDevices)?;
    let query = SessionQuery {
        text: params.take("q")?.map(|text| text.to_lowercase()),
        is_connected: params.take_flag("connected")?,
    };
    let (limit, cursor) = params.take_page()?;
    params.finish()?;
    let mut sessions = api.hub.sessions(caller.tenant(), &query, (cursor.as_deref(), limit + 1));
    let has_more = sessions.len() > limit;
    sessions.truncate(limit);
    let next = sessions.last().filter(|_| has_more).map(|last| last.client_id.as_ref().to_owned());
    Ok(Reply(Page { items: sessions.iter().map(shown_session).collect(), next }))
}

fn no_session() -> Problem {
    Problem::not_found("There is no session of this client id.")
}

async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Reply<Value>, Problem> {
    caller.may(Action::WriteDevices)?;
    let session = api.hub.session(caller.tenant(), &id).ok_or_else(no_session)?;
    Ok(Reply(shown_session(&session)))
}

fn shown_queued(queued: &QueuedMessage) -> Value {
    let state = match queued.state {
        QueuedState::Waiting => "waiting",
        QueuedState::InFlight => "in_flight",
        QueuedState::Received => "received",
    };
    let message = queued.message.as_deref();
    json!({
        "sequence": queued.sequence,
        "packet_id": queued.packet_id,
        "position": queued.position.map(|position| position.0),
        "state": state,
        "qos": queued.qos.number(),
        "topic": message.map(|message| message.topic.as_str()),
        "size": message.map(|message| message.payload.len()),
        "ts": message.map(|message| message.time.0),
        "expires_at": message.and_then(|message| message.expires_at()).map(|at| at.to_string()),
    })
}

async fn queue(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    caller.may(Action::WriteDevices)?;
    let (limit, cursor) = params.take_page()?;
    params.finish()?;
    let after = match cursor.as_deref().map(str::parse::<u64>) {
        None => 0,
        Some(Ok(after)) => after,
        Some(Err(_no_number)) => return Err(Problem::invalid("`cursor` is `next` of the page before.")),
    };
    let (hub, tenant) = (Arc::clone(&api.hub), caller.tenant().clone());
    // It may read much of the log.
    let read = tokio::task::spawn_blocking(move || hub.queue(&tenant, &id, (after, limit + 1))).await;
    let mut found = read.ok().flatten().ok_or_else(no_session)?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| last.sequence.to_string());
    Ok(Reply(Page { items: found.iter().map(shown_queued).collect(), next }))
}

async fn kick(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::WriteDevices)?;
    if api.hub.kick(caller.tenant(), &id) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(no_session())
}

fn read_filter(text: &str) -> Result<TopicFilter, Problem> {
    TopicFilter::parse(text)
        .map_err(|error| Problem::invalid(format!("`filter`: {}", sentence(&error.to_string()))))
}

async fn retained(
    State(api): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    caller.may(Action::WriteDevices)?;
    let filter = read_filter(params.take("filter")?.as_deref().unwrap_or("#"))?;
    let (limit, cursor) = params.take_page()?;
    params.finish()?;
    let mut found = api.hub.retained(caller.tenant(), &filter);
    found.retain(|one| access::may_receive(&caller.principal, one.message.topic.as_str()));
    let page = Page::cut(found, (limit, cursor.as_deref()), |one| one.message.topic.as_str().to_owned());
    Ok(Reply(Page { items: page.items.iter().map(shown_message).collect(), next: page.next }))
}

async fn delete_retained(
    State(api): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Reply<Value>, Problem> {
    caller.may(Action::WriteDevices)?;
    let filter =
        params.take("filter")?.ok_or_else(|| Problem::invalid("Say which, as in ?filter=home/%23."))?;
    let filter = read_filter(&filter)?;
    params.finish()?;
    let mut deleted = 0_u64;
    for retained in api.hub.retained(caller.tenant(), &filter) {
        let topic = &retained.message.topic;
        let parent_of = |device: &_| api.hub.parent_of(caller.tenant(), device);
        if access::may_publish(&caller.principal, topic, parent_of).is_ok() {
            api.hub.delete_retained(caller.tenant(), topic).await?;
            deleted += 1;
        }
    }
    Ok(Reply(json!({ "deleted": deleted })))
}
