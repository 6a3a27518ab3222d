//! A device without a connection of its own fetches its commands and answers them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderValue};
use roost_hub::access::{self, Action};
use roost_hub::id::{CommandId, DeviceId};
use roost_hub::mailbox::{Answer, AnswerError, Command};
use roost_hub::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::caller::Caller;
use super::refusal::{Refusal, denied, sentence};
use super::{Ingest, body};
use crate::problem::Problem;

/// The longest wait; a longer one counts as this.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// How many commands leave at once; the device asks again for more.
const COMMANDS_MAX: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fetch {
    wait: Option<String>,
}

/// HEAD gives no body, so the commands would be lost on the way.
pub(super) async fn not_by_head() -> Response {
    let detail = "Commands that are fetched count as sent: use GET.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
        .header(header::ALLOW, HeaderValue::from_static("GET"))
        .into_response()
}

pub(super) async fn fetch(
    State(ingest): State<Arc<Ingest>>,
    caller: Caller,
    query: Result<Query<Fetch>, QueryRejection>,
) -> Result<Response, Refusal> {
    let device = acting(&caller)?;
    let Query(Fetch { wait }) =
        query.map_err(|rejection| Problem::invalid(sentence(&rejection.body_text())))?;
    let wait = wait.as_deref().map(read_wait).transpose()?.unwrap_or_default();
    let taken = take(&ingest, &caller, &device, (wait, COMMANDS_MAX)).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(json!({ "items": shown(&taken) }))).into_response())
}

/// What waits for the calling device now, for an answer to something else; it counts as sent.
pub(super) async fn waiting(ingest: &Ingest, caller: &Caller) -> Result<Value, Problem> {
    let device = acting(caller)?;
    Ok(shown(&take(ingest, caller, &device, (Duration::ZERO, COMMANDS_MAX)).await?))
}

fn shown(commands: &[Command]) -> Value {
    commands.iter().map(|command| json!(Shown::from(command))).collect()
}

/// The device in whose name the caller speaks.
pub(super) fn acting(caller: &Caller) -> Result<DeviceId, Problem> {
    let device = caller.own_device()?;
    access::may(&caller.0, Action::ActAs(&device)).map_err(denied)?;
    Ok(device)
}

/// Takes so many commands, once there is one.
pub(super) async fn take(
    ingest: &Ingest,
    caller: &Caller,
    device: &DeviceId,
    (wait, count_max): (Duration, usize),
) -> Result<Vec<Command>, Problem> {
    let (hub, tenant) = (&ingest.hub, caller.tenant());
    let mut taken = hub.take_commands(tenant, device, count_max).await?;
    if !taken.is_empty() || wait.is_zero() {
        return Ok(taken);
    }
    let _place = ingest.waiting.enter(tenant, device)?;
    let mut until = pin!(tokio::time::sleep(wait));
    // What somebody else was quicker to take is waited for again.
    while taken.is_empty() {
        if hub.next_commands(tenant, device, until.as_mut()).await.is_empty() {
            break;
        }
        caller.still_holds(ingest)?;
        taken = hub.take_commands(tenant, device, count_max).await?;
    }
    caller.seen(ingest);
    Ok(taken)
}

/// Reads `30s`, `10m`, `2h`, `7d` or whole seconds.
fn read_wait(text: &str) -> Result<Duration, Problem> {
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits).unwrap_or_default();
    let each = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let seconds =
        number.parse().ok().zip(each).and_then(|(number, each): (u64, u64)| number.checked_mul(each));
    let rule = || Problem::invalid("`wait`: write a duration as 30s, 2m or whole seconds.");
    seconds.map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX)).ok_or_else(rule)
}

pub(super) async fn answer(
    State(ingest): State<Arc<Ingest>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let id = id.map(|Path(id)| id).unwrap_or_default();
    let said: Map<String, Value> = body::json(request, ingest.body_length_max).await?;
    if let Some(name) = said.keys().find(|name| !["ok", "result", "error"].contains(&name.as_str())) {
        let detail = format!("`{name}` is not known: a result has `ok`, and `result` or `error`.");
        return Err(Problem::invalid(detail).into());
    }
    let answer = Answer::parse(Value::Object(said).to_string().as_bytes());
    let answer = answer.map_err(|why| Problem::invalid(sentence(&why)))?;
    take_answer(&ingest, &caller, &id, answer).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a command of the calling device with its answer.
pub(super) async fn take_answer(
    ingest: &Ingest,
    caller: &Caller,
    id: &str,
    answer: Answer,
) -> Result<(), Refusal> {
    let device = acting(caller)?;
    let unknown = || Problem::not_found("This device has no such command.");
    let id = CommandId::parse(id).map_err(|_no_id| unknown())?;
    match ingest.hub.answer_command(caller.tenant(), &device, &id, answer).await {
        Ok(_command) => Ok(()),
        Err(AnswerError::Unknown) => Err(unknown().into()),
        Err(error @ AnswerError::Late(_)) => {
            let detail = format!("{} It stays so.", sentence(&error.to_string()));
            Err(Problem::new(StatusCode::CONFLICT, "conflict", "In conflict with what is there", detail)
                .into())
        }
        Err(AnswerError::Storage(error)) => Err(error.into()),
    }
}

/// A command as it is answered.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    device: &'a str,
    name: &'a str,
    params: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i8>,
    state: &'static str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<String>,
}

impl<'a> From<&'a Command> for Shown<'a> {
    fn from(command: &'a Command) -> Self {
        let written = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            id: command.id.as_str(),
            device: command.device.as_str(),
            name: &command.name,
            params: &command.params,
            priority: command.priority,
            state: command.state.name(),
            created_at: command.created_at.to_string(),
            expires_at: written(command.expires_at),
            sent_at: written(command.sent_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_number_and_a_unit_or_whole_seconds_and_at_most_two_minutes() {
        for (text, seconds) in [("30s", 30), ("2m", 120), ("45", 45), ("0", 0), ("1h", 120), ("7d", 120)] {
            assert_eq!(read_wait(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for bad in ["", "s", "-1", "1.5s", "1 s", "1w", "99999999999999999999", "18446744073709551615d"] {
            assert!(read_wait(bad).is_err(), "{bad}");
        }
    }
}
