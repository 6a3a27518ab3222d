//! The broker: who is connected, who subscribed to what, and how a message gets to them.

mod admit;
mod command;
mod connect;
mod device_topic;
mod forward;
mod hear;
mod inspect;
pub mod outbox;
pub mod publish;
mod read_back;
mod recorded;
pub(crate) mod recover;
mod replay;
mod retained;
mod run;
pub mod session;
mod share;
mod speak;
mod stored;
mod subscribe;
mod system_topics;
pub mod tree;
pub mod will;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::hub::Hub;
use crate::id::TenantId;
use crate::record::SessionNumber;
use crate::storage::Position;

pub use connect::{ConnectError, ConnectOptions, Connected, Start};
pub use hear::Interpret;
pub use inspect::{QueuedMessage, QueuedState, RetainedMessage, SessionQuery, SessionState};
pub use outbox::{CloseReason, Delivery, Identifiers, OnceDelivered, Outgoing};
pub use publish::{PublishError, Published};
pub use recorded::{Recorded, ReplayPlace, ReplayStart};
pub use replay::{ReadReplay, WantedReplay};
pub use session::{Acknowledged, Leave, Owner, Received, Released, Session};
pub use speak::{Spoken, Words};
pub use subscribe::{RetainHandling, SubscribeError, SubscribeRequest, Subscribing, Unsubscribing};
pub use tree::{Condition, SubscriptionFlags, SubscriptionOptions};
pub use will::Will;

use admit::{Takeovers, TenantConnections};
use publish::Deferred;
use replay::ReplayLine;
use retained::Retained;
use session::Shared;
use tree::SubscriptionTree;

/// Counts the connections that a session had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionNumber(pub(crate) u64);

/// One tenant's part of the broker.
#[derive(Debug)]
pub(crate) struct TenantBroker {
    pub(crate) id: TenantId,
    tree: Mutex<SubscriptionTree>,
    /// By client id, in an order that is the same in each run.
    sessions: Mutex<BTreeMap<Arc<str>, Arc<Shared>>>,
    retained: Mutex<Retained>,
    connections: TenantConnections,
    /// Rises when a subscription from the past begins, and again when publishers see it.
    replays_begun: AtomicU64,
}

impl TenantBroker {
    fn new(id: TenantId) -> Self {
        Self {
            id,
            tree: Mutex::default(),
            sessions: Mutex::default(),
            retained: Mutex::default(),
            connections: TenantConnections::default(),
            replays_begun: AtomicU64::new(0),
        }
    }

    /// Read before the tree and after the log: the same means that the tree showed all who are to
    /// be given what was not in the log before.
    fn replays_begun(&self) -> u64 {
        self.replays_begun.load(std::sync::atomic::Ordering::Acquire)
    }

    fn tree(&self) -> MutexGuard<'_, SubscriptionTree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Shared>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retained(&self) -> MutexGuard<'_, Retained> {
        self.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What falls due at a time.
#[derive(Debug)]
enum Due {
    /// The session of an absent client ends, unless it came back.
    SessionEnds(Arc<Shared>, ConnectionNumber),
    /// A delayed will is sent, unless its owner came back.
    WillIsSent(Arc<Shared>, ConnectionNumber),
}

/// Durable publishes between their append and their effects: a checkpoint must not step over them.
#[derive(Debug, Default)]
struct Underway {
    positions: BTreeSet<Position>,
}

/// The broker of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    tenants: Mutex<BTreeMap<TenantId, Arc<TenantBroker>>>,
    /// By the monotonic clock: when the wall clock jumps, no session ends by it.
    agenda: Mutex<BTreeMap<(Instant, u64), Due>>,
    agenda_number: AtomicU64,
    deferred: Mutex<VecDeque<Deferred>>,
    underway: Mutex<Underway>,
    interpreter: hear::Interpreter,
    /// Persistent sessions that ended since the last checkpoint.
    ended: Mutex<Vec<SessionNumber>>,
    numbers: Mutex<SessionNumbers>,
    replays: ReplayLine,
}

/// Session numbers are reserved in blocks, so that a restart never gives one twice.
#[derive(Debug, Default)]
struct SessionNumbers {
    next: u64,
    reserved: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Broker {
    /// The tenant's part, made at the first use.
    fn tenant(&self, id: &TenantId) -> Arc<TenantBroker> {
        let mut tenants = lock(&self.tenants);
        if let Some(tenant) = tenants.get(id) {
            return Arc::clone(tenant);
        }
        let tenant = Arc::new(TenantBroker::new(id.clone()));
        tenants.insert(id.clone(), Arc::clone(&tenant));
        tenant
    }

    fn all_tenants(&self) -> Vec<Arc<TenantBroker>> {
        lock(&self.tenants).values().cloned().collect()
    }

    /// What falls due until `now`.
    fn take_due(&self, now: Instant) -> Vec<Due> {
        let mut agenda = lock(&self.agenda);
        let later = agenda.split_off(&(now, u64::MAX));
        std::mem::replace(&mut *agenda, later).into_values().collect()
    }
}

/// How many session numbers are reserved at a time.
const SESSION_NUMBERS_RESERVED: u64 = 10_000;

impl Hub {
    /// What falls due so much later; never, if that is too late to write down.
    fn schedule_after(&self, wait: Duration, due: Due) {
        let Some(at) = self.ports.clock.now().checked_add(wait) else { return };
        let number = self.broker.agenda_number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        lock(&self.broker.agenda).insert((at, number), due);
    }

    fn next_session_number(&self) -> Result<SessionNumber, crate::storage::StorageError> {
        let mut numbers = lock(&self.broker.numbers);
        if numbers.next >= numbers.reserved {
            numbers.next = numbers.next.max(stored::reserved_numbers(self)?);
            numbers.reserved = numbers.next + SESSION_NUMBERS_RESERVED;
            stored::reserve_numbers(self, numbers.reserved)?;
        }
        numbers.next += 1;
        Ok(SessionNumber(numbers.next))
    }
}
