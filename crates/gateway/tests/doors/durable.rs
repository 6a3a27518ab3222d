//! Nothing is acknowledged before it is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use roost_gateway::Settings;
use roost_hub::mailbox::NewCommand;
use roost_hub::storage::memory::MemoryStore;
use roost_hub::storage::{Batch, Durability, Log, Position, Progress, StorageError, Store};
use roost_wire::mqtt::{Ack, Packet, QoS, ReasonCode, Version};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::common::{World, publish};

/// A log whose disk is as fast as the test says.
#[derive(Debug)]
struct SlowLog {
    inner: Arc<dyn Log>,
    progress: watch::Sender<Progress>,
    is_full: AtomicBool,
    is_stalled: AtomicBool,
}

impl Log for SlowLog {
    fn append(&self, records: &[&[u8]]) -> Result<Position, StorageError> {
        if Log::is_full(self) {
            return Err(StorageError::Full);
        }
        self.inner.append(records)
    }
    fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }
    fn durability(&self) -> Durability {
        Durability::new(self.progress.subscribe())
    }
    fn end(&self) -> Position {
        self.inner.end()
    }
    fn read_after(&self, after: Position, bytes_max: usize) -> Result<Batch, StorageError> {
        self.inner.read_after(after, bytes_max)
    }
    fn read(&self, position: Position) -> Result<Option<Bytes>, StorageError> {
        self.inner.read(position)
    }
    fn trim(&self, position: Position) {
        self.inner.trim(position);
    }
}

/// A world whose disk is fast until it is stalled. The task moves the disk.
async fn world() -> (Arc<SlowLog>, World, JoinSet<()>) {
    let memory = MemoryStore::store();
    let log = Arc::new(SlowLog {
        inner: memory.log,
        progress: watch::Sender::default(),
        is_full: AtomicBool::new(false),
        is_stalled: AtomicBool::new(false),
    });
    let disk = Arc::clone(&log);
    let mut running = JoinSet::new();
    running.spawn(async move {
        let mut durability = disk.inner.durability();
        let mut next = Position(1);
        while let Ok(reached) = durability.reached(next).await {
            next = Position(reached.0 + 1);
            disk.announce();
        }
    });
    let store = Store { log: Arc::clone(&log) as Arc<dyn Log>, table: memory.table };
    let world = World::on(store, Settings::default(), None).await;
    (log, world, running)
}

impl SlowLog {
    fn announce(&self) {
        if !self.is_stalled.load(Ordering::Relaxed) {
            self.progress.send_modify(|progress| progress.durable = self.inner.end());
        }
    }
    fn stall(&self) {
        self.is_stalled.store(true, Ordering::Relaxed);
    }
    fn sync(&self) {
        self.is_stalled.store(false, Ordering::Relaxed);
        self.announce();
    }
    fn fill(&self) {
        self.is_full.store(true, Ordering::Relaxed);
    }
    fn make_room(&self) {
        self.is_full.store(false, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn answers_wait_for_the_disk_and_keep_their_order() {
    let (log, world, _disk) = world().await;
    let mut device = world.connected(Version::V5).await;
    log.stall();
    device.publish(publish("me/telemetry", r#"{"a":1}"#, QoS::AtLeastOnce, 1)).await;
    device.publish(publish("nobody/listens", "x", QoS::AtLeastOnce, 2)).await;
    device.publish(publish("me/telemetry", r#"{"a":2}"#, QoS::AtLeastOnce, 3)).await;
    // A PINGRESP may overtake them, and shows that they were handled and not answered.
    device.ping().await;
    log.sync();
    for id in 1..=3 {
        let expected = if id == 2 { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
        let id = std::num::NonZeroU16::new(id).unwrap();
        device.expect_packet(Packet::PubAck(Ack::new(id, expected))).await;
    }
}

#[tokio::test]
async fn a_broken_log_acknowledges_nothing_and_ends_the_connection() {
    let (log, world, _disk) = world().await;
    let mut device = world.connected(Version::V5).await;
    log.stall();
    device.publish(publish("me/telemetry", r#"{"a":1}"#, QoS::AtLeastOnce, 1)).await;
    device.ping().await;
    let broken = Some(StorageError::Broken(Arc::from("EIO")));
    log.progress.send_modify(|progress| progress.broken = broken);
    assert_eq!(device.expect_reason().await, ReasonCode::ServerShuttingDown);
    assert_eq!(device.rest().await, b"");
}

#[tokio::test]
async fn a_full_store_refuses_in_each_versions_words_and_reading_goes_on() {
    let (log, world, _disk) = world().await;
    let mut modern = world.connected(Version::V5).await;
    log.fill();
    let reading = |id| publish("me/telemetry", r#"{"a":1}"#, QoS::AtLeastOnce, id);
    modern.publish(reading(1)).await;
    assert_eq!(modern.expect_reason().await, ReasonCode::QuotaExceeded);
    modern.ping().await;
    log.make_room();
    modern.publish(reading(1)).await;
    assert!(!modern.expect_reason().await.is_error());
    let mut old = world.connected(Version::V3).await;
    log.fill();
    old.publish(reading(1)).await;
    assert_eq!(old.rest().await, b"");
}

#[tokio::test]
async fn a_command_leaves_only_when_it_is_known_as_sent() {
    let (log, world, _disk) = world().await;
    let mut device = world.connected(Version::V5).await;
    device.subscribe("me/commands", QoS::AtLeastOnce).await;
    device.subscribe("t", QoS::AtMostOnce).await;
    let (tenant, id) = (crate::common::tenant(), crate::common::device());
    let new = NewCommand { name: "blink".to_owned(), ..NewCommand::default() };
    let before = log.inner.end();
    log.stall();
    let look = async {
        while log.inner.end() == before {
            tokio::task::yield_now().await;
        }
        // An answer to a PINGREQ shows that nothing came before it.
        device.ping().await;
        device.ping().await;
        log.sync();
        assert_eq!(device.expect_publish().await.0, "me/commands");
    };
    let (sent, ()) = tokio::join!(world.hub.send_command(&tenant, &id, new), look);
    sent.unwrap();
}
