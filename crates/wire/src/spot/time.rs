//! The times that a Spot writes: `2015-03-02T08:00:01.250Z`, whose fraction is
//! not padded, and which begin in 1970 until the clock is set.

use crate::telemetry::parse_rfc3339;

/// Before this the clock of a Spot was not set: 2013-01-01.
const CLOCK_SET_MIN: i64 = 1_356_998_400_000;

/// A time as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Milliseconds since 1970.
    pub ts: i64,
    /// Whether the fraction has three digits. Of one or two, nobody says
    /// whether `.29` is 290 ms or 29 ms; it is read as 290.
    pub is_exact: bool,
}

/// Reads a time; `None` when it is none, or from a clock that was not set.
pub fn stamp(text: &str) -> Option<Stamp> {
    let ts = parse_rfc3339(text).filter(|ts| *ts >= CLOCK_SET_MIN)?;
    let digits = text.rsplit_once('.').map(|(_, fraction)| fraction.trim_end_matches('Z').len());
    Some(Stamp { ts, is_exact: !matches!(digits, Some(1 | 2)) })
}
