//! What the broker saves at a checkpoint, and how it finds its way back after a restart: facts and
//! saved views first, then every record of the log behind them.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::hub::{Hub, OpenError};
use crate::id::TenantId;
use crate::message::QoS;
use crate::record::codec::{Reader, Writer};
use crate::record::{Given, InvalidRecord, Outcome, Record, SessionNumber};
use crate::storage::{Entry, Key, Position, StorageError, ViewChange};

use super::outbox::{Identifiers, Marks, Outbox, Queued};
use super::session::{Facts, Owner, Shared, Who};
use super::tree::{Condition, Known, Subscriber};
use super::{Takeovers, lock, retained, stored};

/// The reader of the log whose views are saved at checkpoints.
pub(crate) const READER: &str = "hub";
const SCAN_PAGE: usize = 1_000;
const READ_BYTES: usize = 4 * 1024 * 1024;

/// Calls `each` for every entry of a table.
pub(crate) fn for_each_entry(
    hub: &Hub,
    table: &str,
    mut each: impl FnMut(&Key, &Entry),
) -> Result<(), StorageError> {
    let prefix = format!("{table}/");
    let mut after = None;
    loop {
        let page = hub.store.table.scan(&prefix, after.as_ref(), SCAN_PAGE)?;
        for (key, entry) in &page {
            each(key, entry);
        }
        match page.into_iter().last() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}

type Sessions = BTreeMap<SessionNumber, Arc<Shared>>;

impl Hub {
    pub(crate) fn recover(self: &Arc<Self>) -> Result<(), OpenError> {
        let sessions = self.recover_sessions()?;
        self.recover_views(&sessions)?;
        self.replay(&sessions)?;
        self.recover_presence()?;
        self.recover_mailboxes()?;
        let now = self.now();
        for shared in sessions.values() {
            let (since, expiry) = {
                let mut facts = shared.facts();
                (*facts.disconnected_at.get_or_insert(now), facts.expiry())
            };
            // All of it, when the clock was set back since.
            self.schedule_expiry(shared, expiry.saturating_sub(now.since(since)));
        }
        self.recover_wills(&sessions)?;
        Ok(())
    }

    fn recover_sessions(&self) -> Result<Sessions, OpenError> {
        let mut sessions = Sessions::new();
        for_each_entry(self, "sessions", |key, entry| {
            let mut levels = key.levels().skip(1);
            let (Some(tenant), Some(client_id)) = (levels.next(), levels.next()) else { return };
            let (Ok(tenant), Ok(stored)) =
                (TenantId::parse(&tenant), serde_json::from_slice::<stored::StoredSession>(&entry.value))
            else {
                return;
            };
            let mut facts = Facts::new(Who::Stored(Box::new(stored.owner)), Takeovers::default());
            facts.is_stored = true;
            facts.set_expiry(Duration::from_secs(stored.expiry_seconds));
            facts.disconnected_at = stored.disconnected_at;
            let tenant = self.broker.tenant(&tenant);
            let number = SessionNumber(stored.number);
            let shared = Arc::new(Shared::new(number, Arc::clone(&tenant), Arc::from(client_id), facts));
            tenant.sessions().insert(Arc::clone(&shared.client_id), Arc::clone(&shared));
            sessions.insert(number, shared);
            self.counters.sessions.increment();
        })?;
        for_each_entry(self, "subscriptions", |key, entry| {
            let number = key.levels().nth(1).and_then(|text| text.parse().ok()).map(SessionNumber);
            let Some(shared) = number.and_then(|number| sessions.get(&number)) else { return };
            let Some((subscribed, options)) = stored::subscription(&entry.value) else { return };
            let subscriber = Subscriber { session: Arc::clone(shared), options };
            shared.tenant.tree().insert(&subscribed, subscriber, Known::New);
            shared.facts().subscriptions.push((subscribed, options));
            self.counters.subscriptions.increment();
        })?;
        for shared in sessions.values() {
            shared.facts().subscriptions.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        Ok(sessions)
    }

    fn recover_views(&self, sessions: &Sessions) -> Result<(), OpenError> {
        for_each_entry(self, "retained", |_, entry| {
            if let Some((tenant, kept)) = retained::decode(&entry.value) {
                self.restore_retained(&tenant, kept);
            }
        })?;
        let mut damaged = None;
        for_each_entry(self, "queues", |key, entry| {
            let number = key.levels().nth(1).and_then(|text| text.parse().ok()).map(SessionNumber);
            if let Some(shared) = number.and_then(|number| sessions.get(&number)) {
                let read = decode_queue(&entry.value, &mut shared.outbox());
                damaged = damaged.take().or(read.err().map(|error| format!("{key}: {error}")));
            }
        })?;
        match damaged {
            Some(text) => Err(StorageError::Damaged(text.into()).into()),
            None => Ok(()),
        }
    }

    fn replay(&self, sessions: &Sessions) -> Result<(), OpenError> {
        let mut position = self.store.table.view_position(READER)?;
        loop {
            let batch = match self.store.log.read_after(position, READ_BYTES) {
                Ok(batch) => batch,
                Err(StorageError::Damaged(_)) if position < self.store.log.end() => {
                    // The store has told where; what stands behind the damage is read all the same.
                    self.counters.damaged_positions_total.increment();
                    position.0 += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for (position, bytes) in &batch.records {
                let record = Record::decode(bytes)
                    .map_err(|source| OpenError::Record { position: *position, source })?;
                self.reapply(sessions, *position, record);
            }
            if batch.next <= position {
                return Ok(());
            }
            position = batch.next;
        }
    }

    fn reapply(&self, sessions: &Sessions, position: Position, record: Record) {
        match record {
            Record::Message { tenant, message, recipients, exactly_once, is_copy } => {
                for recipient in recipients {
                    let Some(shared) = sessions.get(&recipient.session) else { continue };
                    shared.outbox().restore(restored(position, &recipient, message.length()));
                }
                if let Some(shared) = exactly_once.and_then(|id| sessions.get(&id.session))
                    && let Some(id) = exactly_once
                {
                    shared.outbox().take_incoming(id.packet_id);
                }
                if is_copy {
                    return;
                }
                if let Some(telemetry) = &message.telemetry {
                    self.latest.update(&tenant, telemetry, message.time);
                }
                if message.retain {
                    let tenant = self.broker.tenant(&tenant);
                    self.retain(&tenant, &Arc::new(message), position);
                }
            }
            Record::Delivered { session, outcomes } => {
                let Some(shared) = sessions.get(&session) else { return };
                let mut outbox = shared.outbox();
                for (sequence, outcome) in outcomes {
                    outbox.restore_outcome(sequence, Condition::from(outcome == Outcome::Received));
                }
            }
            Record::Given { messages } => {
                for Given { position, length, recipient } in messages {
                    let Some(shared) = sessions.get(&recipient.session) else { continue };
                    shared.outbox().restore(restored(position, &recipient, length));
                }
            }
            Record::Released { id } => {
                if let Some(shared) = sessions.get(&id.session) {
                    shared.outbox().release_incoming(id.packet_id);
                }
            }
        }
    }

    /// A will whose owner was connected when the server died is sent after the restart.
    fn recover_wills(&self, sessions: &Sessions) -> Result<(), OpenError> {
        let mut wills = Vec::new();
        for_each_entry(self, "wills", |key, entry| {
            let mut levels = key.levels().skip(1);
            if let (Some(tenant), Some(client_id)) = (levels.next(), levels.next())
                && let (Ok(tenant), Some((owner, will))) =
                    (TenantId::parse(&tenant), stored::will(&entry.value))
            {
                wills.push((tenant, client_id, owner, will));
            }
        })?;
        for (tenant, client_id, owner, will) in wills {
            let tenant = self.broker.tenant(&tenant);
            let session = tenant.sessions().get(client_id.as_str()).cloned();
            let known = session.filter(|shared| sessions.contains_key(&shared.number));
            let shared = known.unwrap_or_else(|| {
                Arc::new(Shared::new(SessionNumber(0), tenant, Arc::from(client_id), gone(owner)))
            });
            let delay = {
                let mut facts = shared.facts();
                // MQTT 5.0 section 3.1.3.2.2: no later than the end of the session, which for some
                // came with the server's own.
                let delay = will.delay.min(facts.expiry());
                facts.will = Some(Box::new(will));
                delay
            };
            let due = super::Due::WillIsSent(Arc::clone(&shared), shared.connection());
            self.schedule_after(delay, due);
        }
        Ok(())
    }

    /// What the broker knows that is not a fact, as entries of views; `applied` was read before.
    pub(crate) fn broker_changes(&self) -> Vec<ViewChange> {
        let mut changes = Vec::new();
        for tenant in self.broker.all_tenants() {
            changes.extend(tenant.retained().take_changes(&tenant.id));
            let sessions: Vec<Arc<Shared>> = tenant.sessions().values().cloned().collect();
            for shared in sessions.into_iter().filter(|shared| shared.is_persistent()) {
                let mut outbox = shared.outbox();
                if !outbox.take_dirty() {
                    continue;
                }
                let stored = shared.number.0.to_string();
                let Ok(key) = Key::of("queues").level(&stored).key() else { continue };
                let value = Some(encode_queue(&outbox));
                changes.push(ViewChange { key, value });
            }
        }
        let ended = std::mem::take(&mut *lock(&self.broker.ended));
        changes.extend(ended.into_iter().filter_map(|number| {
            let key = Key::of("queues").level(&number.0.to_string()).key().ok()?;
            Some(ViewChange { key, value: None })
        }));
        changes
    }
}

impl Hub {
    /// The oldest place in the log that a session still needs.
    pub(crate) fn oldest_queued(&self) -> Position {
        let tenants = self.broker.all_tenants();
        let sessions = tenants.iter().flat_map(|tenant| {
            tenant.sessions().values().filter_map(|shared| shared.outbox().oldest()).collect::<Vec<_>>()
        });
        sessions.min().unwrap_or(Position(u64::MAX))
    }
}

/// The facts of a client that is gone for good and only left a will.
fn gone(owner: Owner) -> Facts {
    Facts::new(Who::Stored(Box::new(owner)), Takeovers::default())
}

fn restored(position: Position, recipient: &crate::record::Recipient, length: u32) -> Queued {
    let mut marks = Marks::default();
    if recipient.retain {
        marks.set(Marks::RETAIN);
    }
    if recipient.own_name {
        marks.set(Marks::OWN_NAME);
    }
    // It may have been sent before the crash; MQTT 5.0 [MQTT-3.3.1-1] wants a resend marked.
    marks.set(Marks::PERHAPS_SENT);
    Queued {
        sequence: recipient.sequence,
        position,
        message: None,
        qos: recipient.qos,
        marks,
        length,
        identifiers: Identifiers::new(&recipient.identifiers),
        command: None,
    }
}

fn encode_queue(outbox: &Outbox) -> Bytes {
    let mut bytes = Vec::new();
    let mut writer = Writer(&mut bytes);
    writer.number(outbox.last_sequence());
    let incoming: Vec<NonZeroU16> = outbox.incoming().collect();
    writer.length(incoming.len());
    for id in incoming {
        writer.number(u64::from(id.get()));
    }
    let owed: Vec<&Queued> = outbox.owed().filter(|queued| queued.position > Position(0)).collect();
    writer.length(owed.len());
    for queued in owed {
        writer.number(queued.sequence);
        writer.number(queued.position.0);
        writer.byte(queued.qos.number());
        writer.byte(queued.marks.bits());
        writer.number(u64::from(queued.length));
        writer.length(queued.identifiers.as_slice().len());
        for identifier in queued.identifiers.as_slice() {
            writer.number(u64::from(*identifier));
        }
    }
    bytes.into()
}

fn decode_queue(value: &Bytes, outbox: &mut Outbox) -> Result<(), InvalidRecord> {
    let mut reader = Reader::new(value);
    outbox.resume_after(reader.number("sequence")?);
    for _ in 0..reader.length("incoming")? {
        let id = u16::try_from(reader.number("packet id")?).ok().and_then(NonZeroU16::new);
        outbox.take_incoming(id.ok_or(InvalidRecord("packet id"))?);
    }
    for _ in 0..reader.length("queue")? {
        let sequence = reader.number("sequence")?;
        let position = Position(reader.number("position")?);
        let qos = QoS::from_number(reader.byte("qos")?).ok_or(InvalidRecord("qos"))?;
        let mut marks = Marks::from_bits(reader.byte("marks")?);
        marks.set(Marks::PERHAPS_SENT);
        let length = u32::try_from(reader.number("length")?).map_err(|_large| InvalidRecord("length"))?;
        let identifiers = (0..reader.length("identifiers")?)
            .map(|_| {
                u32::try_from(reader.number("identifier")?).map_err(|_large| InvalidRecord("identifier"))
            })
            .collect::<Result<Vec<u32>, _>>()?;
        let identifiers = Identifiers::new(&identifiers);
        outbox.restore(Queued {
            sequence,
            position,
            message: None,
            qos,
            marks,
            length,
            identifiers,
            command: None,
        });
    }
    Ok(())
}
