//! Refusals over HTTP: RFC 9457 problem documents. `type` is `urn:roost:problem:` and a slug that
//! never changes its meaning; `detail` says what to change.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};
use roost_hub::broker::{PublishError, SubscribeError};
use roost_hub::limit::Limit;
use roost_hub::registry::AuthenticateError;
use roost_hub::storage::StorageError;
use serde_json::{Value, json};

use crate::admission::Refusal;
use crate::authenticate::Failed;

/// Why a request was refused.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        slug: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, slug, title, detail: detail.into(), headers: Vec::new() }
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

    /// 408: it took too long to come.
    pub(crate) fn too_slow(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "Too slow", detail)
    }

    /// 413: larger than can be taken.
    pub(crate) fn too_large(length_max: usize) -> Self {
        let detail = format!("A body has at most {length_max} bytes: send several requests.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    }

    /// 415: of a kind that is not read here.
    pub(crate) fn media_type(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "Unsupported media type", detail)
    }

    /// 422: read and understood, but a value cannot be.
    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value cannot be taken", detail)
    }

    /// 503: not now.
    pub(crate) fn unavailable(detail: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Cannot answer now", detail)
    }

    /// 429: more than is allowed in this time.
    pub(crate) fn too_many(detail: &'static str, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many", detail).retry_after(retry_after)
    }

    /// Says when it may be worth another try, in whole seconds, begun ones counted.
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1_000).max(1);
        let value = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
        self.header(header::RETRY_AFTER, value)
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The document.
    pub(crate) fn document(&self) -> Value {
        json!({
            "type": format!("urn:roost:problem:{}", self.slug),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        })
    }

    /// The `Connection` of an answer with which the connection ends.
    pub(crate) fn connection(&self) -> &'static str {
        // RFC 9110 section 7.8: who names a protocol in `Upgrade` says so here.
        match self.headers.iter().any(|(name, _)| name == header::UPGRADE) {
            true => "close, upgrade",
            false => "close",
        }
    }

    /// The whole answer, for a connection that never comes as far as a router and ends with it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let reason = self.status.canonical_reason().unwrap_or("Refused");
        let document = self.document().to_string();
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", self.status.as_u16());
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
        }
        let length = document.len();
        let connection = self.connection();
        text.push_str(&format!("Content-Type: application/problem+json\r\nConnection: {connection}\r\n"));
        text.push_str(&format!("Content-Length: {length}\r\n\r\n{document}"));
        text.into_bytes()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = HeaderValue::from_static("application/problem+json");
        let document = self.document().to_string();
        let mut response = (self.status, document).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "storage-full",
                "The store is full",
                "There is no room left to keep this: try again later.",
            ),
            StorageError::TooLarge(length_max) => Self::too_large(length_max),
            StorageError::Broken(_) | StorageError::Damaged(_) => {
                Self::unavailable("The store cannot be written: see the server's log.")
            }
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::NotAuthorized => Self::forbidden("This credential may not publish there."),
            PublishError::TopicInvalid(_) | PublishError::PayloadInvalid(_) => {
                Self::invalid(error.to_string())
            }
            PublishError::DeviceUnknown(_) => Self::not_found(error.to_string()),
            PublishError::QuotaExceeded(detail) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "quota", "As many as there may be", detail)
            }
            PublishError::Storage(error) => error.into(),
        }
    }
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::NotAuthorized => Self::forbidden("This credential may not read there."),
            SubscribeError::QuotaExceeded(_) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "quota",
                "As many as there may be",
                error.to_string(),
            ),
            SubscribeError::SharedReplay => Self::invalid(error.to_string()),
            SubscribeError::Storage(error) => error.into(),
        }
    }
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        let busy = |wait| Self::too_many("Too many log-ins: wait as long as Retry-After says.", wait);
        match failed {
            Failed::Wait(wait) => busy(wait),
            Failed::Denied(AuthenticateError::Busy) => busy(Duration::ZERO),
            Failed::Denied(AuthenticateError::Storage(error)) => error.into(),
            Failed::Denied(_) => Self::unauthenticated("The credential opens nothing, or no longer."),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let Refusal { limit, retry_after } = refusal;
        match limit {
            Limit::Connections => Self::unavailable(
                "The server has as many connections as it may: wait as long as Retry-After says.",
            )
            .retry_after(retry_after),
            Limit::ConnectionsPerAddress => {
                Self::too_many("Your address has as many connections as it may.", retry_after)
            }
            Limit::ShutOut => {
                Self::too_many("Too much of what your address sent was malformed.", retry_after)
            }
            _ => Self::too_many("Your address opens too many connections in a second.", retry_after),
        }
    }
}
