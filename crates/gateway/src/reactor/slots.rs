//! Where a reactor keeps its connections.

use std::sync::Arc;
use std::task::{Wake, Waker};

use mio::Token;

use super::entrance::{Entrance, SlotWaker};
use super::socket::Readiness;
use crate::adapters::mqtt::Connection;
use crate::stream::Stream;

/// Which slot, and its how many-eth use: late reports of an earlier use mean nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl From<Key> for Token {
    fn from(key: Key) -> Self {
        let bits = u64::from(key.generation) << 32 | u64::from(key.index);
        Self(usize::try_from(bits).unwrap_or(usize::MAX))
    }
}

impl From<Token> for Key {
    fn from(token: Token) -> Self {
        let bits = token.0 as u64;
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default();
        Self { index: half(bits), generation: half(bits >> 32) }
    }
}

#[derive(Debug)]
struct Slot {
    connection: Option<Box<Connection>>,
    wakes: Arc<SlotWaker>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// With the generation of each.
    slots: Vec<(u32, Option<Slot>)>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A place for a connection, and who wakes it.
    pub(super) fn reserve(&mut self, entrance: &Arc<Entrance>) -> (Key, Waker) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = self.slots.get_mut(index as usize);
        let generation = slot.as_ref().map_or(0, |(generation, _)| *generation);
        let key = Key { index, generation };
        let wakes = Arc::new(SlotWaker::new(Arc::clone(entrance), key));
        if let Some((_, slot)) = slot {
            *slot = Some(Slot { connection: None, wakes: Arc::clone(&wakes) });
        }
        (key, Waker::from(wakes))
    }

    fn get(&mut self, key: Key) -> Option<&mut Slot> {
        let (generation, slot) = self.slots.get_mut(key.index as usize)?;
        slot.as_mut().filter(|_| *generation == key.generation)
    }

    pub(super) fn fill(&mut self, key: Key, connection: Box<Connection>) {
        if let Some(slot) = self.get(key) {
            slot.connection = Some(connection);
        }
    }

    /// A socket was reported: its connection is to be served.
    pub(super) fn note(&mut self, key: Key, readiness: Readiness) {
        let Some(slot) = self.get(key) else { return };
        if let Some(Stream::Socket(socket)) = slot.connection.as_mut().map(|found| found.stream_mut()) {
            socket.readiness.add(readiness);
        }
        slot.wakes.wake_by_ref();
    }

    /// The connection whose turn it is.
    pub(super) fn turn(&mut self, key: Key) -> Option<(&mut Connection, Waker)> {
        let Slot { connection, wakes } = self.get(key)?;
        wakes.turn();
        Some((connection.as_deref_mut()?, Waker::from(Arc::clone(wakes))))
    }

    /// Takes the connection out; its place may be used again.
    pub(super) fn remove(&mut self, key: Key) -> Option<Box<Connection>> {
        let (generation, slot) = self.slots.get_mut(key.index as usize)?;
        if *generation != key.generation {
            return None;
        }
        let removed = slot.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(key.index);
        removed.connection
    }

    /// Takes all of them out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Box<Connection>> + '_ {
        self.free.clear();
        self.slots.drain(..).filter_map(|(_, slot)| slot?.connection)
    }
}
