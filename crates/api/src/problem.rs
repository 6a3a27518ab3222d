//! The one shape of every refusal: an RFC 9457 problem document.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use roost_hub::access::Denied;
use roost_hub::id::InvalidId;
use roost_hub::storage::StorageError;
use serde_json::{Value, json};

/// The media type of problem documents.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was refused. `type` is `urn:roost:problem:` and the slug, and never changes its
/// meaning; `detail` says what to change.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    more: Vec<(String, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        slug: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, slug, title, detail: detail.into(), more: Vec::new(), headers: Vec::new() }
    }

    /// 400: what was sent cannot be read.
    pub(crate) fn unreadable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unreadable", "The request cannot be read", detail)
    }

    /// 401: no credential, or none that holds.
    pub(crate) fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "Who are you?", detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"roost\""))
    }

    /// 403: known, and not allowed to.
    pub(crate) fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// 404: there is none, or none of the caller's.
    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 409: it stands against what is there.
    pub(crate) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "In conflict with what is there", detail)
    }

    /// 412: the condition of the request does not hold.
    pub(crate) fn condition(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "changed-meanwhile", "Changed meanwhile", detail)
    }

    /// 413: larger than can be taken.
    pub(crate) fn too_large(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    }

    /// 422: read and understood, but a value cannot be.
    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value cannot be taken", detail)
    }

    /// 429: too often or too much at once.
    pub(crate) fn too_many(detail: impl Into<Cow<'static, str>>, wait: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many", detail).retry_after(wait)
    }

    /// 501: promised for later.
    pub(crate) fn not_yet(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not-implemented", "Not there yet", detail)
    }

    /// 503: cannot now.
    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Cannot answer now", detail)
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds a member beside the standard ones.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.push((name.to_owned(), value));
        self
    }

    /// Says when to come again, in whole seconds.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs().max(1);
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// The document for an answer that came without one, from its status.
    pub(crate) fn of_status(status: StatusCode, detail: Option<String>) -> Self {
        let say = |text: &'static str| detail.clone().map_or(Cow::Borrowed(text), Cow::Owned);
        match status {
            StatusCode::NOT_FOUND => {
                Self::not_found(say("There is nothing at this path; see /openapi.json."))
            }
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                "method-not-allowed",
                "Method not allowed",
                "This path takes the methods in the Allow header.",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(say("Send a smaller body.")),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::new(status, "media-type", "Unsupported media type", say("Send application/json."))
            }
            StatusCode::UNPROCESSABLE_ENTITY => Self::invalid(say("A value cannot be taken.")),
            _ if status.is_client_error() => {
                Self { status, ..Self::unreadable(say("The request cannot be read.")) }
            }
            _ => Self::new(
                status,
                "internal",
                "Something is wrong with the server",
                say("See the server's log."),
            ),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": format!("urn:roost:problem:{}", self.slug),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(members) = body.as_object_mut() {
            members.extend(self.more);
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.extend(self.headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "storage-full",
                "No room left",
                "The server's disk is full; nothing was stored. Make room, then send it again.",
            ),
            StorageError::TooLarge(bytes) => Self::too_large(format!("Send at most {bytes} bytes.")),
            StorageError::Broken(_) => {
                Self::unavailable("The server's store is broken; nothing was stored. Its log says why.")
            }
            StorageError::Damaged(what) => {
                tracing::error!(%what, "the store gave back something else than was written");
                Self::of_status(StatusCode::INTERNAL_SERVER_ERROR, None)
            }
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self::forbidden(sentence(&denied.to_string()))
    }
}

impl From<InvalidId> for Problem {
    fn from(invalid: InvalidId) -> Self {
        Self::invalid(sentence(&invalid.to_string()))
    }
}

/// A text of an error as a sentence for a person.
pub(crate) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let mut out: String = characters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    out.push_str(characters.as_str());
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}
