//! The date of an answer (RFC 9110 section 5.6.7).

use roost_hub::time::Timestamp;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_MILLIS: i64 = 86_400_000;

/// As in `Sun, 22 Nov 2026 00:36:56 GMT`.
pub(super) fn written(at: Timestamp) -> String {
    // 1970 began on a Thursday.
    let day = usize::try_from(at.0.div_euclid(DAY_MILLIS).rem_euclid(7)).unwrap_or(0);
    let weekday = DAYS.get(day).copied().unwrap_or_default();
    let text = at.to_string();
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    let month = part(5..7).parse().ok().and_then(|month: usize| MONTHS.get(month.checked_sub(1)?).copied());
    let (year, month, day, time) = (part(0..4), month.unwrap_or_default(), part(8..10), part(11..19));
    format!("{weekday}, {day} {month} {year} {time} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_writes_it() {
        for (millis, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400_999, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_307_816_000, "Sun, 22 Nov 2026 00:36:56 GMT"),
        ] {
            assert_eq!(written(Timestamp(millis)), text);
        }
    }
}
