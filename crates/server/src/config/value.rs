//! Reading the text of a value by its kind.

use std::net::SocketAddr;
use std::time::Duration;

use roost_gateway::Network;

use super::table::Kind;

/// Says what a value may be, as in "write …".
pub(crate) fn mend(kind: Kind) -> String {
    match kind {
        Kind::Path => "write a path".to_owned(),
        Kind::Door => "write HOST:PORT with an IP address, such as 0.0.0.0:1883, or off".to_owned(),
        Kind::Text | Kind::Secret => "write a text without control characters".to_owned(),
        Kind::Count { min, max } => format!("write a whole number from {min} to {max}"),
        Kind::Bytes { min, max } => {
            format!("write a number of bytes from {min} to {max}, such as 64KiB or 1MiB")
        }
        Kind::Duration => "write a duration such as 30s, 10m, 2h or 7d".to_owned(),
        Kind::Networks => "write address ranges divided by commas, such as 127.0.0.0/8,::1/128".to_owned(),
        Kind::Choice(words) => format!("write {}", words.join(" or ")),
        Kind::LogLevel => "write error, warn, info, debug or trace, or roost_gateway=debug,info".to_owned(),
    }
}

/// Whether the text is a value of the kind.
pub(crate) fn is_valid(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Path => !text.contains('\0'),
        Kind::Door => door(text).is_some(),
        Kind::Text | Kind::Secret => !text.chars().any(char::is_control),
        Kind::Count { min, max } => count(text).is_some_and(|count| (min..=max).contains(&count)),
        Kind::Bytes { min, max } => bytes(text).is_some_and(|count| (min..=max).contains(&count)),
        Kind::Duration => duration(text).is_some(),
        Kind::Networks => networks(text).is_some(),
        Kind::Choice(words) => words.contains(&text),
        Kind::LogLevel => !text.is_empty() && tracing_subscriber::EnvFilter::try_new(text).is_ok(),
    }
}

/// An address, or `Some(None)` for `off`.
pub(crate) fn door(text: &str) -> Option<Option<SocketAddr>> {
    if text == "off" {
        return Some(None);
    }
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    text.parse().ok().map(Some)
}

/// Address ranges, divided by commas.
pub(crate) fn networks(text: &str) -> Option<Vec<Network>> {
    let ranges = text.split(',').map(str::trim).filter(|range| !range.is_empty());
    ranges.map(|range| range.parse().ok()).collect()
}

/// A whole number; `_` may divide its digits.
pub(crate) fn count(text: &str) -> Option<u64> {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit());
    is_number.then(|| text.replace('_', "").parse().ok()).flatten()
}

/// A number of bytes with or without a unit.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A duration with a unit, or whole seconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((count(number)?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_bytes_and_durations_are_understood() {
        assert_eq!(bytes("1MiB"), Some(1 << 20));
        assert_eq!(bytes("64 KiB"), Some(65_536));
        assert_eq!(bytes("1_000"), Some(1_000));
        assert_eq!(bytes("1MB"), None);
        assert_eq!(bytes("-1"), None);
        assert_eq!(bytes("99999999999GiB"), None);
        assert_eq!(duration("7d"), Some(Duration::from_secs(604_800)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("soon"), None);
    }

    #[test]
    fn address_ranges_are_divided_by_commas() {
        assert_eq!(networks("127.0.0.0/8, ::1").map(|ranges| ranges.len()), Some(2));
        assert_eq!(networks(""), Some(Vec::new()));
        assert_eq!(networks("127.0.0.0/8,here"), None);
    }

    #[test]
    fn a_door_is_an_address_or_off() {
        assert_eq!(door("off"), Some(None));
        assert_eq!(door("localhost:0"), "127.0.0.1:0".parse().ok().map(Some));
        assert_eq!(door("[::]:1883"), "[::]:1883".parse().ok().map(Some));
        for wrong in ["", "1883", ":1883", "0.0.0.0", "0.0.0.0:99999", "example:1883"] {
            assert_eq!(door(wrong), None, "{wrong}");
        }
    }
}
