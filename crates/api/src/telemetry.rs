//! Reading telemetry: the latest values, and points from the history as JSON, CSV or Parquet.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Reply;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};
use roost_history::{Aggregate, Export, Format, Page, QueryError, Selection};
use roost_hub::access::Action;
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::reading::{Quality, Reading, Value as ReadingValue};
use roost_hub::registry::Device;
use roost_hub::time::Timestamp;
use serde_json::{Map, Value, json};

use crate::auth::Caller;
use crate::duration;
use crate::params::Params;
use crate::problem::Problem;
use crate::route::{Route, get};
use crate::state::{Api, Shared};

const DAY: Duration = Duration::from_secs(24 * 3600);
const PARQUET: &str = "application/vnd.apache.parquet";
/// The longest key, in bytes.
const KEY_LENGTH_MAX: usize = 256;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/devices/{id}/telemetry", points)
            .about(
                "telemetry",
                "The points of one key; also as text/csv or application/vnd.apache.parquet by Accept",
            )
            .query("key", "string", "Which key (needed)")
            .query("from", "string", "The earliest time, inclusive; 24 hours before `to` by default")
            .query("to", "string", "The end, exclusive; everything that is there by default")
            .query("every", "string", "The width of a bucket, such as 1m; buckets are aligned to 1970")
            .query("agg", "string", "mean, min, max, sum, count, first or last of a bucket; mean by default")
            .query("limit", "integer", "Points on a page, 1 to 10,000; 10,000 by default")
            .query("cursor", "string", "`next` of the page before")
            .header("Accept", "application/json, text/csv or application/vnd.apache.parquet")
            .answers(200, "Points"),
        get("/api/v1/devices/{id}/telemetry/latest", latest)
            .about("telemetry", "The latest value of each key")
            .query("key", "string", "Only this key; may be repeated")
            .answers(200, "LatestValues"),
        get("/api/v1/devices/{id}/telemetry/keys", keys)
            .about("telemetry", "The keys that have points")
            .answers(200, "Keys"),
    ]
}

/// The latest values of a device: of these keys, or of all when there are none.
pub(crate) fn latest_values(
    api: &Api,
    tenant: &TenantId,
    device: &DeviceId,
    keys: &[String],
) -> Result<Value, Problem> {
    let latest = api.hub.latest(tenant, device)?;
    let wanted =
        latest.into_iter().filter(|(key, _)| keys.is_empty() || keys.iter().any(|wanted| **wanted == **key));
    Ok(wanted.map(|(key, reading)| (key.as_ref().to_owned(), shown(&reading))).collect::<Map<_, _>>().into())
}

fn shown(reading: &Reading) -> Value {
    let mut shown = json!({ "ts": reading.ts.0, "value": reading.value });
    if reading.quality != Quality::Good
        && let Some(members) = shown.as_object_mut()
    {
        members.insert("quality".to_owned(), json!(reading.quality));
    }
    shown
}

async fn latest(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Reply<Value>, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    let keys = params.take_all("key");
    params.finish()?;
    Ok(Reply(latest_values(&api, caller.tenant(), &device.id, &keys)?))
}

async fn keys(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Reply<Value>, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    let keys = api.history.keys(caller.tenant(), &device.id, device.born).await.map_err(refusal)?;
    let items: Vec<&str> = keys.iter().map(|key| &**key).collect();
    Ok(Reply(json!({ "items": items, "next": null })))
}

async fn points(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    let selection = selection(&mut params, &device, api.hub.now())?;
    let limit = params.take_limit(Page::LIMIT_MAX, Page::LIMIT_MAX)?;
    let after = match params.take("cursor")? {
        None => None,
        Some(text) => match text.parse() {
            Ok(ts) => Some(Timestamp(ts)),
            Err(_no_number) => return Err(Problem::invalid("`cursor` is the `next` of the page before.")),
        },
    };
    params.finish()?;
    let tenant = caller.tenant();
    if let Some((format, media_type)) = export_format(&headers) {
        let export = api.history.export(tenant, &device.id, &selection, format).await.map_err(refusal)?;
        return Ok(file(export, media_type, &device));
    }
    let page = Page { limit, after };
    let found = api.history.points(tenant, &device.id, &selection, page).await.map_err(refusal)?;
    let points: Vec<(i64, &ReadingValue)> =
        found.points.iter().map(|point| (point.ts.0, &point.value)).collect();
    let next = found.next.map(|ts| ts.0.to_string());
    Ok(Reply(json!({ "key": &*selection.key, "points": points, "next": next })).into_response())
}

fn selection(params: &mut Params, device: &Device, now: Timestamp) -> Result<Selection, Problem> {
    let key = params.take("key")?.ok_or_else(|| Problem::invalid("Say which `key`, as in ?key=temp."))?;
    if key.len() > KEY_LENGTH_MAX {
        return Err(Problem::invalid(format!("A key has at most {KEY_LENGTH_MAX} bytes.")));
    }
    let time = |params: &mut Params, name| {
        params.take(name)?.map(|text| duration::read_time(name, &text)).transpose()
    };
    let (from, to) = (time(params, "from")?, time(params, "to")?);
    let day = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    let from = from.unwrap_or(Timestamp(to.unwrap_or(now).0.saturating_sub(day)));
    // Clocks of devices may be ahead: what was acknowledged is in the answer.
    let to = to.unwrap_or(Timestamp(i64::MAX));
    let every = params.take("every")?.map(|text| duration::read("every", &text)).transpose()?;
    if every.is_some_and(|every| every.is_zero()) {
        return Err(Problem::invalid("`every` is longer than nothing."));
    }
    let aggregate = params.take("agg")?.map(|text| aggregate(&text)).transpose()?;
    Ok(Selection { key: Arc::from(key), from, to, born: device.born, every, aggregate })
}

fn aggregate(text: &str) -> Result<Aggregate, Problem> {
    Ok(match text {
        "mean" => Aggregate::Mean,
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        "sum" => Aggregate::Sum,
        "count" => Aggregate::Count,
        "first" => Aggregate::First,
        "last" => Aggregate::Last,
        _ => return Err(Problem::invalid("`agg` is mean, min, max, sum, count, first or last.")),
    })
}

/// The first of the accepted media types that is a file's; `None` for JSON.
fn export_format(headers: &HeaderMap) -> Option<(Format, &'static str)> {
    let accept = headers.get(header::ACCEPT)?.to_str().ok()?.to_ascii_lowercase();
    let mut names = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
    names.find_map(|name| match name {
        "text/csv" => Some(Some((Format::Csv, "text/csv; charset=utf-8"))),
        PARQUET => Some(Some((Format::Parquet, PARQUET))),
        "application/json" | "*/*" => Some(None),
        _ => None,
    })?
}

/// A file whose length nobody knows yet. When the history fails in the middle, the connection
/// breaks, so that nobody takes a part for the whole.
fn file(export: Export, media_type: &'static str, device: &Device) -> Response {
    let pieces = futures_util::stream::unfold(export, |mut export| async {
        export.next().await.map(|piece| (piece, export))
    });
    let ending = if media_type == PARQUET { "parquet" } else { "csv" };
    let name = format!("attachment; filename=\"{}.{ending}\"", device.id);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_str(&name).unwrap_or(HeaderValue::from_static("attachment")),
        ),
    ];
    (StatusCode::OK, headers, Body::from_stream(pieces)).into_response()
}

fn refusal(error: QueryError) -> Problem {
    match error {
        QueryError::Behind => {
            Problem::unavailable("The history is still reading what was stored; ask again in a few seconds.")
                .retry_after(Duration::from_secs(5))
        }
        QueryError::Storage(error) => error.into(),
        QueryError::Ended => Problem::unavailable("The server is stopping; ask again."),
        QueryError::File { path, source } => {
            tracing::error!(path = %path.display(), %source, "a history file cannot be read");
            Problem::of_status(
                StatusCode::INTERNAL_SERVER_ERROR,
                Some("A history file cannot be read.".to_owned()),
            )
        }
    }
}
