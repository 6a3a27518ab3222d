//! When the store is full, broken or slow.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use bytes::Bytes;
use roost_gateway::Settings;
use roost_hub::registry::SealKey;
use roost_hub::storage::memory::MemoryStore;
use roost_hub::storage::{Batch, Durability, Log, Position, Progress, StorageError, Store};
use roost_hub::{Hub, Ports, Rng};
use serde_json::json;
use tokio::sync::watch;

use crate::world::{JSON, LINES, World, answer, pieces, post, register, routes, token};

const OWN: &str = "/api/v1/me/telemetry";
const ALL: Position = Position(u64::MAX);

/// A log that fails, or is slow, when it is told to.
#[derive(Debug)]
struct Moody {
    inner: Arc<dyn Log>,
    failure: Mutex<Option<StorageError>>,
    progress: watch::Sender<Progress>,
}

impl Log for Moody {
    fn append(&self, records: &[&[u8]]) -> Result<Position, StorageError> {
        let failure = self.failure.lock().unwrap().clone();
        failure.map_or_else(|| self.inner.append(records), Err)
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
    fn is_full(&self) -> bool {
        false
    }
    fn trim(&self, position: Position) {
        self.inner.trim(position);
    }
}

impl Moody {
    fn fail(&self, error: StorageError) {
        *self.failure.lock().unwrap() = Some(error);
    }

    fn set_durable(&self, durable: Position) {
        self.progress.send_replace(Progress { durable, broken: None });
    }

    fn set_broken(&self) {
        let broken = Some(StorageError::Broken("the disk is gone".into()));
        self.progress.send_replace(Progress { durable: Position(0), broken });
    }
}

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Rng for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill_with(|| self.0.fetch_add(7, Ordering::Relaxed).to_le_bytes()[0]);
    }
}

async fn moody() -> (Arc<Moody>, Router) {
    let store = MemoryStore::store();
    let progress = watch::Sender::new(Progress { durable: ALL, broken: None });
    let log = Arc::new(Moody { inner: store.log, failure: Mutex::default(), progress });
    let store = Store { log: Arc::clone(&log) as Arc<dyn Log>, table: store.table };
    let clock = Arc::clone(World::new().hub().clock());
    let seal_key = SealKey::new([7; SealKey::LENGTH]);
    let ports = Ports { clock, rng: Arc::new(Counting::default()), seal_key };
    let hub = Hub::open(store, ports, roost_hub::Settings::default()).unwrap();
    hub.ensure_admin_token(crate::world::OWNER).await.unwrap();
    register(&hub, "a").await;
    (log, routes(hub, Settings::default()))
}

#[tokio::test]
async fn a_full_store_is_507_and_a_broken_one_503() {
    for (error, status) in [
        (StorageError::Full, 507),
        (StorageError::Broken("gone".into()), 503),
        (StorageError::TooLarge(9), 413),
    ] {
        let (log, router) = moody().await;
        log.fail(error);
        for (path, body) in [
            (OWN, r#"{"x":1}"#),
            ("/api/v1/publish", r#"{"topic":"me/telemetry","payload":{"x":1}}"#),
            ("/api/v1/publish", r#"{"topic":"t","payload":"x","retain":true}"#),
        ] {
            answer(router.clone(), post(&token("a"), path, JSON, body)).await.expect(status);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_before_it_is_durable() {
    for (path, content_type, body) in [
        (OWN, JSON, r#"{"x":1}"#),
        (OWN, LINES, "{\"x\":1}\n{\"x\":2}"),
        ("/api/v1/publish", JSON, r#"{"topic":"me/events/x","payload":"1"}"#),
    ] {
        let (log, router) = moody().await;
        log.set_durable(Position(0));
        let call = answer(router, post(&token("a"), path, content_type, body));
        let disk = async {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            log.set_durable(ALL);
        };
        let begun = tokio::time::Instant::now();
        let (answer, ()) = tokio::join!(call, disk);
        assert!(answer.status.is_success());
        assert!(begun.elapsed().as_secs() >= 1, "{path}");
    }
}

#[tokio::test]
async fn what_can_never_be_durable_is_never_said_to_be() {
    let (log, router) = moody().await;
    log.set_broken();
    answer(router.clone(), post(&token("a"), OWN, JSON, r#"{"x":1}"#)).await.problem(503, "unavailable");
    let problem =
        answer(router, post(&token("a"), OWN, LINES, "{\"x\":1}\n")).await.problem(503, "unavailable");
    assert_eq!((&problem["accepted"], &problem["last_line"]), (&json!(0), &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_read_only_so_far_ahead_of_the_disk() {
    let (log, router) = moody().await;
    let before = log.end();
    log.set_durable(before);
    let chunks = vec!["{\"x\":1}\n"; 5_000];
    let call = answer(router, post(&token("a"), OWN, LINES, pieces(chunks)));
    let disk = async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(log.end().0 - before.0, 1_000);
        log.set_durable(ALL);
    };
    let (answer, ()) = tokio::join!(call, disk);
    assert_eq!(answer.expect(200).json()["accepted"], 5_000);
}

#[tokio::test]
async fn a_store_that_fills_up_ends_a_stream_at_the_line_that_did_not_fit() {
    let (log, router) = moody().await;
    let filling = Arc::clone(&log);
    let chunks = (0..3).map(move |number| {
        if number == 2 {
            filling.fail(StorageError::Full);
        }
        format!("{{\"x\":{number}}}\n")
    });
    let problem = answer(router, post(&token("a"), OWN, LINES, pieces(chunks))).await.expect(507).json();
    assert_eq!((&problem["accepted"], &problem["last_line"]), (&json!(2), &json!(2)));
}
