//! One wheel of timers for all connections, on a clock that is read a few times a second. It counts the time in which
//! the program ran: while it stood still (SIGSTOP, a paused machine) it did not listen, and nobody was silent.
//!
//! A connection costs one small entry here however often its deadline moves: it is woken when the
//! deadline that it last named has passed, and looks for itself whether that still stands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use roost_hub::time::Clock;

/// Whoever comes so many ticks after the last one did not run meanwhile.
const STANDSTILL_TICKS: u32 = 3;
/// How many ticks the wheel looks ahead; whoever waits longer is woken early once a turn.
const SLOTS: u64 = 512;

/// The timers of all connections.
#[derive(Debug)]
pub(crate) struct Timers {
    clock: Arc<dyn Clock>,
    start: Instant,
    tick: Duration,
    /// Milliseconds that the program ran since `start`, as of the last tick.
    now: AtomicU64,
    /// Milliseconds in which it did not.
    stood_still: AtomicU64,
    /// Milliseconds since `start`, as of the last tick.
    since_start: AtomicU64,
    wheel: Mutex<Wheel>,
}

/// A connection's place among the timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    index: u32,
    generation: u32,
}

#[derive(Debug, Default)]
struct Entry {
    waker: Option<Waker>,
    generation: u32,
}

#[derive(Debug, Default)]
struct Wheel {
    entries: Vec<Entry>,
    free: Vec<u32>,
    slots: Vec<Vec<TimerKey>>,
    /// Every slot up to here has been emptied.
    tick: u64,
}

impl Timers {
    /// Timers that are as exact as `tick`.
    pub(crate) fn new(clock: Arc<dyn Clock>, tick: Duration) -> Self {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        let wheel = Mutex::new(Wheel { slots, ..Wheel::default() });
        Self {
            start: clock.now(),
            clock,
            tick: tick.max(Duration::from_millis(1)),
            now: AtomicU64::new(0),
            stood_still: AtomicU64::new(0),
            since_start: AtomicU64::new(0),
            wheel,
        }
    }

    /// The time since the start, at most a tick old: for bounds that have nothing to do with whether
    /// the program ran.
    pub(crate) fn since_start(&self) -> Duration {
        Duration::from_millis(self.since_start.load(Ordering::Relaxed))
    }

    /// The time that the program ran since the start, at most a tick old.
    pub(crate) fn now(&self) -> Duration {
        Duration::from_millis(self.now.load(Ordering::Relaxed))
    }

    fn wheel(&self) -> MutexGuard<'_, Wheel> {
        self.wheel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a task; [`Timers::remove`] gives it back.
    pub(crate) fn register(&self, waker: Waker) -> TimerKey {
        let mut wheel = self.wheel();
        if let Some(index) = wheel.free.pop()
            && let Some(entry) = wheel.entries.get_mut(index as usize)
        {
            entry.waker = Some(waker);
            return TimerKey { index, generation: entry.generation };
        }
        let index = u32::try_from(wheel.entries.len()).unwrap_or(u32::MAX);
        wheel.entries.push(Entry { waker: Some(waker), generation: 0 });
        TimerKey { index, generation: 0 }
    }

    /// Wakes the task soon after `at`, perhaps before; gives the time at which it will.
    pub(crate) fn schedule(&self, key: TimerKey, at: Duration) -> Duration {
        let tick_millis = self.tick.as_millis().max(1);
        let wanted = u64::try_from(at.as_millis().div_ceil(tick_millis)).unwrap_or(u64::MAX);
        let mut wheel = self.wheel();
        let due = wanted.clamp(wheel.tick + 1, wheel.tick + SLOTS - 1);
        if let Some(slot) = wheel.slots.get_mut((due % SLOTS) as usize) {
            slot.push(key);
        }
        drop(wheel);
        self.tick.saturating_mul(u32::try_from(due).unwrap_or(u32::MAX))
    }

    /// Forgets the task.
    pub(crate) fn remove(&self, key: TimerKey) {
        let mut wheel = self.wheel();
        if let Some(entry) = wheel.entries.get_mut(key.index as usize)
            && entry.generation == key.generation
        {
            entry.waker = None;
            entry.generation = entry.generation.wrapping_add(1);
            wheel.free.push(key.index);
        }
    }

    fn passed(&self) -> Duration {
        let since_start = self.clock.now().saturating_duration_since(self.start);
        let millis = u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX);
        self.since_start.store(millis, Ordering::Relaxed);
        since_start.saturating_sub(Duration::from_millis(self.stood_still.load(Ordering::Relaxed)))
    }

    /// Leaves out the time in which nobody turned the wheel although it was to be turned.
    fn pass_over_standstill(&self) {
        let since = self.passed().saturating_sub(self.now());
        if since > self.tick.saturating_mul(STANDSTILL_TICKS) {
            let left_out = u64::try_from((since - self.tick).as_millis()).unwrap_or(u64::MAX);
            self.stood_still.fetch_add(left_out, Ordering::Relaxed);
        }
    }

    /// Reads the clock and wakes whose time has come.
    fn advance(&self) {
        let now = self.passed();
        self.now.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let until = u64::try_from(now.as_millis() / self.tick.as_millis().max(1)).unwrap_or(u64::MAX);
        let mut due = Vec::new();
        let mut wheel = self.wheel();
        // After a long sleep of the machine, one turn visits every slot.
        let from = wheel.tick.max(until.saturating_sub(SLOTS));
        for tick in from + 1..=until {
            let keys = wheel.slots.get_mut((tick % SLOTS) as usize).map(std::mem::take).unwrap_or_default();
            let wakers = keys.iter().filter_map(|key| {
                let entry = wheel.entries.get(key.index as usize)?;
                entry.waker.clone().filter(|_| entry.generation == key.generation)
            });
            due.extend(wakers);
        }
        wheel.tick = wheel.tick.max(until);
        drop(wheel);
        due.into_iter().for_each(Waker::wake);
    }

    /// Turns the wheel for ever.
    pub(crate) async fn run(&self) {
        let mut ticks = tokio::time::interval(self.tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.pass_over_standstill();
            self.advance();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use roost_hub::time::Timestamp;

    use super::*;

    #[derive(Debug)]
    struct ManualClock {
        start: Instant,
        millis: AtomicU64,
    }

    impl Clock for ManualClock {
        fn wall(&self) -> Timestamp {
            Timestamp(0)
        }
        fn now(&self) -> Instant {
            self.start + Duration::from_millis(self.millis.load(Ordering::Relaxed))
        }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an origin for a clock that stands still")]
    fn timers() -> (Arc<ManualClock>, Timers) {
        let clock = Arc::new(ManualClock { start: Instant::now(), millis: AtomicU64::new(0) });
        (Arc::clone(&clock), Timers::new(clock, Duration::from_millis(500)))
    }

    fn at(clock: &ManualClock, timers: &Timers, millis: u64) {
        clock.millis.store(millis, Ordering::Relaxed);
        timers.advance();
    }

    #[test]
    fn a_task_is_woken_soon_after_its_deadline_and_not_before() {
        let (clock, timers) = timers();
        let count = Arc::new(Count::default());
        let key = timers.register(Arc::clone(&count).into());
        assert_eq!(timers.schedule(key, Duration::from_millis(1_200)), Duration::from_millis(1_500));
        at(&clock, &timers, 1_400);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        at(&clock, &timers, 1_500);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        at(&clock, &timers, 900_000);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn time_in_which_the_program_stood_still_does_not_count() {
        let (clock, timers) = timers();
        let count = Arc::new(Count::default());
        let key = timers.register(Arc::clone(&count).into());
        at(&clock, &timers, 500);
        timers.schedule(key, Duration::from_millis(3_000));
        for millis in [1_000, 23_000, 23_500, 24_000] {
            clock.millis.store(millis, Ordering::Relaxed);
            timers.pass_over_standstill();
            timers.advance();
        }
        assert_eq!(timers.now(), Duration::from_millis(2_500));
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        at(&clock, &timers, 24_500);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_removed_task_is_not_woken_nor_kept() {
        let (clock, timers) = timers();
        let count = Arc::new(Count::default());
        let key = timers.register(Arc::clone(&count).into());
        timers.schedule(key, Duration::from_millis(700));
        timers.remove(key);
        assert_eq!(Arc::strong_count(&count), 1);
        let other = timers.register(Arc::new(Count::default()).into());
        assert_eq!(other.index, key.index);
        at(&clock, &timers, 5_000);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_far_deadline_wakes_once_a_turn() {
        let (clock, timers) = timers();
        let count = Arc::new(Count::default());
        let key = timers.register(Arc::clone(&count).into());
        let woken_at = timers.schedule(key, Duration::from_secs(100_000));
        assert_eq!(woken_at, Duration::from_millis(511 * 500));
        at(&clock, &timers, 511 * 500);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
