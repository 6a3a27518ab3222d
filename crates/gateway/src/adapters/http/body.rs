//! Bodies that are read whole, and JSON out of them.

use std::error::Error;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::HeaderMap;
use http::header;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use roost_wire::json::{Limits, check};
use serde::de::DeserializeOwned;

use super::refusal::Refusal;
use super::unpack::{self, Bound, UNPACKED_MAX, UnpackError};
use crate::http::TooSlow;
use crate::problem::Problem;

/// The content type, lower case and without its parameters; `None` where none is said.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let text = value.to_str().unwrap_or("unreadable");
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Reads a whole body of at most `length_max` bytes, unpacked where it is packed. What is declared to
/// be longer is not read at all.
pub(in crate::adapters) async fn read(request: Request, length_max: usize) -> Result<Bytes, Problem> {
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if declared.and_then(|text| text.parse().ok()).is_some_and(|length: u64| length > length_max as u64) {
        return Err(Problem::too_large(length_max));
    }
    let (head, body) = request.into_parts();
    let received = Body::new(Limited::new(body, length_max));
    let body = unpack::plain(&head.headers, received, Bound::whole(length_max))?;
    match body.collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if causes(&error).any(|error| error.is::<LengthLimitError>()) => {
            Err(Problem::too_large(length_max))
        }
        Err(error) => Err(broken(&error)),
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What a body that ended in an error means: the door waits only so long, or the connection broke.
pub(super) fn broken(error: &(dyn Error + 'static)) -> Problem {
    if causes(error).any(|error| error.is::<TooSlow>()) {
        return Problem::too_slow("The body came too slowly.");
    }
    match causes(error).find_map(|error| error.downcast_ref()) {
        Some(UnpackError::TooLarge) => Problem::too_large(UNPACKED_MAX),
        Some(UnpackError::Damaged) => {
            Problem::unreadable("The body is not what its Content-Encoding says, or it breaks off.")
        }
        None => Problem::unreadable("The body ended before it was complete."),
    }
}

/// Reads a JSON body. Without a content type it is taken for JSON.
pub(super) async fn json<T: DeserializeOwned>(request: Request, length_max: usize) -> Result<T, Refusal> {
    let media_type = media_type(request.headers());
    let is_json = |name: &str| name == "application/json" || name.ends_with("+json");
    if !media_type.as_deref().is_none_or(is_json) {
        let detail = "Send JSON, with the header Content-Type: application/json.";
        return Err(Problem::media_type(detail).into());
    }
    parse(&read(request, length_max).await?)
}

/// Reads JSON within the usual bounds.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    if let Err(error) = check(bytes, &Limits::default()) {
        let detail = format!("The body is no JSON that can be taken: {error}.");
        let problem = if error.is_syntax() { Problem::unreadable(detail) } else { Problem::invalid(detail) };
        return Err(Refusal::from(problem).with("offset", error.offset));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        // The place is a line and a column, which is of no use in a body without lines.
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        Problem::invalid(format!("The body is not as it must be: {text}.")).into()
    })
}
