use super::{Limits, Point, TelemetryError, walk};
use crate::json::Reader;

/// The points of a JSON payload, in its order.
///
/// An object whose `values` is an object is a sample with a time; only `ts`
/// may stand beside it. In any other object every name is a key, `ts` too.
/// Objects flatten to `outer.inner`, arrays to `outer.0`, `outer.1`, …; `null`
/// is left out. `ts` is whole milliseconds since 1970 or an RFC 3339 string,
/// see [`super::parse_rfc3339`]; `"ts":null` is no time.
///
/// # Errors
/// The first thing that cannot be kept as it stands; then nothing is.
pub fn json<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Vec<Point<'a>>, TelemetryError> {
    walk::points(Reader::open(bytes, limits.depth_max)?, limits)
}

#[cfg(test)]
mod tests;
