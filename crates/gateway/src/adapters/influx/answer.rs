//! Refusals in InfluxDB's words.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use serde_json::json;

use crate::problem::Problem;

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A refusal.
#[derive(Debug)]
pub(super) struct Failure {
    version: Version,
    problem: Box<Problem>,
}

impl Failure {
    pub(super) fn of(version: Version, problem: Problem) -> Self {
        Self { version, problem: Box::new(problem) }
    }
}

/// The code of version 2.
fn code(status: u64) -> &'static str {
    match status {
        400 | 415 => "invalid",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not found",
        413 => "request too large",
        422 => "unprocessable entity",
        429 => "too many requests",
        503 => "unavailable",
        _ => "internal error",
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let document = self.problem.document();
        let member = |name: &str| document.get(name);
        let detail = member("detail").and_then(|detail| detail.as_str()).unwrap_or_default();
        let status = member("status").and_then(|status| status.as_u64()).unwrap_or_default();
        let text = match self.version {
            Version::One => json!({ "error": detail }),
            Version::Two => json!({ "code": code(status), "message": detail }),
        };
        let (version, shown) = (self.version, HeaderValue::from_str(detail));
        let mut response = self.problem.into_response().map(|_problem| Body::from(text.to_string()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let (Version::One, Ok(shown)) = (version, shown) {
            headers.insert(HeaderName::from_static("x-influxdb-error"), shown);
        }
        response
    }
}
