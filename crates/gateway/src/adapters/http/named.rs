//! Streams that can be sent again: an `Idempotency-Key` is a stream's name, and what was stored
//! under it is passed over. Who comes later goes on; the older request, whose connection may have
//! died unnoticed, gives way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use roost_hub::stream::{NamedStream, stream_id};
use tokio::sync::{OwnedMutexGuard, watch};

use super::Ingest;
use super::caller::Caller;
use crate::problem::Problem;

/// Who is at one stream.
#[derive(Debug, Default)]
struct Turn {
    /// Held while a request takes lines.
    lock: Arc<tokio::sync::Mutex<()>>,
    /// How many requests came; the newest may go on.
    came: watch::Sender<u64>,
}

/// The streams with a name that are open.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<String, Arc<Turn>>>);

/// A stream with a name, and the right to go on with it.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) stream: NamedStream,
    number: u64,
    came: watch::Receiver<u64>,
    _held: OwnedMutexGuard<()>,
}

impl Turns {
    fn open(&self) -> MutexGuard<'_, HashMap<String, Arc<Turn>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, id: &str) -> Arc<Turn> {
        let mut open = self.open();
        // Whoever is at a stream, or waits for it, has a share of its turn.
        open.retain(|_, turn| Arc::strong_count(turn) > 1 || turn.came.receiver_count() > 0);
        Arc::clone(open.entry(id.to_owned()).or_default())
    }
}

impl Named {
    /// The stream that the request's key names, once nobody else is at it; `None` without a key.
    pub(super) async fn of(
        headers: &HeaderMap,
        (ingest, caller): (&Ingest, &Caller),
        device: &roost_hub::id::DeviceId,
    ) -> Result<Option<Self>, Problem> {
        let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
        let key = key.to_str().map_err(|_not_ascii| Problem::invalid("`Idempotency-Key` is printable."))?;
        let id = stream_id(&caller.0, device, key);
        let turn = ingest.turns.of(&id);
        let mut number = 0;
        turn.came.send_modify(|came| {
            *came += 1;
            number = *came;
        });
        let came = turn.came.subscribe();
        let held = Arc::clone(&turn.lock).lock_owned().await;
        Ok(Some(Self { stream: ingest.hub.named_stream(id)?, number, came, _held: held }))
    }

    /// Resolves when a later request wants to go on. Cancel safe.
    pub(super) async fn taken_over(&mut self) {
        let own = self.number;
        if self.came.wait_for(|newest| *newest > own).await.is_err() {
            // Nobody can come any more.
            std::future::pending().await
        }
    }
}
