//! Points written as lines: what can be taken is, and the rest is named, as that server does it.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use roost_hub::Hub;
use roost_hub::broker::PublishError;
use roost_hub::flight::FlightKind;
use roost_hub::id::DeviceId;
use roost_hub::principal::Principal;
use roost_hub::reading::Reading;
use roost_hub::storage::Position;
use roost_hub::time::Timestamp;
use roost_wire::telemetry::{self, Limits, Point, Precision};
use serde_json::{Map, Value, json};

use super::answer::{Failure, Version};
use super::who::{Names, Whose, recognise};
use crate::adapters::dialect::mapping;
use crate::adapters::http::body;
use crate::adapters::readings::reading;
use crate::adapters::said::too_fast;
use crate::http::credentials::of_query;
use crate::problem::Problem;
use crate::shared::Shared;

/// How many readings go into one message.
const READINGS_MAX: usize = 1_000;
/// How many refused lines are named.
const NAMED_MAX: usize = 10;

pub(super) async fn take(
    shared: &Arc<Shared>,
    request: Request,
    version: Version,
) -> Result<Response, Failure> {
    let failure = |problem: Problem| Failure::of(version, problem);
    let (head, body) = request.into_parts();
    let principal = recognise(shared, &head).await.map_err(failure)?;
    let precision = match of_query(head.uri.query().unwrap_or_default(), "precision").as_deref() {
        None | Some("") => Precision::Nanoseconds,
        Some(name) => Precision::from_name(name)
            .ok_or_else(|| failure(Problem::unreadable("`precision` is ns, us, ms, s, m or h.")))?,
    };
    let body = body::read(Request::from_parts(head, body), shared.settings.body_length_max).await;
    let hub = &*shared.hub;
    let mut write = Write {
        hub,
        principal: &principal,
        now: hub.now(),
        position: Position(0),
        refused: Refused::default(),
    };
    let batches = write.read(&body.map_err(failure)?, precision).map_err(failure)?;
    for (device, readings) in batches {
        write.publish(&device, readings).await.map_err(failure)?;
    }
    hub.durable(write.position).await.map_err(|error| failure(error.into()))?;
    match write.refused.told() {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(detail) => {
            hub.counters.telemetry_refused_total.increment();
            if let Some(device) = principal.device() {
                hub.note(&principal.tenant, device, FlightKind::Refused, format_args!("{detail}"), hub.now());
            }
            Err(failure(Problem::unreadable(detail)))
        }
    }
}

/// What was not taken.
#[derive(Default)]
struct Refused {
    lines: Vec<String>,
    count: usize,
}

impl Refused {
    fn add(&mut self, text: String) {
        self.count += 1;
        if self.lines.len() < NAMED_MAX {
            self.lines.push(text);
        }
    }

    fn told(&self) -> Option<String> {
        let lines = self.lines.join("; ");
        (self.count > 0).then(|| format!("partial write: {lines} dropped={}", self.count))
    }
}

type Batches = Vec<(DeviceId, Vec<Reading>)>;

/// One request.
struct Write<'a> {
    hub: &'a Hub,
    principal: &'a Principal,
    now: Timestamp,
    position: Position,
    refused: Refused,
}

impl Write<'_> {
    /// The readings of each device, in the order in which they came.
    fn read(&mut self, body: &Bytes, precision: Precision) -> Result<Batches, Problem> {
        let names = std::cell::RefCell::new(Names::new(self.hub, self.principal)?);
        let naming = |tag: &str, value: &str| names.borrow().is_name(tag, value);
        let lines = telemetry::lines(body, precision, &Limits::default(), &naming);
        let lines = lines.map_err(|error| Problem::unreadable(format!("The body {error}.")))?;
        let mut batches: Batches = Vec::new();
        for (number, line) in lines {
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    self.refused.add(format!("unable to parse line {number}: {error}"));
                    continue;
                }
            };
            let sample = || sample(&line.points);
            match names.borrow_mut().whose(line.device.as_deref(), sample)? {
                Whose::Waiting => {}
                Whose::Nobody(why) => self.refused.add(format!("line {number} {why}")),
                Whose::Device(device) => {
                    let readings = line.points.into_iter().map(|point| reading(point, self.now));
                    match batches.iter_mut().find(|(known, _)| *known == device) {
                        Some((_, known)) => known.extend(readings),
                        None => batches.push((device, readings.collect())),
                    }
                }
            }
        }
        Ok(batches)
    }

    async fn publish(&mut self, device: &DeviceId, readings: Vec<Reading>) -> Result<(), Problem> {
        let mut rest = readings.into_iter().peekable();
        while rest.peek().is_some() {
            let some: Vec<Reading> = rest.by_ref().take(READINGS_MAX).collect();
            let count = some.len();
            let Some(message) = mapping::telemetry(device, some, self.now) else { continue };
            if let Some(own) = self.principal.device() {
                let length = message.payload.len();
                while let Err(wait) = self.hub.take_turn(&self.principal.tenant, own, length, self.hub.now())
                {
                    if self.position == Position(0) {
                        return Err(too_fast(wait));
                    }
                    tokio::time::sleep(wait).await;
                }
            }
            match self.hub.publish(self.principal, message) {
                Ok(published) => {
                    self.position = self.position.max(published.position.unwrap_or_default());
                }
                Err(error @ PublishError::Storage(_)) => return Err(error.into()),
                Err(error) => self.refused.add(format!("{count} values of {device}: {error}")),
            }
        }
        self.hub.presence_seen(&self.principal.tenant, device, "influx", self.now);
        Ok(())
    }
}

/// A line's values, for whoever looks at the inbox.
fn sample(points: &[Point<'_>]) -> Value {
    let values = points.iter().map(|point| {
        let reading = reading(point.clone(), Timestamp(0));
        (point.key.to_string(), json!(reading.value))
    });
    Value::Object(values.collect::<Map<String, Value>>())
}
