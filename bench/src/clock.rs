//! The one place that reads a clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time; this is its only clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds since the first call in this process: small enough to travel in a payload.
pub(crate) fn nanos() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = now().duration_since(*START.get_or_init(now));
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "telemetry with a time of its own needs the wall clock")]
pub(crate) fn unix_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
