//! One request of a registered Spot: its events are taken while it is open.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use roost_hub::broker::PublishError;
use roost_hub::flight::FlightKind;
use roost_hub::message::Message;
use roost_hub::principal::Principal;
use roost_hub::storage::{Position, StorageError};
use roost_hub::topic::Topic;
use roost_wire::spot::{self, Body as Said, Change, Splitter};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep_until};

use super::downlink::{Answer, Recipient};
use super::readings::{Batch, event, own_topic};
use super::unit::Unit;
use super::who::Registered;
use super::{BODY_LENGTH_MAX, answer};
use crate::problem::Problem;
use crate::shared::Shared;

/// For how long hits are gathered before they are published together.
const GATHERED_FOR: Duration = Duration::from_millis(100);
/// How many bytes of readings are published together.
const BATCH_LENGTH_MAX: usize = 64 * 1024;
/// How many pieces of the body are taken in one go, if they are there.
const PIECES_MAX: usize = 64;
/// How many broken messages of one request are noted.
const NOTES_MAX: u32 = 3;

struct Stream<'a> {
    shared: &'a Arc<Shared>,
    /// As the path says it.
    serial: Arc<str>,
    unit: Arc<Unit>,
    principal: Arc<Principal>,
    topic: Topic,
    splitter: Splitter,
    batch: Batch,
    /// When what is gathered is published, at the latest.
    flush_at: Option<Instant>,
    /// Up to here everything of this request must be durable.
    position: Position,
    length: usize,
    broken: u32,
}

/// Takes a request and answers it at its end.
pub(super) async fn take(shared: &Arc<Shared>, found: Registered, body: Body) -> Response {
    let Some((unit, number)) = shared.spots.begin(shared, &found) else {
        return Problem::forbidden("Only a device's credential speaks for a Spot.").into_response();
    };
    let topic = own_topic(&unit.device, "telemetry");
    let mut stream = Stream {
        shared,
        serial: found.serial,
        unit,
        principal: found.principal,
        topic,
        splitter: Splitter::default(),
        batch: Batch::default(),
        flush_at: None,
        position: Position(0),
        length: 0,
        broken: 0,
    };
    let read = stream.read(body).await;
    let settled = stream.flush();
    match read.and(settled.map_err(Problem::from)) {
        Ok(()) => stream.answer(number).await.unwrap_or_else(IntoResponse::into_response),
        Err(problem) => problem.into_response(),
    }
}

impl Stream<'_> {
    async fn read(&mut self, mut body: Body) -> Result<(), Problem> {
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            if let Some(flush_at) = self.flush_at
                && flush_at != timer.deadline()
            {
                timer.as_mut().reset(flush_at);
            }
            let mut next = tokio::select! {
                frame = body.frame() => frame,
                () = timer.as_mut(), if self.flush_at.is_some() => {
                    self.flush()?;
                    continue;
                }
            };
            self.unit.heard(self.shared.timers.now());
            for _ in 0..PIECES_MAX {
                let Some(frame) = next else { return Ok(()) };
                let frame = frame.map_err(|error| {
                    tracing::debug!(%error, "a Spot's request broke off");
                    Problem::unreadable("The body ended before it was complete.")
                })?;
                if let Ok(data) = frame.into_data() {
                    self.take(&data)?;
                }
                // What is there already goes into the same message.
                match body.frame().now_or_never() {
                    Some(more) => next = more,
                    None => break,
                }
            }
        }
    }

    fn take(&mut self, data: &Bytes) -> Result<(), Problem> {
        self.length += data.len();
        if self.length > BODY_LENGTH_MAX {
            return Err(Problem::too_large(BODY_LENGTH_MAX));
        }
        let mut chunk: &[u8] = data;
        while let Some(message) = self.splitter.next(&mut chunk) {
            match message {
                Ok(bytes) => match spot::read(&bytes) {
                    Ok(message) => self.message(&message)?,
                    Err(error) => self.note_broken(&error),
                },
                Err(broken) => self.note_broken(&broken),
            }
        }
        Ok(())
    }

    /// One bad message is skipped and noted.
    fn note_broken(&mut self, error: &dyn std::fmt::Display) {
        self.broken += 1;
        self.shared.hub.counters.telemetry_refused_total.increment();
        if self.broken <= NOTES_MAX {
            self.note(format_args!("{error}"));
        }
    }

    fn note(&self, text: std::fmt::Arguments<'_>) {
        let hub = &self.shared.hub;
        hub.note(&self.unit.tenant, &self.unit.device, FlightKind::Refused, text, hub.now());
    }

    fn message(&mut self, message: &spot::Message<'_>) -> Result<(), StorageError> {
        match (&*message.resource, &message.body) {
            ("hit", _) => self.hit(message),
            ("presence", _) => self.presence(message),
            ("config", Said::Object(config)) => self.config(config),
            ("spot", Said::Object(about)) => self.about(message, about),
            _ => {
                let event = event(&self.unit.device, message, self.shared.hub.now());
                self.publish(event)
            }
        }
    }

    fn hit(&mut self, message: &spot::Message<'_>) -> Result<(), StorageError> {
        let now = self.shared.hub.now();
        let unit = Arc::clone(&self.unit);
        self.batch.take(message, &message.action, (&mut unit.state().times, None), now);
        self.flush_at.get_or_insert_with(|| Instant::now() + GATHERED_FOR);
        if self.batch.len() >= BATCH_LENGTH_MAX { self.flush() } else { Ok(()) }
    }

    /// An item that nobody announced is taken to have come first.
    fn presence(&mut self, message: &spot::Message<'_>) -> Result<(), StorageError> {
        let now = self.shared.hub.now();
        let unit = Arc::clone(&self.unit);
        let mut guard = unit.state();
        let state = &mut *guard;
        let name = (
            message.text("item_codetype").unwrap_or_default(),
            message.text("item_code").unwrap_or_default(),
        );
        let hold = message.integer("hold_delay_s").and_then(|hold| u64::try_from(hold).ok());
        let before = state.presences.count();
        let change = match &*message.action {
            "delete" => state.presences.gone(name),
            _ => state.presences.seen(name, hold),
        };
        if change == Change::Unannounced && message.action != "create" {
            let count = if message.action == "delete" { before + 1 } else { state.presences.count() };
            self.batch.take(message, "create", (&mut state.times, Some(count)), now);
        }
        let count = state.presences.count();
        self.batch.take(message, &message.action, (&mut state.times, Some(count)), now);
        drop(guard);
        // People wait for these; whatever else is gathered goes with them.
        self.flush_at = Some(Instant::now());
        Ok(())
    }

    fn config(&mut self, config: &Map<String, Value>) -> Result<(), StorageError> {
        self.report(Value::Object(config.clone()))?;
        let to = self.recipient();
        self.unit.state().downlink.confirm(to, config);
        Ok(())
    }

    fn about(&mut self, message: &spot::Message<'_>, about: &Map<String, Value>) -> Result<(), StorageError> {
        if let Some(said) = about.get("spot_id")
            && text_of(said) != *self.serial
        {
            // Somebody copied a configuration, perhaps: the path counts.
            self.note(format_args!("it calls itself Spot {said}, its path says {}", self.serial));
        }
        if message.action == "create" {
            self.unit.state().presences.restarted(self.shared.timers.now());
        }
        if about.len() == 1 && about.contains_key("online") {
            return Ok(());
        }
        self.report(json!({ "spot": about }))
    }

    fn report(&mut self, patch: Value) -> Result<(), StorageError> {
        use roost_hub::twin::ReportTwinError;
        let hub = &self.shared.hub;
        match hub.report(&self.unit.tenant, &self.unit.device, patch, hub.now()) {
            Ok(position) => self.position = self.position.max(position),
            Err(ReportTwinError::Storage(error)) => return Err(error),
            Err(error) => self.note(format_args!("configuration: {error}")),
        }
        Ok(())
    }

    fn recipient(&self) -> Recipient<'_> {
        Recipient { hub: &self.shared.hub, tenant: &self.unit.tenant, device: &self.unit.device }
    }

    /// Publishes what was gathered.
    fn flush(&mut self) -> Result<(), StorageError> {
        self.flush_at = None;
        if self.batch.is_empty() {
            return Ok(());
        }
        let now = self.shared.hub.now();
        let message = self.batch.message(&self.topic, &self.unit.device, now);
        self.publish(message)
    }

    fn publish(&mut self, message: Message) -> Result<(), StorageError> {
        match self.shared.hub.publish(&self.principal, message) {
            Ok(published) => self.position = self.position.max(published.position.unwrap_or_default()),
            Err(PublishError::Storage(error)) => return Err(error),
            Err(error) => self.note_broken(&error),
        }
        Ok(())
    }

    /// The commands, once everything that came is durable.
    async fn answer(&mut self, number: u64) -> Result<Response, Problem> {
        let (hub, now) = (&self.shared.hub, self.shared.timers.now());
        self.unit.heard(now);
        if self.splitter.is_within() {
            self.note(format_args!("a message was cut off by the end of its request"));
        }
        let mut said = Answer::default();
        if self.unit.is_newest(number) {
            let to = self.recipient();
            let written = self.unit.state().downlink.write(to, &mut said, now);
            written?;
        }
        hub.durable(self.position.max(said.position)).await?;
        self.unit.heard(self.shared.timers.now());
        Ok(answer(said.bytes))
    }
}

/// A serial number, which is a number over HTTP and a text by telnet.
fn text_of(said: &Value) -> Cow<'_, str> {
    said.as_str().map_or_else(|| Cow::Owned(said.to_string()), Cow::Borrowed)
}

/// Tells of items that a restarted Spot did not confirm in time.
pub(super) fn lapse(shared: &Shared, unit: &Unit, now: Duration) {
    let mut batch = Batch::default();
    let wall = shared.hub.now();
    let principal = {
        let mut guard = unit.state();
        let state = &mut *guard;
        let lapsed = state.presences.lapsed(now);
        let count = state.presences.count();
        for (kind, code) in &lapsed {
            batch.lapsed((kind, code), (&mut state.times, count), wall);
        }
        state.principal.clone()
    };
    let Some(principal) = principal.filter(|_| !batch.is_empty()) else { return };
    let message = batch.message(&own_topic(&unit.device, "telemetry"), &unit.device, wall);
    if let Err(error) = shared.hub.publish(&principal, message) {
        let text = format_args!("items that lapsed: {error}");
        shared.hub.note(&unit.tenant, &unit.device, FlightKind::Error, text, wall);
    }
}
