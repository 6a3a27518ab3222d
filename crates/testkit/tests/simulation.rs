//! Seeds of the simulation, and proof that its checks catch a store that lies.

use roost_testkit::simulation::{Lie, Tally, run};

/// How many seeds run; each takes a few milliseconds.
const SEEDS: u64 = 1_000;

#[test]
fn what_was_promised_holds_whatever_breaks() {
    if let Some(seed) = std::env::var("ROOST_SEED").ok().and_then(|text| text.parse().ok()) {
        println!("{:?}", run(seed, Lie::None).unwrap());
        return;
    }
    let mut all = Tally::default();
    for seed in 0..SEEDS {
        let tally = run(seed, Lie::None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        all.acknowledged += tally.acknowledged;
        all.received += tally.received;
        all.crashes += tally.crashes;
    }
    println!("{SEEDS} seeds: {all:?}, 0 lost, 0 QoS 2 duplicates");
    assert!(all.acknowledged > 20_000 && all.received > 40_000 && all.crashes > 1_000, "{all:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    assert_eq!(run(7, Lie::None), run(7, Lie::None));
}

fn is_caught(lie: Lie) -> bool {
    (0..20).any(|seed| run(seed, lie).is_err())
}

#[test]
fn a_store_that_says_durable_before_the_sync_is_caught() {
    assert!(is_caught(Lie::DurableBeforeSync));
}

#[test]
fn a_store_that_says_durable_and_writes_nothing_is_caught() {
    assert!(is_caught(Lie::DurableWithoutWrite));
}

#[test]
fn a_store_that_forgets_qos_2_packet_ids_is_caught() {
    assert!(is_caught(Lie::ExactlyOnceIdsNotSaved));
}
