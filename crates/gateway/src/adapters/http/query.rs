//! Readings as bare values, for devices that can do no more: in the query of a GET, `?temp=21.5&hum=40`, or
//! one alone as a body.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use roost_wire::telemetry::{self, Limits, Value as Bare};
use serde_json::{Map, Value};

use super::caller::Caller;
use super::lines::JSON;
use super::refusal::{Refusal, unread};
use super::telemetry::{Target, answer, asks_for_commands};
use super::{Ingest, body, commands};
use crate::http::credentials::unescaped;
use crate::problem::Problem;
use crate::settings::TelemetryByQuery;

/// What a query says; `token`, `ts` and `commands` are no keys.
#[derive(Debug, Default, PartialEq)]
struct Said {
    token: Option<String>,
    ts: Option<String>,
    commands: Option<String>,
    values: Vec<(String, String)>,
}

pub(super) async fn own(State(ingest): State<Arc<Ingest>>, request: Request) -> Result<Response, Refusal> {
    if ingest.telemetry_by_query == TelemetryByQuery::Off || request.method() != Method::GET {
        // A HEAD is asked by who only wants to look.
        let detail = "Send readings by POST.";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let problem = Problem::new(status, "method-not-allowed", "Method not allowed", detail);
        return Err(problem.header(header::ALLOW, HeaderValue::from_static("POST")).into());
    }
    let (head, _body) = request.into_parts();
    let said = read(head.uri.query().unwrap_or_default())?;
    let caller = Caller::recognise(&head, &ingest, said.token.as_deref()).await?;
    let device = caller.own_device()?;
    let asks = asks_for_commands(said.commands.as_deref())?;
    let payload = payload(&said)?;
    let position = Target::new(&ingest, &caller, device).publish(JSON, None, payload)?;
    ingest.hub.durable(position).await?;
    let mut report = None;
    if asks {
        let items = commands::waiting(&ingest, &caller).await?;
        report = Some(Map::from_iter([("items".to_owned(), items)]));
    }
    let mut response = answer(report).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // H-17: a token may stand in this URL.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// One bare value, whose key stands in the path, as on MQTT's `me/telemetry/{key}`.
pub(super) async fn one(
    State(ingest): State<Arc<Ingest>>,
    caller: Caller,
    key: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let Path(key) = key.map_err(|_no_text| Problem::unreadable("A key is UTF-8 text."))?;
    let device = caller.own_device()?;
    let body = body::read(request, ingest.body_length_max).await?;
    let value = std::str::from_utf8(body.trim_ascii())
        .map_err(|_no_text| Problem::unreadable("A value is UTF-8 text: 21.5, true or some words."))?;
    let said = Said { values: vec![(key, value.to_owned())], ..Said::default() };
    let position = Target::new(&ingest, &caller, device).publish(JSON, None, payload(&said)?)?;
    ingest.hub.durable(position).await?;
    Ok(answer(None))
}

fn read(query: &str) -> Result<Said, Problem> {
    let mut said = Said::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let unescaped = |text| {
            unescaped(text).ok_or_else(|| {
                Problem::unreadable("In the query, % is followed by two hexadecimal digits of UTF-8 text.")
            })
        };
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            Problem::invalid("A query of readings is key=value, with & between: ?temp=21.5&hum=40.")
        })?;
        let (name, value) = (unescaped(name)?, unescaped(value)?);
        let place = match name.as_str() {
            "token" => &mut said.token,
            "ts" => &mut said.ts,
            "commands" => &mut said.commands,
            _ => {
                said.values.push((name, value));
                continue;
            }
        };
        if place.replace(value).is_some() {
            return Err(Problem::unreadable(format!("`{name}` stands twice in the query.")));
        }
    }
    Ok(said)
}

/// The same as the JSON of a POST.
fn payload(said: &Said) -> Result<Bytes, Refusal> {
    let mut values = Map::new();
    for (name, text) in &said.values {
        let value = match telemetry::bare(text.as_bytes(), &Limits::default()) {
            Ok(value) => value.map_or(Value::Null, json),
            Err(error) => return Err(unread(&error.into())),
        };
        if values.insert(name.clone(), value).is_some() {
            let shown: String = name.chars().take(64).collect();
            return Err(Problem::unreadable(format!("The key {shown:?} stands twice in the query.")).into());
        }
    }
    let mut sample = Map::new();
    if let Some(ts) = &said.ts {
        let number = ts.parse::<i64>().map(Value::from);
        sample.insert("ts".to_owned(), number.unwrap_or_else(|_no_number| Value::from(ts.as_str())));
    }
    sample.insert("values".to_owned(), Value::Object(values));
    Ok(Value::Object(sample).to_string().into())
}

fn json(value: Bare<'_>) -> Value {
    match value {
        Bare::Number(number) => Value::from(number),
        Bare::Integer(number) => Value::from(number),
        Bare::Unsigned(number) => Value::from(number),
        Bare::Boolean(value) => Value::from(value),
        Bare::Text(text) => Value::from(text.into_owned()),
        Bare::Gap => Value::Null,
    }
}
