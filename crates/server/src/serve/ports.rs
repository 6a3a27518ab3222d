//! The real clock and the real randomness: the only place where the program reads them.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use roost_hub::registry::SealKey;
use roost_hub::time::{Clock, Timestamp};
use roost_hub::{Ports, Rng};

/// The clocks of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the one clock")]
impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let since = |earlier: SystemTime, later: SystemTime| {
            later.duration_since(earlier).ok().and_then(|age| i64::try_from(age.as_millis()).ok())
        };
        let now = SystemTime::now();
        let before = || since(now, UNIX_EPOCH).map(|millis| -millis);
        Timestamp(since(UNIX_EPOCH, now).or_else(before).unwrap_or_default())
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// The randomness of the machine.
#[derive(Clone, Copy, Debug)]
struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer)
            .expect("the system gave random bytes at the start, so it does not run out of them");
    }
}

/// The ports of the real world.
///
/// # Errors
/// The system gives no random bytes, or there is no key.
pub(crate) fn real(key: impl FnOnce(&dyn Rng) -> anyhow::Result<SealKey>) -> anyhow::Result<Ports> {
    getrandom::fill(&mut [0; 16]).context("the system gives no random bytes")?;
    let seal_key = key(&SystemRng)?;
    Ok(Ports { clock: Arc::new(SystemClock), rng: Arc::new(SystemRng), seal_key })
}
