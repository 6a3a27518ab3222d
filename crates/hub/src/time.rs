//! Wall-clock time as milliseconds, and the port through which the program reads its clocks.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z. Negative before that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time `duration` later; the largest time there is when that is too late to write down.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero when it was not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The two clocks: one that people set, one that only runs. Made once in `server`, simulated in
/// `testkit`.
pub trait Clock: Send + Sync + Debug {
    /// The wall clock, which may jump.
    fn wall(&self) -> Timestamp;
    /// The monotonic clock, for deadlines and durations.
    fn now(&self) -> Instant;
}
