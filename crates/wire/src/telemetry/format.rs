use super::{Limits, Point, Precision, TelemetryError, cbor, json, line, senml_cbor, senml_json};
use std::borrow::Cow;

/// How a payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Cbor,
    SenmlJson,
    SenmlCbor,
    InfluxLine,
}

impl Format {
    /// From a content type; parameters and case do not count. `None` for what is
    /// not read here, also for `application/x-ndjson`: split it into lines first.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let (name, _) = content_type.split_once(';').unwrap_or((content_type, ""));
        let name = name.trim().to_ascii_lowercase();
        Some(match name.as_str() {
            "application/senml+json" | "application/sensml+json" => Format::SenmlJson,
            "application/senml+cbor" | "application/sensml+cbor" => Format::SenmlCbor,
            "application/x-influx-line"
            | "application/x-influxdb-line-protocol"
            | "application/vnd.influx.line-protocol"
            | "application/vnd.influxdata.line-protocol"
            | "application/influx"
            | "text/x-influx-line"
            | "text/influx" => Format::InfluxLine,
            "application/json" | "text/json" => Format::Json,
            "application/cbor" => Format::Cbor,
            name if name.ends_with("+json") => Format::Json,
            name if name.ends_with("+cbor") => Format::Cbor,
            _ => return None,
        })
    }
}

/// What a payload says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Payload<'a> {
    pub points: Vec<Point<'a>>,
    /// The base names of a SenML pack, which claim to be the device: each must
    /// pass [`base_name_is_of`] or be refused. Empty for all other formats.
    pub base_names: Vec<Cow<'a, str>>,
}

/// Reads a payload in any format. `now` is in milliseconds since 1970 and only
/// used for SenML's relative times. Line protocol has its times in nanoseconds.
///
/// # Errors
/// As the function of each format.
pub fn decode<'a>(
    format: Format,
    bytes: &'a [u8],
    limits: &Limits,
    now: i64,
) -> Result<Payload<'a>, TelemetryError> {
    let points = match format {
        Format::Json => json(bytes, limits)?,
        Format::Cbor => cbor(bytes, limits)?,
        Format::InfluxLine => line(bytes, Precision::Nanoseconds, limits)?,
        Format::SenmlJson => return senml_json(bytes, limits, now),
        Format::SenmlCbor => return senml_cbor(bytes, limits, now),
    };
    Ok(Payload { points, base_names: Vec::new() })
}

/// Whether a SenML base name says `device`: the id alone, or as the last part
/// after `:` or `/`, as in `urn:dev:mac:0024befffe804ff1/`.
pub fn base_name_is_of(base_name: &str, device: &str) -> bool {
    let separators = [':', '/'];
    let name = base_name.trim_end_matches(separators);
    name.strip_suffix(device).is_some_and(|before| before.is_empty() || before.ends_with(separators))
}

#[cfg(test)]
mod tests {
    use super::{Format, decode};
    use crate::telemetry::Limits;

    #[test]
    fn a_content_type_names_the_format() {
        for (content_type, format) in [
            ("application/json", Some(Format::Json)),
            ("Application/JSON; charset=utf-8", Some(Format::Json)),
            ("application/vnd.acme+json", Some(Format::Json)),
            ("application/cbor", Some(Format::Cbor)),
            ("application/senml+json", Some(Format::SenmlJson)),
            ("application/senml+cbor", Some(Format::SenmlCbor)),
            ("application/vnd.influx.line-protocol", Some(Format::InfluxLine)),
            ("application/x-ndjson", None),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(Format::from_content_type(content_type), format, "{content_type}");
        }
    }

    #[test]
    fn every_format_leads_to_points() {
        for (format, bytes) in [
            (Format::Json, b"{\"a\":1}".as_slice()),
            (Format::Cbor, b"\xa1aa\x01"),
            (Format::SenmlJson, b"[{\"n\":\"a\",\"v\":1}]"),
            (Format::SenmlCbor, b"\x81\xa2\x00aa\x02\x01"),
            (Format::InfluxLine, b"m a=1"),
        ] {
            let payload = decode(format, bytes, &Limits::default(), 0).unwrap();
            assert_eq!(payload.points.len(), 1, "{format:?}");
        }
    }
}
