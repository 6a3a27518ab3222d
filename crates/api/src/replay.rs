//! What was recorded, for a live feed that begins in the past.
//!
//! Recorded events come from the log until all that is durable was read. The end of the log at that
//! moment is the line: what stands before it is still read, what comes behind it comes live.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use roost_hub::broker::{Recorded, ReplayPlace, ReplayStart};
use roost_hub::id::TenantId;
use roost_hub::message::Message;
use roost_hub::storage::{Position, StorageError};
use roost_hub::time::Timestamp;
use roost_wire::telemetry::parse_since;
use serde_json::json;

use crate::live::written;
use crate::params::Params;
use crate::problem::Problem;
use crate::state::Api;

/// How much of the log is read at once for one feed, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// Where a feed begins, when that is in the past.
pub(crate) fn start(
    params: &mut Params,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Option<ReplayStart>, Problem> {
    let (since, after) = (params.take("since")?, params.take("after")?);
    // Who comes back goes on where it was, whatever it asked for at first.
    let seen = headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default().to_owned());
    if let Some(text) = seen.filter(|text| !text.is_empty()).or(after) {
        let rule = || Problem::invalid("`after` and Last-Event-ID are the `id` of an event, a number.");
        return Ok(Some(ReplayStart::After(Position(text.parse().map_err(|_no_number| rule())?))));
    }
    let Some(text) = since else { return Ok(None) };
    // `+` in a query is a space.
    let since = parse_since(&text.replace(' ', "+"), now.0).ok_or_else(|| {
        Problem::invalid(
            "`since`: write how long ago, as 30s, 10m, 2h or 7d, or a time as 2026-11-21T13:54:57.250Z.",
        )
    })?;
    Ok(Some(ReplayStart::Since(Timestamp(since))))
}

/// How far a feed is with what was recorded.
pub(crate) struct Replay {
    progress: Progress,
    /// Where the line is, once it is drawn.
    pub(crate) until: Option<Position>,
    ready: VecDeque<Bytes>,
}

#[derive(Clone, Copy)]
enum Progress {
    Asked(ReplayStart),
    Reading(ReplayPlace),
}

/// What a step gave.
pub(crate) enum Step {
    /// Messages, perhaps none.
    Read(Vec<Arc<Message>>),
    /// Everything up to here was given.
    Ended(Position),
    /// The log cannot be read.
    Failed,
}

impl Replay {
    pub(crate) fn new(start: ReplayStart) -> Self {
        Self { progress: Progress::Asked(start), until: None, ready: VecDeque::new() }
    }

    pub(crate) fn next_ready(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    pub(crate) fn add(&mut self, pieces: Vec<Bytes>) {
        self.ready.extend(pieces);
    }

    /// Reads on. Cancel safe: a step that was not awaited to its end is done again.
    pub(crate) async fn step(&mut self, api: &Api, tenant: &TenantId) -> Step {
        match self.try_step(api, tenant).await {
            Ok(step) => step,
            Err(_unreadable) => Step::Failed,
        }
    }

    async fn try_step(&mut self, api: &Api, tenant: &TenantId) -> Result<Step, StorageError> {
        let place = match self.progress {
            Progress::Reading(place) => place,
            Progress::Asked(start) => {
                let place = self.find(api, start).await?;
                if place.is_trimmed {
                    self.say_trimmed(place.after);
                }
                self.progress = Progress::Reading(place);
                place
            }
        };
        let durable = api.hub.durability().position();
        let end = self.until.unwrap_or(durable);
        if place.after >= end {
            match self.until {
                Some(until) => return Ok(Step::Ended(until)),
                None => self.until = Some(api.hub.store().log.end()),
            }
        }
        if let Some(until) = self.until {
            api.hub.durable(until).await?;
            if place.after >= until {
                return Ok(Step::Ended(until));
            }
        }
        let mut recorded = read(api, tenant, place.after).await?;
        if recorded.is_trimmed && !place.is_trimmed {
            self.say_trimmed(recorded.next);
        }
        let until = self.until;
        recorded.messages.retain(|message| {
            let is_live = until.is_some_and(|until| message.logged.get() > Some(&until));
            !is_live && message.time >= place.since
        });
        let place = ReplayPlace { after: recorded.next, is_trimmed: false, ..place };
        self.progress = Progress::Reading(place);
        Ok(Step::Read(recorded.messages))
    }

    async fn find(&self, api: &Api, start: ReplayStart) -> Result<ReplayPlace, StorageError> {
        let _turn = api.log_reads.acquire().await;
        let hub = Arc::clone(&api.hub);
        let found = tokio::task::spawn_blocking(move || hub.replay_place(start)).await;
        found.map_err(|_panicked| StorageError::Damaged("reading the log panicked".into()))
    }

    fn say_trimmed(&mut self, Position(after): Position) {
        self.ready.push_back(written("trimmed", &json!({ "after": after })));
    }
}

async fn read(api: &Api, tenant: &TenantId, after: Position) -> Result<Recorded, StorageError> {
    let _turn = api.log_reads.acquire().await;
    let (hub, tenant) = (Arc::clone(&api.hub), tenant.clone());
    let read = tokio::task::spawn_blocking(move || hub.read_recorded(&tenant, after, PIECE_BYTES)).await;
    read.unwrap_or_else(|_panicked| Err(StorageError::Damaged("reading the log panicked".into())))
}
