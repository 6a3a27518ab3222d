//! Bodies that are read whole, and JSON out of them.

use std::error::Error;

use axum::extract::Request;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{self, HeaderValue};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use roost_wire::json::{Limits, check};
use serde::de::DeserializeOwned;

use super::refusal::Refusal;
use crate::http::TooSlow;
use crate::problem::Problem;

/// The content type, lower case and without its parameters; `None` where none is said.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?;
    let text = value.to_str().unwrap_or("unreadable");
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// H-11: a compressed body is not unpacked.
pub(super) fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    if codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let problem = Problem::media_type("Send the body as it is, without Content-Encoding.");
    Err(problem.header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

/// Reads a whole body of at most `length_max` bytes. What is declared to be longer is not read at all.
pub(super) async fn read(request: Request, length_max: usize) -> Result<Bytes, Problem> {
    check_encoding(request.headers())?;
    let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if declared.and_then(|text| text.parse().ok()).is_some_and(|length: u64| length > length_max as u64) {
        return Err(Problem::too_large(length_max));
    }
    match Limited::new(request.into_body(), length_max).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::too_large(length_max)),
        Err(error) => Err(broken(error.as_ref())),
    }
}

/// What a body that ended in an error means: the door waits only so long, or the connection broke.
pub(super) fn broken(error: &(dyn Error + 'static)) -> Problem {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    if causes.any(|error| error.is::<TooSlow>()) {
        return Problem::too_slow("The body came too slowly.");
    }
    Problem::unreadable("The body ended before it was complete.")
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

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
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
