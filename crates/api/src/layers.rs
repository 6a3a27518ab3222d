//! What holds for every request and every answer.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};

use crate::problem::{MEDIA_TYPE, Problem};

/// The longest path and query, in bytes.
const TARGET_LENGTH_MAX: usize = 8 * 1024;
/// How much of a refusal's text is read to become the `detail`, in bytes.
const DETAIL_LENGTH_MAX: usize = 1024;

const CONTENT_POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
form-action 'self'; frame-ancestors 'none'";

const SECURITY: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Refuses what no route should see, makes every refusal a problem document, and adds the headers
/// that browsers need to keep pages apart.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    // What the API answers is of the moment and the caller's; files say for themselves.
    let cache = request.uri().path().starts_with("/api/").then_some(HeaderValue::from_static("no-store"));
    let response = match check(request.uri()) {
        Ok(()) => explain(next.run(request).await).await,
        Err(problem) => problem.into_response(),
    };
    secure(response, cache)
}

/// The target of a request: short enough, and its escapes are escapes of text.
fn check(uri: &Uri) -> Result<(), Problem> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    if target.len() > TARGET_LENGTH_MAX {
        return Err(Problem::new(
            StatusCode::URI_TOO_LONG,
            "target-too-long",
            "URI too long",
            format!("Path and query have at most {TARGET_LENGTH_MAX} bytes."),
        ));
    }
    let mut parts = uri.path().split('%');
    parts.next();
    for part in parts {
        let escape = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if !part.starts_with(|sign: char| sign.is_ascii_hexdigit()) || escape.is_none_or(|byte| byte == 0) {
            return Err(Problem::unreadable(
                "In a path, % is followed by two hexadecimal digits, other than 00.",
            ));
        }
    }
    Ok(())
}

/// Refusals of the framework are plain text, or nothing: they become problem documents.
async fn explain(response: Response) -> Response {
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    if !is_refusal || is_problem(response.headers()) {
        return response;
    }
    let (head, body) = response.into_parts();
    let text = Limited::new(body, DETAIL_LENGTH_MAX).collect().await.ok().map(|whole| whole.to_bytes());
    let text = text.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()).filter(|text| !text.is_empty());
    let mut response = Problem::of_status(status, text).into_response();
    for (name, value) in &head.headers {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name) {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response
}

fn is_problem(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(MEDIA_TYPE.as_bytes()))
}

/// An answer without content has nothing to guard, and may be a poor device's.
fn secure(mut response: Response, cache: Option<HeaderValue>) -> Response {
    if response.status() == StatusCode::NO_CONTENT {
        return response;
    }
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Some(cache) = cache {
        headers.entry(header::CACHE_CONTROL).or_insert(cache);
    }
    response
}
