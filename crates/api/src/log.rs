//! The flight recorder over HTTP.

use axum::Json as Reply;
use axum::extract::{Path, State};
use roost_hub::access::Action;
use roost_hub::flight::FlightEntry;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::page::Page;
use crate::params::Params;
use crate::problem::Problem;
use crate::route::{Route, get};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/devices/{id}/log", list)
            .about("devices", "The flight recorder: the last 200 things that happened, the newest first")
            .query("kind", "string", "Only this kind, such as refused")
            .paged()
            .answers(200, "LogPage"),
    ]
}

/// An entry as it is answered.
pub(crate) fn shown(entry: &FlightEntry) -> Value {
    json!({
        "at": entry.at.to_string(),
        "since": entry.since.to_string(),
        "kind": entry.kind,
        "detail": entry.detail,
        "count": entry.count,
    })
}

async fn list(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    let (limit, cursor) = params.take_page()?;
    let kind = params.take("kind")?;
    params.finish()?;
    let before = match cursor {
        None => i64::MAX,
        Some(text) => {
            text.parse().map_err(|_no_time| Problem::invalid("`cursor` is the `next` of the page before."))?
        }
    };
    let entries = api.hub.flight_entries(caller.tenant(), &device.id)?;
    let is_wanted = |entry: &&FlightEntry| {
        entry.at.0 < before && kind.as_deref().is_none_or(|kind| json!(entry.kind) == kind)
    };
    let mut rest = entries.iter().filter(is_wanted).peekable();
    let mut items: Vec<&FlightEntry> = rest.by_ref().take(limit).collect();
    // A page ends between two times: entries of one millisecond are not torn apart.
    while let Some(entry) = rest.next_if(|entry| items.last().is_some_and(|last| last.at == entry.at)) {
        items.push(entry);
    }
    let next = rest.peek().and(items.last()).map(|last| last.at.0.to_string());
    Ok(Reply(Page { items: items.into_iter().map(shown).collect(), next }))
}
