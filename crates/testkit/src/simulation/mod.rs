//! A whole hub with its clients in one thread, driven by a seed: connections break at any moment,
//! clients resend, the store syncs when it pleases, the power goes and comes back. At the end every
//! promise is checked: nothing acknowledged is lost, QoS 2 arrives exactly once, order is kept, no
//! message crosses from one tenant to another.

mod reader;
mod store;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use roost_hub::broker::{ConnectOptions, Start};
use roost_hub::id::TenantId;
use roost_hub::message::QoS;
use roost_hub::principal::Principal;
use roost_hub::registry::Presented;
use roost_hub::{Hub, Settings};

use crate::world::{TestClock, TestRng, at_once, ports};
use reader::Reader;
pub use store::{Lie, SimStore};
use writer::Writer;

/// How many steps a seed runs.
const STEPS: usize = 400;
const TENANTS: [&str; 2] = ["left", "right"];
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a run did, so that a run without any crash or message is seen to have checked nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that their writers know as acknowledged.
    pub acknowledged: usize,
    /// Deliveries that readers took.
    pub received: usize,
    /// Power cuts.
    pub crashes: usize,
}

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
    pub(crate) store: Arc<SimStore>,
    pub(crate) principals: Vec<Arc<Principal>>,
}

impl Stage {
    /// Whether an answer that waits for `position` may be sent: what every adapter asks.
    pub(crate) fn is_durable(&self, position: roost_hub::storage::Position) -> bool {
        self.hub.durability().position() >= position
    }

    pub(crate) fn options(&self, client_id: &str, receive_maximum: u16) -> ConnectOptions {
        ConnectOptions {
            client_id: Some(client_id.to_owned()),
            start: Start::Resume,
            expiry: WEEK,
            will: None,
            receive_maximum,
            protocol: "simulation",
            address: None,
        }
    }
}

/// One run.
struct Simulation {
    dice: Dice,
    stage: Stage,
    clock: Arc<TestClock>,
    rng: Arc<TestRng>,
    writers: Vec<Writer>,
    readers: Vec<Reader>,
    crashes: usize,
}

fn open(store: &Arc<SimStore>, clock: &Arc<TestClock>, rng: &Arc<TestRng>) -> Result<Arc<Hub>, String> {
    Hub::open(store.store(), ports(clock, rng), Settings::default())
        .map_err(|error| format!("opening: {error}"))
}

impl Simulation {
    fn new(seed: u64, lie: Lie) -> Result<Self, String> {
        let (clock, rng) = (TestClock::new(), Arc::default());
        let store = SimStore::new(lie);
        let hub = open(&store, &clock, &rng)?;
        let mut principals = Vec::new();
        for tenant in TENANTS {
            let id = TenantId::parse(tenant).map_err(|error| error.to_string())?;
            let made = at_once(hub.create_tenant(id, None));
            let std::task::Poll::Ready(Ok((_, secret))) = made else { return Err("no tenant".to_owned()) };
            let principal = hub.authenticate(Presented::Token(secret.reveal()));
            principals.push(principal.map_err(|error| error.to_string())?);
        }
        store.sync_on_demand();
        let each = |tenant: usize| (0..2).map(move |number| (tenant, number));
        let places: Vec<(usize, usize)> = (0..TENANTS.len()).flat_map(each).collect();
        let writers = places.iter().map(|(tenant, number)| Writer::new(*tenant, *number)).collect();
        let readers = places.iter().map(|(tenant, number)| Reader::new(*tenant, *number)).collect();
        let stage = Stage { hub, store, principals };
        Ok(Self { dice: Dice::new(seed), stage, clock, rng, writers, readers, crashes: 0 })
    }

    fn step(&mut self) -> Result<(), String> {
        let client = self.dice.roll(self.writers.len());
        let (Some(writer), Some(reader)) = (self.writers.get_mut(client), self.readers.get_mut(client))
        else {
            return Ok(());
        };
        match self.dice.roll(100) {
            0..30 => writer.publish(&self.stage, &mut self.dice),
            30..50 => writer.hear(&self.stage),
            50..70 => reader.read(&self.stage, &mut self.dice),
            70..80 => reader.answer(&self.stage),
            80..84 => writer.lose_connection(),
            84..88 => reader.lose_connection(),
            88..94 => self.stage.store.sync(),
            94..96 => self.stage.store.save_tables(),
            96..98 => drop(self.stage.hub.checkpoint().map_err(|error| error.to_string())?),
            98 => self.clock.advance(Duration::from_millis(700)),
            _ => self.crash()?,
        }
        self.deliver_deferred();
        self.stage.hub.tick();
        Ok(())
    }

    /// As the housekeeping does it: QoS 2 goes on once it is durable.
    fn deliver_deferred(&self) {
        if at_once(self.stage.hub.run_deferred()).is_ready() {
            unreachable!("it runs as long as the store does");
        }
    }

    fn crash(&mut self) -> Result<(), String> {
        self.crashes += 1;
        // Taken first: what the old hub does while it goes down happens on no disk.
        let store = self.stage.store.crashed();
        self.writers.iter_mut().for_each(Writer::lose_connection);
        self.readers.iter_mut().for_each(Reader::lose_connection);
        self.stage.hub = open(&store, &self.clock, &self.rng)?;
        self.stage.store = store;
        Ok(())
    }

    /// Everybody comes back and everything that is owed is done.
    fn settle(&mut self) {
        for _ in 0..400 {
            self.stage.store.sync();
            self.deliver_deferred();
            for writer in &mut self.writers {
                writer.resend_only(&self.stage);
                writer.hear(&self.stage);
            }
            for reader in &mut self.readers {
                reader.read(&self.stage, &mut self.dice);
                reader.answer(&self.stage);
            }
        }
    }

    fn check(&self) -> Result<Tally, String> {
        let mut tally = Tally { crashes: self.crashes, ..Tally::default() };
        for reader in &self.readers {
            tally.received += reader.received().len();
            self.check_reader(reader)?;
        }
        for writer in &self.writers {
            tally.acknowledged += writer.acknowledged().len();
            if !writer.is_settled() {
                let (tenant, number) = (writer.tenant, writer.number);
                return Err(format!("writer {number} of tenant {tenant} waits for an answer for ever"));
            }
        }
        Ok(tally)
    }

    fn check_reader(&self, reader: &Reader) -> Result<(), String> {
        let mut counts: HashMap<Mark, usize> = HashMap::new();
        let mut last: HashMap<(usize, QoSOrder), u32> = HashMap::new();
        for (mark, qos) in reader.received() {
            if mark.tenant != reader.tenant {
                return Err(format!("{mark:?} crossed into tenant {}", reader.tenant));
            }
            let count = counts.entry(*mark).or_default();
            *count += 1;
            if *count > 1 {
                continue;
            }
            let newest = last.entry((mark.writer, QoSOrder(*qos))).or_default();
            if mark.number < *newest {
                return Err(format!("{mark:?} came behind {newest}"));
            }
            *newest = mark.number;
        }
        for writer in self.writers.iter().filter(|writer| writer.tenant == reader.tenant) {
            for (mark, qos) in writer.acknowledged() {
                let count = counts.get(mark).copied().unwrap_or(0);
                if count == 0 {
                    let number = reader.number;
                    return Err(format!("{mark:?} was acknowledged and never arrived at reader {number}"));
                }
                if *qos == QoS::ExactlyOnce && count > 1 {
                    return Err(format!("{mark:?} has QoS 2 and arrived {count} times"));
                }
            }
        }
        Ok(())
    }
}

/// Order is promised among messages of one quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct QoSOrder(QoS);

/// Runs one seed with a store that lies as told.
///
/// # Errors
/// Which promise was broken, and how to run it again.
pub fn run(seed: u64, lie: Lie) -> Result<Tally, String> {
    let run = || {
        let mut simulation = Simulation::new(seed, lie)?;
        for reader in &mut simulation.readers {
            reader.connect(&simulation.stage);
        }
        simulation.stage.store.sync();
        for _ in 0..STEPS {
            simulation.step()?;
        }
        simulation.settle();
        simulation.check()
    };
    run().map_err(|error| {
        format!("{error}\nrun it again: ROOST_SEED={seed} cargo test -p roost-testkit --test simulation")
    })
}
