//! Sending commands and following them.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderMap};
use roost_hub::access::Action;
use roost_hub::mailbox::{CancelCommandError, Command, CommandState, NewCommand, SendCommandError};
use roost_hub::registry::Device;
use roost_hub::time::Timestamp;
use roost_wire::olimex::redact;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::auth::{Caller, command_id, no_command};
use crate::body::Json;
use crate::duration::{self, JsonDuration};
use crate::idempotency::scoped;
use crate::page::Page;
use crate::params::Params;
use crate::problem::{Problem, sentence};
use crate::route::{Route, delete, get, post};
use crate::state::{Api, Shared};

/// The longest that a request waits for a command; a longer `wait` counts as this.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/api/v1/devices/{id}/commands", send)
            .about(
                "commands",
                "Sends a command: 202 once it is durable, or 200 with it finished within `wait`",
            )
            .query("wait", "string", "How long to wait for the device, such as 10s; at most 60s")
            .header("Idempotency-Key", "Sent again, the request is answered again, not done again")
            .takes("NewCommand")
            .answers(200, "Command")
            .answers(202, "Command"),
        get("/api/v1/devices/{id}/commands", list)
            .about("commands", "Lists a device's commands, the newest first")
            .query("state", "string", "queued, sent, delivered, succeeded, failed, expired or cancelled")
            .paged()
            .answers(200, "CommandPage"),
        get("/api/v1/devices/{id}/commands/{cid}", show)
            .about("commands", "Shows a command")
            .query("wait", "string", "How long to wait until it is finished; at most 60s")
            .answers(200, "Command"),
        delete("/api/v1/devices/{id}/commands/{cid}", cancel)
            .about("commands", "Takes back a command that is not finished")
            .answers(200, "Command"),
    ]
}

/// A command as it is answered.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    id: &'a str,
    device: &'a str,
    name: &'a str,
    params: Cow<'a, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i8>,
    state: &'static str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> From<&'a Command> for Shown<'a> {
    fn from(command: &'a Command) -> Self {
        let written = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            id: command.id.as_str(),
            device: command.device.as_str(),
            name: &command.name,
            params: shown_params(command),
            priority: command.priority,
            state: command.state.name(),
            created_at: command.created_at.to_string(),
            expires_at: written(command.expires_at),
            sent_at: written(command.sent_at),
            delivered_at: written(command.delivered_at),
            finished_at: written(command.finished_at),
            result: command.result.as_ref(),
            error: command.error.as_deref(),
        }
    }
}

/// A command to the configuration of an OLIMEX node carries passwords, which are for the node alone.
fn shown_params(command: &Command) -> Cow<'_, Value> {
    if !command.name.starts_with("/config") {
        return Cow::Borrowed(&command.params);
    }
    let mut params = command.params.clone();
    redact(&mut params);
    Cow::Owned(params)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    name: String,
    #[serde(default)]
    params: Value,
    expires_in: Option<JsonDuration>,
    priority: Option<i8>,
    idempotency_key: Option<String>,
}

fn take_wait(params: &mut Params) -> Result<Duration, Problem> {
    let wait = params.take("wait")?.map(|text| duration::read("wait", &text)).transpose()?;
    Ok(wait.unwrap_or_default().min(WAIT_MAX))
}

/// Whether the device is a node of OLIMEX IoT: by its profile, a link, or how it was heard of last.
fn is_olimex_node(api: &Api, caller: &Caller, device: &Device) -> bool {
    let is_linked =
        || device.links.iter().any(|link| link.get("listen").is_some_and(|kind| kind == "olimex"));
    let protocol = || api.hub.presence(caller.tenant(), &device.id).protocol;
    device.profile.as_str() == "olimex" || is_linked() || protocol().as_deref() == Some("OLIMEX")
}

async fn send(
    State(api): State<Shared>,
    caller: Caller,
    (Path(id), headers): (Path<String>, HeaderMap),
    mut params: Params,
    Json(body): Json<Send>,
) -> Result<Response, Problem> {
    let device = caller.device(&api, &id, |_id| Action::SendCommands)?;
    if body.name.starts_with("/config") && is_olimex_node(&api, &caller, &device) {
        // There, a node shows and sets passwords.
        caller.may(Action::WriteDevices)?;
    }
    let wait = take_wait(&mut params)?;
    params.finish()?;
    // The mailbox remembers the key together with the command, in one write: no crash falls between.
    // There it is the device's, so it is made the caller's here.
    let key = headers.get("idempotency-key").map(|key| scoped(&caller.principal, key.as_bytes()));
    let new = NewCommand {
        name: body.name,
        params: body.params,
        expires_in: body.expires_in.map(|JsonDuration(duration)| duration),
        priority: body.priority,
        idempotency_key: body.idempotency_key.or(key),
    };
    let sent = api.hub.send_command(caller.tenant(), &device.id, new).await;
    let mut command = sent.map_err(|error| match error {
        SendCommandError::DeviceUnknown => Problem::not_found(format!("There is no device {}.", device.id)),
        SendCommandError::QueueFull(_) => {
            Problem::too_many(sentence(&error.to_string()), Duration::from_secs(10))
        }
        SendCommandError::Invalid(text) => Problem::invalid(sentence(&text)),
        SendCommandError::Storage(error) => error.into(),
    })?;
    if !wait.is_zero() && !command.state.is_final() {
        let _place = api.waiting.enter(&caller.principal)?;
        let until = tokio::time::sleep(wait);
        let found = api.hub.wait_finished(caller.tenant(), &device.id, &command.id, until).await?;
        command = found.unwrap_or(command);
    }
    let status = if command.state.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = format!("/api/v1/devices/{}/commands/{}", device.id, command.id);
    Ok((status, [(header::LOCATION, location)], Reply(Shown::from(&command))).into_response())
}

async fn list(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    let (limit, cursor) = params.take_page()?;
    let state = params.take("state")?.map(|text| read_state(&text)).transpose()?;
    params.finish()?;
    let page = api.hub.commands(caller.tenant(), &device.id, state, (limit, cursor.as_deref()))?;
    Ok(Reply(Page { items: page.items.iter().map(Shown::from).collect(), next: page.next }).into_response())
}

fn read_state(text: &str) -> Result<CommandState, Problem> {
    serde_json::from_value(Value::from(text)).map_err(|_no_state| {
        Problem::invalid("`state` is queued, sent, delivered, succeeded, failed, expired or cancelled.")
    })
}

async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path((id, cid)): Path<(String, String)>,
    mut params: Params,
) -> Result<Response, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    let wait = take_wait(&mut params)?;
    params.finish()?;
    let command = command_id(&cid)?;
    let found = if wait.is_zero() {
        api.hub.command(caller.tenant(), &device.id, &command)?
    } else {
        let _place = api.waiting.enter(&caller.principal)?;
        api.hub.wait_finished(caller.tenant(), &device.id, &command, tokio::time::sleep(wait)).await?
    };
    let found = found.ok_or_else(|| no_command(&cid))?;
    Ok(Reply(Shown::from(&found)).into_response())
}

async fn cancel(
    State(api): State<Shared>,
    caller: Caller,
    Path((id, cid)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let device = caller.device(&api, &id, |_id| Action::SendCommands)?;
    match api.hub.cancel_command(caller.tenant(), &device.id, &command_id(&cid)?).await {
        Ok(command) => Ok(Reply(Shown::from(&command)).into_response()),
        Err(CancelCommandError::Unknown) => Err(no_command(&cid)),
        Err(error @ CancelCommandError::Finished(_)) => {
            Err(Problem::conflict(format!("{} It stays so.", sentence(&error.to_string()))))
        }
        Err(CancelCommandError::Storage(error)) => Err(error.into()),
    }
}
