//! `/openapi.json`, made from the table of routes.

use std::sync::OnceLock;

use axum::response::{IntoResponse, Response};
use http::header;
use serde_json::{Map, Value, json};

use crate::route::{self, Parameter, Route, get};

const SCHEMAS: &str = include_str!("schemas.json");
const TAGS: [(&str, &str); 15] = [
    ("devices", "The registry of devices and what happened to them"),
    ("credentials", "What devices show to log in"),
    ("telemetry", "Readings: taking them, the latest, the history"),
    ("twin", "What a device reports of itself, and what it shall be"),
    ("commands", "From the server to a device, with a life of their own"),
    ("documents", "Small named documents of a device"),
    ("inbox", "Devices that were recognised and wait to be let in"),
    ("live", "Everything as it happens"),
    ("broker", "MQTT messages and sessions"),
    ("profiles", "What kinds of devices may do"),
    ("tokens", "API tokens"),
    ("users", "People"),
    ("session", "Signing in"),
    ("tenants", "The operator's"),
    ("server", "Health, metrics, facts about the server"),
];

pub(crate) fn routes() -> Vec<Route> {
    vec![get("/openapi.json", show).about("server", "This document").answers(200, "application/json").open()]
}

async fn show() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document(&route::all()).to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}

fn document(routes: &[Route]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(route.method.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    let schemas: Value = serde_json::from_str(SCHEMAS).unwrap_or_default();
    let mut tags: Vec<Value> =
        TAGS.iter().map(|(name, text)| json!({ "name": name, "description": text })).collect();
    tags.push(json!({ "name": "later", "description": "Promised, and not there yet" }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Roost",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Times in answers are RFC 3339 in UTC, `ts` is milliseconds since 1970; durations in requests are 30s, 10m, 2h, 7d or whole seconds.",
        },
        "tags": tags,
        "paths": paths,
        "security": [{ "bearer": [] }, { "basic": [] }, { "cookie": [] }],
        "components": {
            "schemas": schemas,
            "responses": {
                "Problem": {
                    "description": "Refused: `detail` says what to change",
                    "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "A device token or an API token" },
                "basic": { "type": "http", "scheme": "basic", "description": "Device id and token" },
                "cookie": { "type": "apiKey", "in": "cookie", "name": crate::auth::COOKIE },
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(route.parameters.iter().map(parameter));
    let mut responses: Map<String, Value> = route
        .answers
        .iter()
        .map(|(status, content)| (status.to_string(), answer(*status, content)))
        .collect();
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(members) = operation.as_object_mut() {
        if !route.request.is_empty() {
            members.insert(
                "requestBody".to_owned(),
                json!({ "required": true, "content": content(route.request) }),
            );
        }
        if route.is_open {
            members.insert("security".to_owned(), json!([]));
        }
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let method = route.method.as_str().to_ascii_lowercase();
    // The server's own metrics have the name of the tenant's otherwise.
    let path =
        if route.path == "/metrics" { "/server/metrics" } else { route.path.trim_start_matches("/api/v1") };
    let words = path.split(['/', '{', '}', '.']).filter(|word| !word.is_empty());
    words.fold(method, |id, word| format!("{id}-{word}"))
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "required": false,
        "description": parameter.text,
        "schema": { "type": parameter.kind },
    })
}

fn content(content: &str) -> Value {
    match content.contains('/') {
        true => json!({ content: { "schema": { "type": "string" } } }),
        false => {
            json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{content}") } } })
        }
    }
}

fn answer(status: u16, of: &str) -> Value {
    let description = match status {
        101 => "A WebSocket",
        201 => "Made",
        202 => "Taken, and durable",
        204 => "Done",
        501 => "Not there yet",
        _ => "The answer",
    };
    match of {
        "" => json!({ "description": description }),
        _ => json!({ "description": description, "content": content(of) }),
    }
}
