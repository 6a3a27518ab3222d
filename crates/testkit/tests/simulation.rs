//! Seeds of the simulation on the store in memory, and proof that its checks catch a store that lies.

use roost_testkit::simulation::{Event, Lie, SimStore, check_liar, check_repeats, check_seeds};

#[test]
fn what_was_promised_holds_whatever_breaks() {
    check_seeds::<SimStore>(&[
        (Event::Acknowledged, 20_000),
        (Event::Received, 40_000),
        (Event::PowerCut, 1_000),
        (Event::Broken, 50),
        (Event::Refused, 500),
        (Event::ExactlyOnceAgain, 500),
        (Event::TakenOver, 500),
        (Event::Slept, 300),
        (Event::WillAfterLoss, 300),
        (Event::WillAfterCrash, 500),
        (Event::Resumed, 300),
        (Event::Expired, 80),
        (Event::RetainedAfterCrash, 2_000),
        (Event::Shared, 20_000),
        (Event::Checkpoint, 5_000),
        (Event::Trimmed, 500),
        (Event::CopiedForward, 500),
    ]);
}

#[test]
fn the_same_seed_is_the_same_run() {
    check_repeats::<SimStore>();
}

#[test]
fn a_store_that_says_durable_before_it_writes_is_caught() {
    check_liar::<SimStore>(Lie::DurableBeforeWrite);
}

#[test]
fn a_store_that_says_durable_before_the_sync_is_caught() {
    check_liar::<SimStore>(Lie::DurableBeforeSync);
}

#[test]
fn a_store_that_forgets_qos_2_packet_ids_is_caught() {
    check_liar::<SimStore>(Lie::ExactlyOnceIdsNotSaved);
}
