//! How much of the log is kept for those who subscribe from the past on. A start reads nothing of
//! it: what a restart needs begins at the last checkpoint.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use roost_hub::Hub;
use roost_hub::storage::Position;
use roost_hub::time::Timestamp;

use crate::config::Keep;

/// How often the place of the oldest time is looked for; it reads the log a little.
const LOOKED_EVERY: Duration = Duration::from_secs(60);

/// Tells the log from where on to keep what nobody needs.
#[derive(Debug)]
pub(super) struct Keeper {
    keep: Keep,
    data: PathBuf,
    looked_at: Option<Instant>,
    oldest: Position,
}

impl Keeper {
    pub(super) fn new(keep: Keep, data: PathBuf) -> Self {
        Self { keep, data, looked_at: None, oldest: Position(0) }
    }

    /// Keeps what is young enough, within the bound in bytes and half of what the disk has free.
    pub(super) fn apply(&mut self, hub: &Hub) {
        let now = hub.clock().now();
        if self.looked_at.is_none_or(|at| now.saturating_duration_since(at) >= LOOKED_EVERY) {
            self.looked_at = Some(now);
            let age = i64::try_from(self.keep.time.as_millis()).unwrap_or(i64::MAX);
            self.oldest = hub.position_of(Timestamp(hub.now().0.saturating_sub(age)));
        }
        let log = &hub.store().log;
        log.keep(self.oldest.max(log.last_bytes(self.keep.bytes.min(self.room() / 2))));
    }

    /// What the disk has free, in bytes; as much as one likes where that cannot be told.
    fn room(&self) -> u64 {
        rustix::fs::statvfs(&self.data)
            .map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize))
    }
}
