//! Reading queued messages back from the log.

use std::sync::Arc;

use bytes::Bytes;

use crate::hub::Hub;
use crate::message::Message;
use crate::record::Record;
use crate::storage::Position;

use super::outbox::Queued;

/// How much of the log is read at once for each message that is missing, and in all.
const BYTES_EACH: usize = 512;
const BYTES_MAX: usize = 64 * 1024;
/// Reading in runs pays while at least one in so many of the records read is wanted.
const UNWANTED_MAX: usize = 8;

impl Hub {
    /// Reads a message back from the log.
    pub(crate) fn read_message(&self, position: Position) -> Option<Arc<Message>> {
        message(&self.store.log.read(position).ok().flatten()?)
    }

    /// Reads back what these are without: in runs, as a queue that grew in one go stands in the log.
    /// What cannot be read stays without.
    pub(super) fn read_back(&self, queued: &mut [Queued]) {
        let durable = self.store.log.durability().position();
        let mut missing: Vec<_> = queued.iter_mut().filter(|one| one.is_to_be_read()).collect();
        missing.sort_by_key(|one| one.position);
        let mut rest = missing.as_mut_slice();
        let mut is_dense = true;
        while let Some(first) = rest.first().map(|one| one.position) {
            let run = is_dense && rest.len() > 1 && first <= durable;
            let before = Position(first.0.saturating_sub(1));
            let bytes = (rest.len() * BYTES_EACH).min(BYTES_MAX);
            let batch =
                run.then(|| self.store.log.read_after(before, bytes).ok()).flatten().unwrap_or_default();
            let count = rest.iter().take_while(|one| one.position <= batch.next).count();
            let (these, later) = rest.split_at_mut(count.max(1));
            for one in these {
                let place = batch.records.binary_search_by_key(&one.position, |(position, _)| *position);
                one.message = match place.ok().and_then(|place| batch.records.get(place)) {
                    Some((_, bytes)) => message(bytes),
                    None => self.read_message(one.position),
                };
            }
            is_dense = count * UNWANTED_MAX >= batch.records.len();
            rest = later;
        }
    }
}

fn message(bytes: &Bytes) -> Option<Arc<Message>> {
    match Record::decode(bytes) {
        Ok(Record::Message { message, .. }) => Some(Arc::new(message)),
        _ => None,
    }
}
