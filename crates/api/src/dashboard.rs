//! The dashboard's files, built into the program.

use axum::extract::Request;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{self, HeaderValue};
use http::{Method, StatusCode, Uri};
use rust_embed::RustEmbed;

use crate::problem::Problem;

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
struct Dist;

const MISSING: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Roost</title>\
<h1>Roost runs</h1><p>This binary was built without the dashboard. To get it, install Node and run \
<code>make web</code>, then build again; or run <code>make run</code>, which does both.</p>\
<p>The HTTP API is there all the same: <a href=\"/openapi.json\">/openapi.json</a>.</p></html>";

/// Answers everything that is no route: a file of the dashboard, its page, or 404.
pub(crate) async fn serve(request: Request) -> Response {
    let uri: &Uri = request.uri();
    let path = uri.path();
    if path == "/api/docs" {
        return Redirect::temporary("/#/api").into_response();
    }
    if path.starts_with("/api/") || path == "/api" {
        return Problem::of_status(StatusCode::NOT_FOUND, None).into_response();
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return not_allowed();
    }
    let name = path.trim_start_matches('/');
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    match name {
        "" | "index.html" => page(known),
        _ => file(name, known).unwrap_or_else(|| match name.rsplit('/').next() {
            // A path without a file's ending may be a page that the dashboard knows.
            Some(last) if !last.contains('.') && !name.starts_with("assets/") => page(known),
            _ => Problem::of_status(StatusCode::NOT_FOUND, None).into_response(),
        }),
    }
}

fn not_allowed() -> Response {
    Problem::of_status(StatusCode::METHOD_NOT_ALLOWED, None)
        .header(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
        .into_response()
}

fn page(known: Option<&str>) -> Response {
    file("index.html", known).unwrap_or_else(|| {
        let headers =
            [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
        (headers, MISSING).into_response()
    })
}

fn file(name: &str, known: Option<&str>) -> Option<Response> {
    let file = Dist::get(name)?;
    let etag = format!("\"{}\"", hex::encode(file.metadata.sha256_hash()));
    // Names of assets hold a hash of what is in them.
    let cache = match name.starts_with("assets/") {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let headers = [(header::ETAG, etag.clone()), (header::CACHE_CONTROL, cache.to_owned())];
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == etag)) {
        return Some((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let content_type = match file.metadata.mimetype() {
        "text/html" => "text/html; charset=utf-8".to_owned(),
        other => other.to_owned(),
    };
    Some((headers, [(header::CONTENT_TYPE, content_type)], file.data.into_owned()).into_response())
}
