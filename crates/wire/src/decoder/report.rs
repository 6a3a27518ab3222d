//! What became of a frame, as JSON for people and programs.

use serde_json::{Map, json};

use super::{DecodeError, Frame, hex};
use crate::telemetry::{Point, Value};

/// `{"hex","port","ts","readings":[{"key","value"}…],"error":null}`; where the frame was not read,
/// `readings` is empty and `error` is `{"field","offset","detail"}`. A gap's value is null; `ts` is
/// in milliseconds since 1970, null where the frame says no time.
pub fn report(
    frame: &Frame<'_>,
    decoded: &Result<Vec<Point<'_>>, DecodeError>,
) -> Map<String, serde_json::Value> {
    let (points, error) = match decoded {
        Ok(points) => (points.as_slice(), json!(null)),
        Err(error) => {
            (&[][..], json!({ "field": error.field, "offset": error.offset, "detail": error.to_string() }))
        }
    };
    let readings: Vec<_> =
        points.iter().map(|point| json!({ "key": point.key, "value": shown(&point.value) })).collect();
    let members = [
        ("hex", json!(hex(frame.bytes))),
        ("port", json!(frame.port)),
        ("ts", json!(points.first().and_then(|point| point.ts))),
        ("readings", json!(readings)),
        ("error", error),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn shown(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Number(number) => json!(number),
        Value::Integer(number) => json!(number),
        Value::Unsigned(number) => json!(number),
        Value::Boolean(value) => json!(value),
        Value::Text(text) => json!(text),
        Value::Gap => json!(null),
    }
}
