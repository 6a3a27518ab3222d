//! JSON bodies: checked by `wire::json` before `serde` sees them.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::StatusCode;
use http::header::{self, HeaderMap};
use roost_wire::json::{Limits, check};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The largest body that is read into memory, in bytes.
pub(crate) const BODY_LENGTH_MAX: usize = 1024 * 1024;

/// A JSON body. An object with a member that nobody knows is refused, as the types say.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// Whether the content type is JSON's or one of its kin.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Some(text) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::of_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Some("Send JSON, with the header Content-Type: application/json.".to_owned()),
            ));
        }
        let bytes = read(request, state).await?;
        parse(&bytes).map(Self)
    }
}

/// Reads a whole body of at most [`BODY_LENGTH_MAX`] bytes.
pub(crate) async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::too_large(format!("Send a body of at most {BODY_LENGTH_MAX} bytes."))
        }
        _ => Problem::unreadable("The body ended before it was complete."),
    })
}

/// Reads JSON.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if let Err(error) = check(bytes, &Limits::default()) {
        let detail = format!("The body is no JSON that can be taken: {error}.");
        let problem = if error.is_syntax() { Problem::unreadable(detail) } else { Problem::invalid(detail) };
        return Err(problem.with("offset", error.offset.into()));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        // The place is a line and a column, which is of no use in a body without lines.
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
        Problem::invalid(format!("The body is not as it must be: {text}."))
    })
}
