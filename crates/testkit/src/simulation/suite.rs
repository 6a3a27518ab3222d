//! What every store must show in the simulation: that its seeds pass, that they are repeated exactly,
//! and that a store that lies is caught. It fails by panicking.

#![expect(clippy::missing_panics_doc, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test's count is what people look for")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::run;
use super::store::{Lie, SimulatedStore};
use super::tally::{Event, Tally};

/// How many seeds run.
const SEEDS: u64 = 1_000;
/// How many seeds a liar may survive.
const LIAR_SEEDS: u64 = 20;

/// Runs the seed of `ROOST_SEED`, or all of them; every event must have happened as often as `least`
/// says. Gives what happened.
pub fn check_seeds<S: SimulatedStore>(least: &[(Event, u64)]) {
    if let Some(seed) = std::env::var("ROOST_SEED").ok().and_then(|text| text.parse().ok()) {
        let tally = run::<S>(seed, Lie::None).unwrap_or_else(|error| panic!("{error}"));
        println!("{tally:?}");
        return;
    }
    let (next, all) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return;
            }
            let tally = run::<S>(seed, Lie::None).unwrap_or_else(|error| panic!("{error}"));
            all.lock().unwrap_or_else(std::sync::PoisonError::into_inner).join(&tally);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let all = all.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("{SEEDS} seeds: {all:?}, 0 lost, 0 QoS 2 duplicates");
    for (event, least) in least {
        let count = all.count(*event);
        assert!(
            count >= *least,
            "{event:?} happened {count} times in {SEEDS} seeds, {least} at least are wanted"
        );
    }
}

/// The same seed is the same run.
pub fn check_repeats<S: SimulatedStore>() {
    for seed in [7, 77, 777] {
        let [one, other] =
            [seed, seed].map(|seed| run::<S>(seed, Lie::None).unwrap_or_else(|error| panic!("{error}")));
        assert_eq!(one, other);
    }
}

/// A store that lies is caught within a few seeds, and for what it does to messages.
pub fn check_liar<S: SimulatedStore>(lie: Lie) {
    let caught: Vec<String> = (0..LIAR_SEEDS).filter_map(|seed| run::<S>(seed, lie).err()).collect();
    let of_messages = |text: &&String| text.contains("was acknowledged") || text.contains("QoS 2");
    assert!(caught.iter().any(|text| of_messages(&text)), "{lie:?}: {caught:#?}");
}
