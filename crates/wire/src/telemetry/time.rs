//! Device time: RFC 3339 text to milliseconds, and whether to believe it.

use std::time::Duration;

/// 2000-01-01T00:00:00Z in milliseconds since 1970.
const EARLIEST: i64 = 946_684_800_000;
/// How far ahead of ours a device's clock may be, in milliseconds.
const AHEAD_MAX: i64 = 24 * 60 * 60 * 1_000;
const FRACTION_DIGITS_MAX: usize = 12;
/// A whole number below this, with which a time in the past is meant, is seconds ago (3,170 years
/// are enough), from this on milliseconds since 1970.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// Whether the device's own time was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceClock {
    /// The device gave no time, or a plausible one.
    Trusted,
    /// The device's time was replaced by the time of arrival.
    Suspect,
}

/// `30s`, `10m`, `2h`, `7d`, `250ms` or whole seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3_600),
        "d" => seconds(86_400),
        _ => None,
    }
}

/// A time in the past, in milliseconds since 1970: how long ago (as [`parse_duration`] reads it),
/// milliseconds since 1970 (a whole number from 100,000,000,000 on), or an RFC 3339 time.
pub fn parse_since(text: &str, now: i64) -> Option<i64> {
    if let Some(milliseconds) = text.parse().ok().filter(|number: &i64| *number >= MILLISECONDS_FROM) {
        return Some(milliseconds);
    }
    match parse_duration(text) {
        Some(ago) => now.checked_sub_unsigned(u64::try_from(ago.as_millis()).ok()?),
        None => parse_rfc3339(text),
    }
}

/// The time to store for a point, in milliseconds since 1970: its own, or
/// `now` where it has none or its own is before 2000 or more than 24 h ahead.
pub fn settle(ts: Option<i64>, now: i64) -> (i64, DeviceClock) {
    match ts {
        None => (now, DeviceClock::Trusted),
        Some(ts) if ts >= EARLIEST && ts <= now.saturating_add(AHEAD_MAX) => (ts, DeviceClock::Trusted),
        Some(_) => (now, DeviceClock::Suspect),
    }
}

/// `2026-11-21T14:04:24.123Z` in milliseconds since 1970.
///
/// Also read: an offset up to `±23:59`, no zone (meaning UTC), `t` or a space
/// before the time, up to 12 fractional digits (cut to milliseconds). The leap
/// second `:60` is `:59.999`. `None` for anything else.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let mut rest = text.as_bytes();
    let year = digits(&mut rest, 4)?;
    expect(&mut rest, b"-")?;
    let month = digits(&mut rest, 2)?;
    expect(&mut rest, b"-")?;
    let day = digits(&mut rest, 2)?;
    expect(&mut rest, b"Tt ")?;
    let hour = digits(&mut rest, 2)?;
    expect(&mut rest, b":")?;
    let minute = digits(&mut rest, 2)?;
    expect(&mut rest, b":")?;
    let second = digits(&mut rest, 2)?;
    let fraction = fraction(&mut rest)?;
    let offset = offset(rest)?;
    let valid = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid {
        return None;
    }
    let (second, fraction) = if second == 60 { (59, 999) } else { (second, fraction) };
    // At most four digits of years: far inside 64 bits.
    let days = days_since_1970(year, month, day);
    let minutes = (days * 24 + hour) * 60 + minute - offset;
    Some((minutes * 60 + second) * 1_000 + fraction)
}

/// Exactly `count` decimal digits.
fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    head.iter().try_fold(0_i64, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + i64::from(byte.wrapping_sub(b'0')))
    })
}

fn expect(rest: &mut &[u8], any_of: &[u8]) -> Option<()> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    any_of.contains(first).then_some(())
}

/// The fraction of a second in milliseconds; 0 where there is none.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let Some((b'.' | b',', tail)) = rest.split_first() else {
        return Some(0);
    };
    let count = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > FRACTION_DIGITS_MAX {
        return None;
    }
    let mut head = tail;
    let value = digits(&mut head, count.min(3))?;
    *rest = tail.get(count..)?;
    Some(match count {
        1 => value * 100,
        2 => value * 10,
        _ => value,
    })
}

/// Minutes east of UTC.
fn offset(mut rest: &[u8]) -> Option<i64> {
    let sign = match rest {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    expect(&mut rest, b"+-")?;
    let hours = digits(&mut rest, 2)?;
    expect(&mut rest, b":")?;
    let minutes = digits(&mut rest, 2)?;
    (rest.is_empty() && hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days in the proleptic Gregorian calendar. The year is taken to begin in
/// March, so that the leap day is its last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 153 days are five months from March on; 719 468 days lie before 1970-01-01.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::{DeviceClock, parse_rfc3339, parse_since, settle};

    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(parse_rfc3339(text), expected, "{text}");
    }

    #[test]
    fn j_18_times_are_read_as_documented() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2000-02-29T23:59:59.5Z", Some(951_868_799_500));
        check("2026-11-21T14:04:24Z", Some(1_795_269_864_000));
        check("2026-11-21t14:04:24z", Some(1_795_269_864_000));
        check("2026-11-21 14:04:24", Some(1_795_269_864_000));
        check("2026-11-21T14:04:24", Some(1_795_269_864_000));
        check("2026-11-21T16:04:24.123456789012+02:00", Some(1_795_269_864_123));
        check("2026-11-21T08:34:24.12-05:30", Some(1_795_269_864_120));
        check("2016-12-31T23:59:60Z", Some(1_483_228_799_999));
        check("1969-12-31T23:59:59.999Z", Some(-1));
        check("0000-01-01T00:00:00Z", Some(-62_167_219_200_000));
        check("9999-12-31T23:59:59Z", Some(253_402_300_799_000));
    }

    #[test]
    fn j_18_what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-11-21",
            "2026-11-21T14:04",
            "2026-11-21T14:04:24+25:00",
            "2026-11-21T14:04:24+02",
            "2026-11-21T14:04:24.Z",
            "2026-11-21T14:04:24.1234567890123Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T14:04:61Z",
            "2026-11-21T14:04:24ZZ",
            "+026-11-21T14:04:24Z",
            "٢٠٢٦-11-21T14:04:24Z",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn j_17_an_implausible_time_is_replaced_and_marked() {
        let now = 1_795_269_864_000;
        let day = 86_400_000;
        for (ts, expected) in [
            (None, (now, DeviceClock::Trusted)),
            (Some(now - 1), (now - 1, DeviceClock::Trusted)),
            (Some(946_684_800_000), (946_684_800_000, DeviceClock::Trusted)),
            (Some(946_684_799_999), (now, DeviceClock::Suspect)),
            (Some(0), (now, DeviceClock::Suspect)),
            (Some(-5), (now, DeviceClock::Suspect)),
            (Some(now + day), (now + day, DeviceClock::Trusted)),
            (Some(now + day + 1), (now, DeviceClock::Suspect)),
            (Some(1_000_000_000_000_000_000), (now, DeviceClock::Suspect)),
            (Some(i64::MIN), (now, DeviceClock::Suspect)),
            (Some(i64::MAX), (now, DeviceClock::Suspect)),
        ] {
            assert_eq!(settle(ts, now), expected, "{ts:?}");
        }
        assert_eq!(settle(Some(i64::MAX), i64::MAX).0, i64::MAX);
    }

    #[test]
    fn a_time_in_the_past_is_how_long_ago_or_when() {
        let now = 1_795_269_297_250;
        for (text, since) in [
            ("0", now),
            ("30s", now - 30_000),
            ("90", now - 90_000),
            ("250ms", now - 250),
            ("1h", now - 3_600_000),
            ("7d", now - 604_800_000),
            ("99999999999", now - 99_999_999_999_000),
            ("100000000000", 100_000_000_000),
            ("1795269297250", now),
            ("2026-11-21T13:54:57.250Z", now),
            ("2026-11-21T14:54:57.250+01:00", now),
        ] {
            assert_eq!(parse_since(text, now), Some(since), "{text}");
        }
        for bad in ["", "-1", "-1h", "1w", "1.5h", "yesterday", "1 h", "9223372036854775808", "2026-11-21"] {
            assert_eq!(parse_since(bad, now), None, "{bad}");
        }
    }
}
