//! Intellifi Spot: readers that post a stream of events for a second, get their commands in the
//! answer, and begin again.

mod downlink;
mod quarantine;
mod readings;
mod stream;
mod unit;
mod who;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{self, HeaderValue};
use http::{HeaderMap, StatusCode};
use roost_wire::spot::MEDIA_TYPE;

use crate::shared::Shared;
pub(crate) use unit::Units;

/// For how long a Spot may be silent within a request.
pub(crate) const BODY_IDLE_MAX: Duration = Duration::from_secs(10);
/// The most bytes of one request.
const BODY_LENGTH_MAX: usize = 4 * 1024 * 1024;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/api/spots/{serial}/events/", post(events))
}

/// The path as it is routed, of one that only differs in case, in the slash at its end, or in what
/// stands before it; `None` for what is no path of a Spot.
pub(crate) fn canonical_path(path: &str) -> Option<String> {
    const PREFIX: &str = "/api/spots/";
    let lower = path.to_ascii_lowercase();
    let start = lower.find(PREFIX)? + PREFIX.len();
    let (serial, rest) = path.get(start..)?.split_once('/')?;
    let is_events = rest.trim_end_matches('/').eq_ignore_ascii_case("events");
    (is_events && !serial.is_empty()).then(|| format!("{PREFIX}{serial}/events/"))
}

async fn events(State(shared): State<Arc<Shared>>, Path(serial): Path<String>, request: Request) -> Response {
    if !is_events(request.headers()) {
        // The form in protocol buffers was never published.
        let accept = [(header::ACCEPT, HeaderValue::from_static(MEDIA_TYPE))];
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, accept).into_response();
    }
    let (head, body) = request.into_parts();
    match who::recognise(&shared, &serial, &head).await {
        Ok(who::Who::Registered(found)) => stream::take(&shared, found, body).await,
        Ok(who::Who::Unknown(tenant)) => quarantine::take(&shared, &tenant, &serial, body).await,
        Err(problem) => problem.into_response(),
    }
}

fn is_events(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or("unreadable").split(';').next().unwrap_or_default();
    kind.trim().is_empty() || kind.trim().eq_ignore_ascii_case(MEDIA_TYPE)
}

/// What a Spot is answered with: messages, or nothing, always with 200.
fn answer(messages: Vec<u8>) -> Response {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))];
    (StatusCode::OK, kind, messages).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_be_sloppy() {
        for path in ["/api/spots/1187/events/", "/api/spots/1187/events", "/farm/API/Spots/1187/Events//"] {
            assert_eq!(canonical_path(path).as_deref(), Some("/api/spots/1187/events/"), "{path}");
        }
        for path in ["/api/spots/", "/api/spots//events", "/api/spots/1187", "/api/spots/1187/other", "/"] {
            assert_eq!(canonical_path(path), None, "{path}");
        }
    }
}
