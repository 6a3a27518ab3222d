//! The hub itself: what it is made of, and how it opens and stays in order.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::broker::Broker;
use crate::changes::Watches;
use crate::checkpoint::Checkpoints;
use crate::count::Counters;
use crate::document::Documents;
use crate::flight::FlightRecorder;
use crate::frames::RawFrames;
use crate::inbox::Inbox;
use crate::latest::LatestValues;
use crate::limit::{Limit, OpenDoors, Refusals};
use crate::live::LiveFeed;
use crate::mailbox::Mailboxes;
use crate::pace::Paces;
use crate::presence::PresenceBoard;
use crate::registry::{Registry, SealKey, Throttle};
use crate::speech::Speech;
use crate::storage::{Durability, Position, RegistryChanges, StorageError, Store, WatchedTable};
use crate::stream::Streams;
use crate::time::{Clock, Timestamp};
use crate::topic::{InvalidTopic, Topic};
use crate::twin::Twins;

/// Where randomness comes from: the system's in `server`, seeded in `testkit`.
pub trait Rng: Send + Sync + Debug {
    /// Fills the buffer with bytes that nobody can guess.
    fn fill(&self, buffer: &mut [u8]);
}

/// The ports through which the hub reaches the world beside its store.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The randomness.
    pub rng: Arc<dyn Rng>,
    /// With which secrets are sealed that have to be known again.
    pub seal_key: SealKey,
}

/// What gives way when the queue of a persistent session is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionFull {
    /// The message that comes.
    RefuseNew,
    /// The message that waits longest and is not on its way yet.
    DropOldest,
}

/// The bounds that an operator may set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most messages that wait for one session.
    pub session_messages_max: usize,
    /// The most payload bytes that wait for one session.
    pub session_bytes_max: usize,
    /// What gives way when that many wait.
    pub session_full: SessionFull,
    /// The longest that a session is kept for an absent client.
    pub session_expiry_max: Duration,
    /// The most sessions of a tenant, connected or not.
    pub sessions_max: usize,
    /// The most connections of a tenant at once.
    pub tenant_connections_max: usize,
    /// The most subscriptions of a session.
    pub subscriptions_max: usize,
    /// The most retained messages of a tenant.
    pub retained_max: usize,
    /// The most bytes of the retained messages of a tenant: topics, payloads and properties.
    pub retained_bytes_max: u64,
    /// The longest topic or filter, in bytes; at most [`crate::topic::TOPIC_LENGTH_MAX`].
    pub topic_length_max: usize,
    /// The most levels of a topic or filter; at most [`crate::topic::TOPIC_LEVELS_MAX`].
    pub topic_levels_max: usize,
    /// Messages in a second from one device; 0 for any number.
    pub publish_rate_max: u32,
    /// Bytes of payload in a second from one device; 0 for any number.
    pub publish_bytes_max: u64,
    /// Malformed packets from one device before it is shut out; one is forgotten every 5 s.
    pub malformed_max: u32,
    /// For how long somebody who misbehaves is shut out; zero for never.
    pub shut_out: Duration,
    /// The most QoS 1 and 2 messages on their way to one client, whatever it offers.
    pub in_flight_max: u16,
    /// The most devices of a tenant.
    pub devices_max: usize,
    /// The most commands that wait for one device.
    pub commands_max: usize,
    /// How many positions behind the log's end a queued message may stay before it is copied.
    pub forward_after: u64,
    /// The most telemetry keys of one device.
    pub keys_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_messages_max: 100_000,
            session_bytes_max: 256 * 1024 * 1024,
            session_full: SessionFull::RefuseNew,
            session_expiry_max: Duration::from_secs(7 * 24 * 3600),
            sessions_max: 1_000_000,
            tenant_connections_max: 1_000_000,
            subscriptions_max: 10_000,
            retained_max: 1_000_000,
            retained_bytes_max: 256 * 1024 * 1024,
            topic_length_max: crate::topic::TOPIC_LENGTH_MAX,
            topic_levels_max: crate::topic::TOPIC_LEVELS_MAX,
            publish_rate_max: 200_000,
            publish_bytes_max: 256 * 1024 * 1024,
            malformed_max: 20,
            shut_out: Duration::from_secs(60),
            in_flight_max: 1_000,
            devices_max: 1_000_000,
            commands_max: 1_000,
            forward_after: 1_000_000,
            keys_max: 1_000,
        }
    }
}

/// What the server knows and decides. Shared by everything that serves somebody.
#[derive(Debug)]
pub struct Hub {
    pub(crate) store: Store,
    pub(crate) ports: Ports,
    pub(crate) settings: Settings,
    pub(crate) durability: Durability,
    pub(crate) registry: Registry,
    pub(crate) registry_changes: RegistryChanges,
    pub(crate) broker: Broker,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) twins: Twins,
    pub(crate) documents: Documents,
    pub(crate) watches: Watches,
    pub(crate) flight: FlightRecorder,
    pub(crate) frames: RawFrames,
    pub(crate) inbox: Inbox,
    pub(crate) presence: PresenceBoard,
    pub(crate) latest: LatestValues,
    pub(crate) paces: Paces,
    pub(crate) speech: Speech,
    pub(crate) streams: Streams,
    pub(crate) checkpoints: Mutex<Checkpoints>,
    /// Everything as it happens.
    pub live: LiveFeed,
    /// What `/metrics` shows.
    pub counters: Counters,
    /// How often each limit was met.
    pub refusals: Refusals,
    /// The open connections by door.
    pub doors: OpenDoors,
}

/// Why the hub could not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log holds something that this version cannot read.
    #[error("record {at} of the log: {source}", at = position.0)]
    Record {
        /// Where it stands.
        position: Position,
        /// What is wrong with it.
        source: crate::record::InvalidRecord,
    },
}

impl Hub {
    /// Opens the hub on a store: loads what it remembers and catches up with the log.
    ///
    /// # Errors
    /// [`OpenError`] names what could not be read.
    pub fn open(store: Store, ports: Ports, settings: Settings) -> Result<Arc<Self>, OpenError> {
        let durability = store.log.durability();
        let (table, registry_changes) = WatchedTable::new(store.table);
        let store = Store { table: Arc::new(table), ..store };
        let hub = Arc::new(Self {
            durability,
            registry: Registry::default(),
            registry_changes,
            broker: Broker::default(),
            mailboxes: Mailboxes::default(),
            twins: Twins::default(),
            documents: Documents::default(),
            watches: Watches::default(),
            flight: FlightRecorder::default(),
            frames: RawFrames::default(),
            inbox: Inbox::default(),
            presence: PresenceBoard::default(),
            latest: LatestValues::default(),
            paces: Paces::default(),
            speech: Speech::default(),
            streams: Streams::default(),
            checkpoints: Mutex::default(),
            live: LiveFeed::default(),
            counters: Counters::default(),
            refusals: Refusals::default(),
            doors: OpenDoors::default(),
            store,
            ports,
            settings,
        });
        hub.recover()?;
        Ok(hub)
    }

    /// The wall clock's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.ports.clock.wall()
    }

    /// The clocks.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.ports.clock
    }

    /// The store underneath.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The bounds in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads a topic that somebody said, within the bounds that an operator set.
    ///
    /// # Errors
    /// [`InvalidTopic`] says which rule is broken.
    pub fn topic(&self, text: &str) -> Result<Topic, InvalidTopic> {
        self.check_topic_bounds(text)?;
        Topic::parse(text)
    }

    /// Whether a topic or filter is within the bounds that an operator set.
    ///
    /// # Errors
    /// [`InvalidTopic::TooLong`], which is counted.
    pub fn check_topic_bounds(&self, text: &str) -> Result<(), InvalidTopic> {
        let Settings { topic_length_max, topic_levels_max, .. } = self.settings;
        let levels = || text.bytes().filter(|byte| *byte == b'/').count() + 1;
        if text.len() > topic_length_max || (text.len() >= topic_levels_max && levels() > topic_levels_max) {
            self.refusals.count(Limit::Topic);
            return Err(InvalidTopic::TooLong { bytes: topic_length_max, levels: topic_levels_max });
        }
        Ok(())
    }

    /// Bytes that nobody can guess.
    #[must_use]
    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.ports.rng.fill(&mut bytes);
        bytes
    }

    /// The back-off of failed log-ins, which every door asks first.
    #[must_use]
    pub fn throttle(&self) -> &Throttle {
        &self.registry.throttle
    }

    /// A watch on what is durable, for those who wait for many positions.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.durability.clone()
    }

    /// Resolves when everything up to `position` survives a power cut. Cancel safe.
    ///
    /// # Errors
    /// [`StorageError::Broken`] when that will never be so.
    pub async fn durable(&self, position: Position) -> Result<(), StorageError> {
        self.durability.clone().reached(position).await.map(drop)
    }
}
