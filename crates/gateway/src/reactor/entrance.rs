//! What other threads reach of a reactor: its door for newcomers and the list of the woken.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use super::slots::Key;
use crate::adapters::mqtt::Connection;

/// See the module. Both lists are bounded by the number of admitted connections: each stands in each
/// of them once at most.
#[derive(Debug, Default)]
pub(super) struct Entrance {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    newcomers: Vec<Connection>,
    woken: Vec<Key>,
    /// Set while the reactor sleeps.
    task: Option<Waker>,
}

impl Entrance {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, change: impl FnOnce(&mut State)) {
        let task = {
            let mut state = self.state();
            change(&mut state);
            state.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }

    pub(super) fn enter(&self, connection: Connection) {
        self.add(|state| state.newcomers.push(connection));
    }

    pub(super) fn take_newcomers(&self) -> Vec<Connection> {
        std::mem::take(&mut self.state().newcomers)
    }

    /// Moves the woken to the empty `ready`, in the order in which they were woken.
    pub(super) fn take_woken(&self, ready: &mut Vec<Key>) {
        std::mem::swap(&mut self.state().woken, ready);
    }

    pub(super) fn has_none_woken(&self) -> bool {
        self.state().woken.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().newcomers.is_empty()
    }

    /// Says whom to wake from now on, unless there is something to do already.
    pub(super) fn sleep(&self, task: &Waker) -> bool {
        let mut state = self.state();
        let is_idle = state.newcomers.is_empty() && state.woken.is_empty();
        if is_idle && !state.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            state.task = Some(task.clone());
        }
        is_idle
    }
}

/// Wakes one connection of a reactor.
#[derive(Debug)]
pub(super) struct SlotWaker {
    pub(super) entrance: Arc<Entrance>,
    pub(super) key: Key,
    is_queued: AtomicBool,
}

impl SlotWaker {
    pub(super) fn new(entrance: Arc<Entrance>, key: Key) -> Self {
        Self { entrance, key, is_queued: AtomicBool::new(false) }
    }

    /// Its turn has come: whoever wakes it from now on means the next turn.
    pub(super) fn turn(&self) {
        self.is_queued.store(false, Ordering::Release);
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.entrance.add(|state| state.woken.push(self.key));
        }
    }
}
