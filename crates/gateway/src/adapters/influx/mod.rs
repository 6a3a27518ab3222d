//! InfluxDB's HTTP API as far as writing goes, versions 1 and 2, so that Telegraf and client libraries
//! can be pointed here. Answers are spelled as that server spells them.

mod answer;
mod who;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::adapters::http::body;
use crate::http::credentials::{of_query, unescaped};
use crate::problem::Problem;
use crate::shared::Shared;
use answer::{Failure, Version};

/// Old clients ask for it; it says which API is spoken.
const VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-influxdb-version"), HeaderValue::from_static("1.8-roost"));

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/write", post(write_1))
        .route("/api/v2/write", post(write_2))
        .route("/query", get(query).post(query))
        .route("/ping", get(ping).post(ping))
        .route("/health", get(health))
}

async fn write_1(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    write::take(&shared, request, Version::One).await.unwrap_or_else(IntoResponse::into_response)
}

async fn write_2(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    write::take(&shared, request, Version::Two).await.unwrap_or_else(IntoResponse::into_response)
}

/// That it is there, and nothing more.
async fn ping() -> Response {
    (StatusCode::NO_CONTENT, [VERSION]).into_response()
}

/// The same in the words of version 2.
async fn health() -> Response {
    let said = json!({ "name": "roost", "message": "ready for writes", "status": "pass", "checks": [] });
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], said.to_string()).into_response()
}

/// Clients of version 1 make their database before they write; there is nothing to be made here.
async fn query(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    asked(&shared, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn asked(shared: &Arc<Shared>, request: Request) -> Result<Response, Failure> {
    let failure = |problem: Problem| Failure::of(Version::One, problem);
    let (head, body) = request.into_parts();
    who::recognise(shared, &head).await.map_err(failure)?;
    let in_query = of_query(head.uri.query().unwrap_or_default(), "q");
    let text = match in_query {
        Some(text) => text,
        None => {
            let read = body::read(Request::from_parts(head, body), shared.settings.body_length_max).await;
            let form = String::from_utf8_lossy(&read.map_err(failure)?).into_owned();
            let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
            pairs
                .into_iter()
                .find(|(name, _)| *name == "q")
                .and_then(|(_, text)| unescaped(text))
                .unwrap_or_default()
        }
    };
    let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
    if (words.next().as_deref(), words.next().as_deref()) != (Some("CREATE"), Some("DATABASE")) {
        let detail = "Only writing is spoken here: ask by GET /api/v1/devices/{id}/telemetry.";
        return Err(failure(Problem::unreadable(detail)));
    }
    let mut headers = HeaderMap::from_iter([VERSION]);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok((headers, json!({ "results": [{ "statement_id": 0 }] }).to_string()).into_response())
}
