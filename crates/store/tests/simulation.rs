//! The simulation of the testkit on the store on disk: whole hubs over a disk that tears, loses and
//! refuses each write and sync.

use std::sync::Arc;

use roost_hub::storage::Store;
use roost_store::{OpenError, Options, Stepped};
use roost_testkit::sim_disk::{Fault, SimDisk};
use roost_testkit::simulation::{
    Crash, DiskTally, Event, Lie, SimulatedStore, Trouble, Work, check_liar, check_repeats, check_seeds,
    lying,
};

/// Small segments, so that some are trimmed within a run.
const OPTIONS: Options = Options { segment_bytes: 4 * 1024, ballast_bytes: 4096 };

struct OnDisk {
    disk: SimDisk,
    /// `None` when it could not be opened.
    open: Option<(Stepped, Store)>,
    lie: Lie,
    /// Of the disks before this one.
    operations: u64,
}

impl OnDisk {
    fn open(&mut self) -> Result<(), OpenError> {
        let stepped = Stepped::open(Arc::new(self.disk.clone()), OPTIONS)?;
        let store = lying(stepped.store(), self.lie);
        self.open = Some((stepped, store));
        Ok(())
    }

    fn plan(&self, trouble: Trouble) {
        match trouble {
            Trouble::Error(number) => self.disk.plan(number, Fault::Error),
            Trouble::Full(number) => self.disk.plan(number, Fault::Full),
            Trouble::NoTables => self.disk.set_capacity(Some(0)),
            Trouble::Room(bytes) => self.disk.set_capacity(Some(self.disk.allocated() + bytes)),
            Trouble::Over => {
                self.disk.set_capacity(None);
                self.disk.forget_plan();
            }
        }
    }
}

impl SimulatedStore for OnDisk {
    const REPLAY: &'static str = "cargo test -p roost-store --test simulation";

    fn empty(lie: Lie) -> Result<Self, String> {
        let mut empty = Self { disk: SimDisk::new(), open: None, lie, operations: 0 };
        empty.open().map_err(|error| error.to_string())?;
        Ok(empty)
    }

    fn begin(&mut self) {
        if self.lie == Lie::DurableBeforeSync {
            // Were the tables lost too, it could not even be opened.
            self.disk.begin_lying("log/");
        }
    }

    fn store(&self) -> Store {
        self.open.as_ref().map(|(_, store)| store.clone()).expect("it was opened")
    }

    fn work(&self, work: Work) {
        let Some((stepped, _)) = &self.open else { return };
        match work {
            Work::Sync => stepped.write(),
            Work::Room => stepped.keep_room(),
            Work::Tables => drop(stepped.save_tables()),
        }
    }

    fn trouble(&self, trouble: Trouble) {
        self.plan(trouble);
    }

    fn crash(&mut self, crash: Crash, seed: u64, trouble: Option<Trouble>) -> Result<(), String> {
        let found = match crash {
            Crash::PowerCut => self.disk.after_power_cut(seed),
            Crash::Kill => self.disk.after_kill(),
        };
        self.operations += self.disk.operations();
        // What the old one still does happens on no disk.
        self.disk.cut_power();
        self.disk = found;
        if let Some(trouble) = trouble {
            self.plan(trouble);
        }
        self.open().map_err(|error| format!("opening the store: {error}"))?;
        match self.open.as_ref().map(|(stepped, _)| stepped.damage()).unwrap_or_default().first() {
            Some(damage) if self.lie == Lie::None => {
                Err(format!("damage is reported where there was none: {damage:?}"))
            }
            _ => Ok(()),
        }
    }

    fn disk(&self) -> DiskTally {
        let operations = self.operations + self.disk.operations();
        DiskTally { operations, wear: self.disk.wear() }
    }
}

#[test]
fn what_was_promised_holds_whatever_breaks_on_a_disk_that_fails() {
    check_seeds::<OnDisk>(&[
        (Event::Acknowledged, 20_000),
        (Event::Received, 40_000),
        (Event::PowerCut, 1_000),
        (Event::Killed, 1_000),
        (Event::Broken, 50),
        (Event::OpenedTwice, 50),
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
        (Event::Trimmed, 50),
        (Event::CopiedForward, 500),
        (Event::LostWrite, 400),
        (Event::TornWrite, 400),
        (Event::RefusedSync, 50),
        (Event::DiskError, 100),
        (Event::DiskFull, 100),
    ]);
}

#[test]
fn the_same_seed_is_the_same_run() {
    check_repeats::<OnDisk>();
}

#[test]
fn a_store_that_says_durable_before_it_writes_is_caught() {
    check_liar::<OnDisk>(Lie::DurableBeforeWrite);
}

#[test]
fn a_disk_that_says_synced_and_does_nothing_is_caught() {
    check_liar::<OnDisk>(Lie::DurableBeforeSync);
}

#[test]
fn a_store_that_forgets_qos_2_packet_ids_is_caught() {
    check_liar::<OnDisk>(Lie::ExactlyOnceIdsNotSaved);
}
