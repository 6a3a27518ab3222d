//! Intellifi Spot: readers that post a stream of events for a second, get their commands in the
//! answer, and begin again.

mod capture;
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

use crate::settings::SpotCapture;
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
    let is_captured =
        shared.settings.spot_capture == SpotCapture::On && is_kind(request.headers(), capture::MEDIA_TYPE);
    if is_packed(request.headers()) || !is_captured && !is_events(request.headers()) {
        // The form in protocol buffers was never published, and no Spot is known to pack its events.
        let accept = [(header::ACCEPT, HeaderValue::from_static(MEDIA_TYPE))];
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, accept).into_response();
    }
    let (head, body) = request.into_parts();
    match who::recognise(&shared, &serial, &head).await {
        Ok(who::Who::Registered(found)) if is_captured => capture::take(&shared, &found, body).await,
        Ok(who::Who::Registered(found)) => stream::take(&shared, found, body).await,
        Ok(who::Who::Unknown(tenant)) => quarantine::take(&shared, &tenant, &serial, body).await,
        Err(problem) => problem.into_response(),
    }
}

fn is_packed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn is_events(headers: &HeaderMap) -> bool {
    is_kind(headers, "") || is_kind(headers, MEDIA_TYPE)
}

/// Whether the body is said to be of this kind; of the empty one when nothing is said.
fn is_kind(headers: &HeaderMap, wanted: &str) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap_or("unreadable"));
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
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
