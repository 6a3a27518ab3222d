//! The newest values of a tenant's devices as gauges in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use roost_hub::access::Action;
use roost_hub::reading::{Quality, Reading, Value};
use roost_hub::registry::DeviceQuery;

use crate::auth::Caller;
use crate::duration;
use crate::params::Params;
use crate::problem::Problem;
use crate::state::Shared;

/// A value that is older is not shown: Prometheus would take it for one of now.
const AGE_MAX: Duration = Duration::from_secs(3_600);
/// The most values of one answer.
const VALUES_MAX: usize = 100_000;
/// Devices that are looked at together.
const PAGE: usize = 1_000;
/// Before each key.
const PREFIX: &str = "roost_";

/// All lines of one name: the key that it was made of first, and the lines.
#[derive(Default)]
struct Family {
    key: String,
    lines: String,
}

pub(super) async fn show(
    State(api): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    caller.may(Action::ReadDevices)?;
    let age_max = params.take("max_age")?.map(|text| duration::read("max_age", &text)).transpose()?;
    let age_max = age_max.unwrap_or(AGE_MAX);
    let mut query =
        DeviceQuery { q: None, label: params.take("label")?, online: None, limit: PAGE, cursor: None };
    params.finish()?;
    let now = api.hub.now();
    let mut families = BTreeMap::new();
    let mut count = 0;
    loop {
        let page = api.hub.devices(caller.tenant(), &query)?;
        for device in &page.items {
            for reading in api.hub.latest(caller.tenant(), &device.id)?.values() {
                let is_fresh = now.since(reading.ts) <= age_max && reading.quality != Quality::Bad;
                if is_fresh && add(&mut families, device.id.as_str(), reading) {
                    count += 1;
                }
            }
            if count > VALUES_MAX {
                let detail = format!("There are more than {VALUES_MAX} values: choose devices by `label`.");
                return Err(Problem::invalid(detail));
            }
        }
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((content_type, text(families)).into_response())
}

/// Adds a value; `false` for one that is no number.
fn add(families: &mut BTreeMap<String, Family>, device: &str, reading: &Reading) -> bool {
    let value = match &reading.value {
        Value::Number(number) => number.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Boolean(value) => u8::from(*value).to_string(),
        Value::Text(_) | Value::Gap => return false,
    };
    if reading.quality == Quality::Stale {
        return false;
    }
    let key: &str = &reading.key;
    let name = metric_name(key);
    let family = families.entry(name.clone()).or_default();
    if family.key.is_empty() {
        key.clone_into(&mut family.key);
    }
    // The key as it is keeps apart what has one name only because a name has fewer signs.
    let labels = format!("device=\"{}\",key=\"{}\"", escaped(device), escaped(key));
    let written = writeln!(family.lines, "{name}{{{labels}}} {value}");
    debug_assert!(written.is_ok(), "writing into a string cannot fail");
    true
}

fn text(families: BTreeMap<String, Family>) -> String {
    let mut text = String::new();
    for (name, Family { key, lines }) in families {
        let help = key.replace('\\', "\\\\").replace('\n', "\\n");
        text.push_str(&format!("# HELP {name} The newest value of {help}.\n# TYPE {name} gauge\n{lines}"));
    }
    text
}

/// A key as the name of a metric: letters, digits and underscores.
fn metric_name(key: &str) -> String {
    let sign = |sign: char| if sign.is_ascii_alphanumeric() { sign } else { '_' };
    PREFIX.chars().chain(key.chars().map(sign)).collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roost_hub::time::Timestamp;

    use super::*;

    fn reading(key: &str, value: Value) -> Reading {
        Reading { key: Arc::from(key), ts: Timestamp(0), value, quality: Quality::Good }
    }

    #[test]
    fn names_and_labels_are_escaped_and_each_name_is_described_once() {
        let mut families = BTreeMap::new();
        for (device, key, value) in [
            ("a", "temp", Value::Number(21.5)),
            ("b", "temp", Value::Integer(-7)),
            ("a", "ADC.Value", Value::Unsigned(u64::MAX)),
            ("a", "ADC_Value", Value::Boolean(true)),
            ("a", "q\"u\\o\nte", Value::Integer(1)),
        ] {
            assert!(add(&mut families, device, &reading(key, value)));
        }
        assert!(!add(&mut families, "a", &reading("text", Value::Text("x".into()))));
        let expected = "\
# HELP roost_ADC_Value The newest value of ADC.Value.
# TYPE roost_ADC_Value gauge
roost_ADC_Value{device=\"a\",key=\"ADC.Value\"} 18446744073709551615
roost_ADC_Value{device=\"a\",key=\"ADC_Value\"} 1
# HELP roost_q_u_o_te The newest value of q\"u\\\\o\\nte.
# TYPE roost_q_u_o_te gauge
roost_q_u_o_te{device=\"a\",key=\"q\\\"u\\\\o\\nte\"} 1
# HELP roost_temp The newest value of temp.
# TYPE roost_temp gauge
roost_temp{device=\"a\",key=\"temp\"} 21.5
roost_temp{device=\"b\",key=\"temp\"} -7
";
        assert_eq!(text(families), expected);
    }
}
