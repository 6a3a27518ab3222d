//! A whole hub with its clients in one thread, driven by a seed: connections break at any moment,
//! clients resend, the store syncs when it pleases, its disk refuses, fills up and tears, the power
//! goes and comes back. At the end every promise is checked: nothing acknowledged is lost, QoS 2
//! arrives exactly once, order is kept, no message crosses from one tenant to another.

mod history;
mod memory;
mod mortal;
mod reader;
mod store;
mod suite;
mod tally;
mod writer;

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use roost_hub::broker::{ConnectOptions, Start};
use roost_hub::id::TenantId;
use roost_hub::message::QoS;
use roost_hub::principal::Principal;
use roost_hub::registry::Presented;
use roost_hub::storage::{Position, StorageError};
use roost_hub::topic::TopicFilter;
use roost_hub::{Hub, Settings};

use crate::world::{TestClock, TestRng, at_once, ports};
pub use memory::SimStore;
use mortal::{Testator, Visitor};
use reader::Reader;
pub use store::{Crash, DiskTally, Lie, SimulatedStore, Trouble, Work, lying};
pub use suite::{check_liar, check_repeats, check_seeds};
pub use tally::{Event, Tally};
use writer::Writer;

/// How many steps a seed runs.
const STEPS: usize = 400;
const TENANTS: [&str; 2] = ["left", "right"];
/// The numbers of those who share a subscription, above those of other readers.
const SHARING: std::ops::Range<usize> = 10..12;
/// Writers, readers, those who share, a testator and a visitor.
const CLIENTS_PER_TENANT: u64 = 8;
/// One in so many messages of a writer is retained.
const RETAINED_EVERY: u32 = 5;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many pieces of work a store may need until something is durable.
const WORK_MAX: usize = 100;

/// A small random number generator (xorshift64*): the same seed, the same run.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Any seed will do.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`, which is not 0.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or(0) % sides
    }
}

/// What is published: who, in which tenant, the how-manieth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mark {
    pub(crate) tenant: usize,
    pub(crate) writer: usize,
    pub(crate) number: u32,
}

impl Mark {
    /// The same for the same message.
    pub(crate) fn digest(self) -> u64 {
        (self.tenant as u64) << 48 | (self.writer as u64) << 32 | u64::from(self.number)
    }

    pub(crate) fn is_retained(self) -> bool {
        self.writer < 2 && self.number.is_multiple_of(RETAINED_EVERY)
    }

    pub(crate) fn topic(self) -> &'static str {
        match (self.writer, self.is_retained()) {
            (0, false) => "t/0",
            (1, false) => "t/1",
            (0, true) => "r/0",
            (1, true) => "r/1",
            _ => "t/will",
        }
    }

    fn payload(self) -> String {
        format!("{} {} {}", self.tenant, self.writer, self.number)
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        let mut parts = text.split(' ').map(str::parse::<u32>);
        let mut next = || parts.next()?.ok();
        let (tenant, writer, number) = (next()?, next()?, next()?);
        Some(Self { tenant: usize::try_from(tenant).ok()?, writer: usize::try_from(writer).ok()?, number })
    }
}

/// What all clients of a run share.
pub(crate) struct Stage {
    pub(crate) hub: Arc<Hub>,
    pub(crate) principals: Vec<Arc<Principal>>,
    pub(crate) tally: RefCell<Tally>,
    /// The first promise that was broken.
    failure: RefCell<Option<String>>,
}

impl Stage {
    pub(crate) fn count(&self, event: Event) {
        self.tally.borrow_mut().add(event, 1);
    }

    /// A promise was broken.
    pub(crate) fn fail(&self, text: String) {
        self.failure.borrow_mut().get_or_insert(text);
    }

    fn verdict(&self) -> Result<(), String> {
        self.failure.borrow().clone().map_or(Ok(()), Err)
    }

    pub(crate) fn note(&self, number: u64) {
        self.tally.borrow_mut().note(number);
    }

    /// Whether an answer that waits for `position` may be sent: what every adapter asks.
    pub(crate) fn is_durable(&self, position: Position) -> bool {
        self.hub.durability().position() >= position
    }

    pub(crate) fn options(&self, client_id: &str, receive_maximum: u16, expiry: Duration) -> ConnectOptions {
        ConnectOptions {
            client_id: Some(client_id.to_owned()),
            start: Start::Resume,
            expiry,
            will: None,
            receive_maximum,
            protocol: &"simulation",
            address: None,
        }
    }
}

/// One run.
struct Simulation<S> {
    dice: Dice,
    store: S,
    stage: Stage,
    clock: Arc<TestClock>,
    rng: Arc<TestRng>,
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    testators: Vec<Testator>,
    visitors: Vec<Visitor>,
    /// Publishes that a store without room refused, by hubs that are gone.
    refused: u64,
    /// The first record that was still there at the last checkpoint.
    log_begins: Position,
}

fn open(store: &impl SimulatedStore, clock: &Arc<TestClock>, rng: &Arc<TestRng>) -> Result<Arc<Hub>, String> {
    // Small, so that what sleeps is copied forward within a run.
    let settings = Settings { forward_after: 60, ..Settings::default() };
    Hub::open(store.store(), ports(clock, rng), settings).map_err(|error| format!("opening: {error}"))
}

/// What a future gives whose store works meanwhile.
fn with_store<T>(store: &impl SimulatedStore, future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    for _ in 0..WORK_MAX {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Ok(value);
        }
        [Work::Room, Work::Sync, Work::Tables].into_iter().for_each(|work| store.work(work));
    }
    Err("the store makes nothing durable".to_owned())
}

impl<S: SimulatedStore> Simulation<S> {
    fn new(seed: u64, lie: Lie) -> Result<Self, String> {
        let (clock, rng) = (TestClock::new(), Arc::default());
        let mut store = S::empty(lie)?;
        let hub = open(&store, &clock, &rng)?;
        let mut principals = Vec::new();
        for tenant in TENANTS {
            let id = TenantId::parse(tenant).map_err(|error| error.to_string())?;
            let made = with_store(&store, hub.create_tenant(id, None))?;
            let (_, secret) = made.map_err(|error| error.to_string())?;
            let principal = hub.authenticate(Presented::Token(secret.reveal()));
            principals.push(principal.map_err(|error| error.to_string())?);
        }
        let each = |tenant: usize| (0..2).map(move |number| (tenant, number));
        let places: Vec<(usize, usize)> = (0..TENANTS.len()).flat_map(each).collect();
        let writers = places.iter().map(|(tenant, number)| Writer::new(*tenant, *number)).collect();
        let mut readers: Vec<Reader> =
            places.iter().map(|(tenant, number)| Reader::new(*tenant, *number)).collect();
        let tenants = 0..TENANTS.len();
        let members = tenants.clone().flat_map(|tenant| SHARING.map(move |number| (tenant, number)));
        readers.extend(members.map(|(tenant, number)| Reader::sharing(tenant, number)));
        let testators = tenants.clone().map(Testator::new).collect();
        let visitors = tenants.map(Visitor::new).collect();
        let stage = Stage { hub, principals, tally: RefCell::default(), failure: RefCell::default() };
        readers.iter_mut().for_each(|reader| reader.connect(&stage));
        with_store(&store, stage.hub.durable(stage.hub.store().log.end()))?
            .map_err(|error| error.to_string())?;
        store.begin();
        let log_begins = Position(0);
        let dice = Dice::new(seed);
        Ok(Self {
            dice,
            store,
            stage,
            clock,
            rng,
            writers,
            readers,
            testators,
            visitors,
            refused: 0,
            log_begins,
        })
    }

    fn step(&mut self) -> Result<(), String> {
        let chance = self.dice.roll(1000);
        self.stage.note(chance as u64);
        match chance {
            0..830 => self.client_step(chance),
            830..890 => self.store.work(Work::Sync),
            890..920 => self.store.work(Work::Room),
            920..940 => self.store.work(Work::Tables),
            940..960 => self.checkpoint()?,
            960..968 => self.clock.advance(Duration::from_millis(700)),
            968..970 => self.clock.advance(Duration::from_secs(60)),
            970..992 => self.trouble(),
            992..996 => self.crash(Crash::Kill)?,
            _ => self.crash(Crash::PowerCut)?,
        }
        self.deliver_deferred();
        self.stage.hub.tick();
        if self.stage.hub.durability().broken().is_some() {
            self.stage.count(Event::Broken);
            self.crash(Crash::Kill)?;
        }
        let sessions = self.stage.hub.counters.sessions.value();
        if sessions > CLIENTS_PER_TENANT * TENANTS.len() as u64 {
            return Err(format!("there are {sessions} sessions"));
        }
        self.stage.verdict()
    }

    fn client_step(&mut self, chance: usize) {
        let Self { dice, stage, .. } = self;
        let (writer, reader) = (dice.roll(self.writers.len()), dice.roll(self.readers.len()));
        let tenant = dice.roll(TENANTS.len());
        let (Some(writer), Some(reader)) = (self.writers.get_mut(writer), self.readers.get_mut(reader))
        else {
            return;
        };
        let (Some(testator), Some(visitor)) = (self.testators.get_mut(tenant), self.visitors.get_mut(tenant))
        else {
            return;
        };
        match chance {
            0..240 => writer.publish(stage, dice),
            240..380 => writer.hear(stage),
            380..600 => reader.read(stage, dice),
            600..720 => reader.answer(stage),
            720..748 => writer.lose_connection(),
            748..766 => reader.lose_connection(),
            766..772 => reader.fall_asleep(),
            772..780 => reader.take_over(stage),
            780..796 => testator.connect(stage),
            796..804 => testator.lose_connection(stage, Event::WillAfterLoss),
            804..806 => testator.leave(),
            806..820 => visitor.connect(stage),
            _ => visitor.lose_connection(stage),
        }
    }

    /// As the housekeeping does it: QoS 2 goes on once it is durable. It ends with the store.
    fn deliver_deferred(&self) {
        let is_over = at_once(self.stage.hub.run_deferred()).is_ready();
        assert!(
            !is_over || self.stage.hub.durability().broken().is_some(),
            "it runs as long as the store does"
        );
    }

    /// As the housekeeping does it.
    fn checkpoint(&mut self) -> Result<(), String> {
        let log = self.store.store().log;
        let end = log.end();
        let needed = match self.stage.hub.checkpoint() {
            Ok(needed) => needed,
            Err(StorageError::Full | StorageError::Broken(_)) => return Ok(()),
            Err(error) => return Err(format!("a checkpoint: {error}")),
        };
        self.stage.tally.borrow_mut().add(Event::CopiedForward, log.end().0 - end.0);
        self.stage.count(Event::Checkpoint);
        log.trim(needed);
        let begins = log.read_after(Position(0), 1).map_err(|error| format!("reading the log: {error}"))?;
        if let Some((first, _)) = begins.records.first()
            && *first > self.log_begins
        {
            if self.log_begins > Position(0) {
                self.stage.count(Event::Trimmed);
            }
            self.log_begins = *first;
        }
        Ok(())
    }

    fn trouble(&mut self) {
        let number = 1 + self.dice.roll(30) as u64;
        let trouble = match self.dice.roll(8) {
            0 => Trouble::Error(number),
            1..3 => Trouble::Full(number),
            3 => Trouble::Room(self.dice.roll(20_000)),
            4 => Trouble::NoTables,
            _ => Trouble::Over,
        };
        self.store.trouble(trouble);
    }

    fn crash(&mut self, crash: Crash) -> Result<(), String> {
        self.stage.count(if crash == Crash::Kill { Event::Killed } else { Event::PowerCut });
        let seed = self.dice.roll(usize::MAX) as u64;
        let trouble = (self.dice.roll(4) == 0).then(|| Trouble::Error(1 + self.dice.roll(12) as u64));
        // Taken first: what the old hub does while it goes down happens on no disk.
        let found = self.store.crash(crash, seed, trouble);
        self.writers.iter_mut().for_each(Writer::lose_connection);
        self.readers.iter_mut().for_each(Reader::lose_connection);
        self.testators.iter_mut().for_each(|one| one.lose_connection(&self.stage, Event::WillAfterCrash));
        self.visitors.iter_mut().for_each(|one| one.crashed(&self.stage));
        self.refused += self.stage.hub.counters.publishes_refused_total.value();
        let opened = found.and_then(|()| open(&self.store, &self.clock, &self.rng));
        self.stage.hub = match opened {
            Ok(hub) => hub,
            Err(_refused) if trouble.is_some() => {
                self.stage.count(Event::OpenedTwice);
                self.store.crash(Crash::PowerCut, seed ^ 1, None)?;
                open(&self.store, &self.clock, &self.rng)?
            }
            Err(error) => return Err(error),
        };
        let found = self.check_retained()?;
        self.stage.tally.borrow_mut().add(Event::RetainedAfterCrash, found);
        Ok(())
    }

    /// Everybody comes back and everything that is owed is done.
    fn settle(&mut self) -> Result<(), String> {
        self.store.trouble(Trouble::Over);
        self.readers.iter_mut().for_each(Reader::wake_up);
        let (mut quiet, mut before) = (0, self.stage.tally.borrow().trace);
        while quiet < 8 {
            [Work::Room, Work::Sync, Work::Tables].into_iter().for_each(|work| self.store.work(work));
            if self.stage.hub.durability().broken().is_some() {
                self.crash(Crash::Kill)?;
                self.store.trouble(Trouble::Over);
            }
            self.deliver_deferred();
            // What a full disk put off is tried again.
            self.clock.advance(Duration::from_secs(1));
            self.stage.hub.tick();
            for writer in &mut self.writers {
                writer.resend_only(&self.stage);
                writer.hear(&self.stage);
            }
            for reader in &mut self.readers {
                reader.read(&self.stage, &mut self.dice);
                reader.answer(&self.stage);
            }
            let now = self.stage.tally.borrow().trace;
            self.stage.verdict()?;
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    fn check(&self) -> Result<Tally, String> {
        for reader in self.readers.iter().filter(|reader| !reader.is_sharing()) {
            self.check_reader(reader)?;
        }
        let shared = self.check_shared()?;
        self.check_retained()?;
        if let Some(writer) = self.writers.iter().find(|writer| !writer.is_settled()) {
            let (tenant, number) = (writer.tenant, writer.number);
            return Err(format!("writer {number} of tenant {tenant} waits for an answer for ever"));
        }
        let mut tally = *self.stage.tally.borrow();
        let DiskTally { operations, wear } = self.store.disk();
        tally.note(operations);
        tally.add(Event::Shared, shared);
        tally.add(Event::LostWrite, wear.lost_writes);
        tally.add(Event::TornWrite, wear.torn_writes);
        tally.add(Event::RefusedSync, wear.refused_syncs);
        tally.add(Event::DiskError, wear.errors);
        tally.add(Event::DiskFull, wear.full);
        Ok(tally)
    }

    /// Everything that was acknowledged came, and the wills of those who were lost.
    fn check_reader(&self, reader: &Reader) -> Result<(), String> {
        let number = reader.number;
        for writer in self.writers.iter().filter(|writer| writer.tenant == reader.tenant) {
            let mut marks = writer.acknowledged().iter().map(|(mark, _)| *mark);
            if let Some(mark) = marks.find(|mark| reader.history.count(*mark) == 0) {
                return Err(format!("{mark:?} was acknowledged and never arrived at reader {number}"));
            }
        }
        let refused = self.refused + self.stage.hub.counters.publishes_refused_total.value();
        if refused > 0 {
            // For want of room a will waits, and goes when its owner is back before there is some.
            return Ok(());
        }
        let mut owed = self.testators.get(reader.tenant).map(Testator::owed).unwrap_or_default().iter();
        match owed.find(|mark| reader.history.count(**mark) == 0) {
            Some(mark) => Err(format!("the will {mark:?} never arrived at reader {number}")),
            None => Ok(()),
        }
    }

    /// Of those who share, one got it. Gives how many messages that were.
    fn check_shared(&self) -> Result<u64, String> {
        let mut messages = 0;
        for writer in &self.writers {
            let members = |reader: &&Reader| reader.is_sharing() && reader.tenant == writer.tenant;
            for (mark, qos) in writer.acknowledged().iter().filter(|(mark, _)| !mark.is_retained()) {
                let count: usize =
                    self.readers.iter().filter(members).map(|reader| reader.history.count(*mark)).sum();
                if count == 0 || (*qos == QoS::ExactlyOnce && count > 1) {
                    return Err(format!("{mark:?} was acknowledged; those who share got it {count} times"));
                }
                messages += 1;
            }
        }
        Ok(messages)
    }

    /// What is retained is not older than what was acknowledged. Gives how many messages are there.
    fn check_retained(&self) -> Result<u64, String> {
        let mut found = 0;
        for writer in &self.writers {
            let retained =
                writer.acknowledged().iter().map(|(mark, _)| *mark).filter(|mark| mark.is_retained());
            let Some(mark) = retained.max_by_key(|mark| mark.number) else { continue };
            let tenant = self.stage.principals.get(writer.tenant).map(|principal| principal.tenant.clone());
            let filter = TopicFilter::parse(mark.topic()).ok();
            let (Some(tenant), Some(filter)) = (tenant, filter) else { continue };
            let kept = self.stage.hub.retained(&tenant, &filter);
            let kept = kept.first().and_then(|kept| Mark::read(&kept.message.payload));
            if kept.is_none_or(|kept| kept.tenant != mark.tenant || kept.number < mark.number) {
                return Err(format!("{mark:?} was acknowledged and retained; there is {kept:?}"));
            }
            found += 1;
        }
        Ok(found)
    }
}

/// Runs one seed with a store that lies as told.
///
/// # Errors
/// Which promise was broken, and how to run it again.
pub fn run<S: SimulatedStore>(seed: u64, lie: Lie) -> Result<Tally, String> {
    let run = || {
        let mut simulation = Simulation::<S>::new(seed, lie)?;
        for _ in 0..STEPS {
            simulation.step()?;
        }
        simulation.settle()?;
        simulation.check()
    };
    run().map_err(|error| format!("seed {seed}: {error}\nrun it again: ROOST_SEED={seed} {}", S::REPLAY))
}
