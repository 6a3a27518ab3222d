//! The twin over HTTP.

use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap};
use roost_hub::access::Action;
use roost_hub::twin::{PatchTwinError, Twin};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::body::Json;
use crate::problem::{Problem, sentence};
use crate::route::{Route, get, patch};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/devices/{id}/twin", show)
            .about("twin", "What the device reports of itself, and what it shall be")
            .answers(200, "Twin"),
        patch("/api/v1/devices/{id}/twin", change)
            .about("twin", "Merges into `desired` (RFC 7386): null removes")
            .header("If-Match", "The version that is to be changed; 412 when it is another one")
            .takes("TwinPatch")
            .answers(200, "Twin"),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    desired: Value,
}

fn shown(twin: &Twin) -> Response {
    let etag = [(header::ETAG, format!("\"{}\"", twin.version))];
    let body = json!({ "reported": twin.reported, "desired": twin.desired, "version": twin.version });
    (etag, Reply(body)).into_response()
}

async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    Ok(shown(&api.hub.twin(caller.tenant(), &device.id)?))
}

async fn change(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Patch>,
) -> Result<Response, Problem> {
    let device = caller.device(&api, &id, |_id| Action::WriteTwin)?;
    let version = if_match(&headers)?;
    match api.hub.patch_desired(caller.tenant(), &device.id, body.desired, version).await {
        Ok(twin) => Ok(shown(&twin)),
        Err(PatchTwinError::Conflict(twin)) => {
            let detail =
                format!("The twin has version {}; read it, then send the patch for that.", twin.version);
            Err(Problem::condition(detail).with("version", twin.version.into()))
        }
        Err(error @ PatchTwinError::TooLarge) => Err(Problem::too_large(sentence(&error.to_string()))),
        Err(PatchTwinError::Invalid(text)) => Err(Problem::invalid(format!("`desired`: {text}."))),
        Err(PatchTwinError::DeviceUnknown) => {
            Err(Problem::not_found(format!("There is no device {}.", device.id)))
        }
        Err(PatchTwinError::Storage(error)) => Err(error.into()),
    }
}

/// The version in `If-Match`, as `"3"` or `3`; `*` is any.
fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    match text.trim_matches('"').parse() {
        Ok(version) => Ok(Some(version)),
        Err(_no_number) => Err(Problem::invalid("`If-Match` is the twin's version, such as \"3\".")),
    }
}
