//! Durations and times as requests write them.

use std::time::Duration;

use roost_hub::time::Timestamp;
pub(crate) use roost_wire::telemetry::parse_duration as parse;

use crate::problem::Problem;

/// Reads a duration of the named parameter or member.
pub(crate) fn read(name: &str, text: &str) -> Result<Duration, Problem> {
    parse(text).ok_or_else(|| {
        Problem::invalid(format!("`{name}`: write a duration as 30s, 10m, 2h, 7d or whole seconds."))
    })
}

/// Reads milliseconds since 1970 or an RFC 3339 time.
pub(crate) fn read_time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    if let Ok(milliseconds) = text.parse::<i64>() {
        return Ok(Timestamp(milliseconds));
    }
    // `+` in a query is a space: whoever forgot to escape the one of `+01:00` is understood.
    let text = match text.split_at_checked(11) {
        Some((date, time)) => format!("{date}{}", time.replace(' ', "+")),
        None => text.to_owned(),
    };
    roost_wire::telemetry::parse_rfc3339(&text).map(Timestamp).ok_or_else(|| {
        Problem::invalid(format!(
            "`{name}`: write a time as milliseconds since 1970 or as 2026-11-21T13:54:57.250Z."
        ))
    })
}

/// A duration in a JSON body: a text or whole seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonDuration(pub(crate) Duration);

impl<'de> serde::Deserialize<'de> for JsonDuration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Written {
            Seconds(u64),
            Text(String),
        }
        let rule = || {
            serde::de::Error::custom("write a duration as \"30s\", \"10m\", \"2h\", \"7d\" or whole seconds")
        };
        match Written::deserialize(deserializer).map_err(|_other_type| rule())? {
            Written::Seconds(seconds) => Ok(Self(Duration::from_secs(seconds))),
            Written::Text(text) => parse(&text).map(Self).ok_or_else(rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit_or_whole_seconds() {
        for (text, seconds) in
            [("30s", 30), ("10m", 600), ("2h", 7_200), ("7d", 604_800), ("45", 45), ("0", 0)]
        {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "s", "-1s", "1.5h", "1 h", "1w", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_is_milliseconds_or_rfc_3339() {
        assert_eq!(read_time("from", "1795269297250").unwrap(), Timestamp(1_795_269_297_250));
        assert_eq!(read_time("from", "2026-11-21T13:54:57.250Z").unwrap(), Timestamp(1_795_269_297_250));
        assert_eq!(read_time("from", "2026-11-21T14:54:57.250 01:00").unwrap(), Timestamp(1_795_269_297_250));
        assert!(read_time("from", "yesterday").is_err());
    }
}
