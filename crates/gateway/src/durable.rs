//! Who waits for the log to become durable, all connections in one list.
//!
//! A watch of its own for each connection would wake all of them at every commit.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use roost_hub::storage::{Durability, Position, StorageError};

/// The connections that wait for a commit.
#[derive(Debug)]
pub(crate) struct DurableWaits {
    durability: Durability,
    waiting: Mutex<Vec<(Position, Waker)>>,
}

impl DurableWaits {
    pub(crate) fn new(durability: Durability) -> Self {
        Self { durability, waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(Position, Waker)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to here survives a power cut.
    pub(crate) fn position(&self) -> Position {
        self.durability.position()
    }

    /// Whether nothing will ever become durable again.
    pub(crate) fn is_broken(&self) -> bool {
        self.durability.broken().is_some()
    }

    /// Ready when the log is durable up to `position`, or never will be.
    pub(crate) fn poll_reached(
        &self,
        position: Position,
        context: &Context<'_>,
    ) -> Poll<Result<(), StorageError>> {
        if self.position() >= position {
            return Poll::Ready(Ok(()));
        }
        self.waiting().push((position, context.waker().clone()));
        // Looked at again, since the commit may have come in between; the entry then wakes for nothing.
        if self.position() >= position {
            return Poll::Ready(Ok(()));
        }
        match self.durability.broken() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }

    /// Wakes those who wait, at each commit, until the log is closed or broken.
    pub(crate) async fn run(&self) {
        let mut durability = self.durability.clone();
        let mut durable = durability.position();
        loop {
            let reached = durability.reached(Position(durable.0 + 1)).await;
            let until = *reached.as_ref().unwrap_or(&Position(u64::MAX));
            let ready: Vec<_> = self.waiting().extract_if(.., |(position, _)| *position <= until).collect();
            for (_, waker) in ready {
                waker.wake();
            }
            match reached {
                Ok(position) => durable = position,
                Err(_broken) => return,
            }
        }
    }
}
