//! Call-backs of the operators of radio networks. The operator shows the token of a gateway device; the
//! devices that it speaks for stand under that gateway, or wait in the inbox.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};
use roost_hub::flight::FlightKind;
use roost_hub::frames::RawFrame;
use roost_hub::id::{CommandId, DeviceId};
use roost_hub::inbox::{Proposed, Recognised, Recognition};
use roost_hub::mailbox::{Receipt, TakeResultError};
use roost_hub::message::Message;
use roost_hub::reading::Reading;
use roost_hub::storage::{Position, StorageError};
use roost_hub::time::Timestamp;
use roost_wire::dialect;
use roost_wire::radio::{self, Downlink, Kind, Operator, Progress, Uplink};
use roost_wire::telemetry::{Point, Value as Measured};
use serde_json::json;

use super::caller::Caller;
use super::refusal::{Refusal, sentence};
use super::{Ingest, body};
use crate::adapters::decoders::Source;
use crate::adapters::dialect::mapping;
use crate::adapters::downlinks::Route;
use crate::adapters::readings::reading;
use crate::adapters::said;
use crate::http::credentials::of_query;
use crate::problem::Problem;

pub(super) async fn take(
    State(ingest): State<Arc<Ingest>>,
    operator: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let operator = operator
        .ok()
        .and_then(|Path(name)| operator_of(&name))
        .ok_or_else(|| Problem::not_found("Operators of radio networks are sigfox, tts and chirpstack."))?;
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let caller = Caller::recognise(&head, &ingest, of_query(&query, "token").as_deref()).await?;
    let gateway = caller.own_device()?;
    let headers = head.headers.clone();
    let body = body::read(Request::from_parts(head, body), ingest.body_length_max).await?;
    let now = ingest.hub.now();
    ingest.hub.take_turn(caller.tenant(), &gateway, body.len(), now).map_err(said::too_fast)?;
    let event = of_query(&query, "event");
    let uplink = radio::read(operator, event.as_deref(), &body).map_err(|unread| {
        let text = format_args!("a call-back that cannot be read: {unread}");
        ingest.hub.note(caller.tenant(), &gateway, FlightKind::Refused, text, now);
        Problem::unreadable(sentence(&unread.to_string()))
    })?;
    let route = Route::of(operator, &headers, (&gateway, &uplink.device));
    let hearing = Hearing { ingest: &ingest, caller: &caller, gateway: &gateway, operator, now };
    hearing.hear(uplink, &body, route).await
}

fn operator_of(name: &str) -> Option<Operator> {
    match name {
        "sigfox" => Some(Operator::Sigfox),
        "tts" => Some(Operator::ThingsStack),
        "chirpstack" => Some(Operator::ChirpStack),
        _ => None,
    }
}

/// One call-back.
struct Hearing<'a> {
    ingest: &'a Ingest,
    caller: &'a Caller,
    gateway: &'a DeviceId,
    operator: Operator,
    now: Timestamp,
}

impl Hearing<'_> {
    async fn hear(self, uplink: Uplink<'_>, body: &Bytes, route: Option<Route>) -> Result<Response, Refusal> {
        let Some(device) = self.device(&uplink, body)? else {
            // It waits, or was turned away: that the operator sends it again would help nobody.
            return Ok(StatusCode::NO_CONTENT.into_response());
        };
        let hub = &self.ingest.hub;
        hub.presence_seen(self.caller.tenant(), &device, self.dialect(), self.now);
        let mut position = self.downlink_went(&device, &uplink.kind)?;
        let (listens, name) = (uplink.listens, uplink.device.to_string());
        for message in self.messages(&device, uplink, body) {
            let published = hub.publish_translated(&self.caller.0, message)?;
            position = position.max(published.position.unwrap_or_default());
        }
        hub.durable(position).await?;
        if let Some(route) = route {
            self.ingest.downlinks.learn(hub, (self.caller.tenant(), &device), route)?;
        }
        match listens {
            true => self.answer(&device, &name).await,
            false => Ok(StatusCode::NO_CONTENT.into_response()),
        }
    }

    fn dialect(&self) -> &'static str {
        match self.operator {
            Operator::Sigfox => "sigfox",
            Operator::ThingsStack | Operator::ChirpStack => "lorawan",
        }
    }

    /// The device that is meant: by its link, or by its id under the gateway.
    fn device(&self, uplink: &Uplink<'_>, body: &[u8]) -> Result<Option<DeviceId>, StorageError> {
        let (hub, tenant) = (&self.ingest.hub, self.caller.tenant());
        let upper = uplink.device.to_ascii_uppercase();
        let lower = uplink.device.to_ascii_lowercase();
        for name in [&*uplink.device, &upper, &lower] {
            let link = (self.dialect(), name);
            if let Some(device) = hub.device_by_name(tenant, Some(self.gateway), link)? {
                return Ok(Some(device));
            }
        }
        for name in [Some(&*uplink.device), Some(&*lower), uplink.name.as_deref()].into_iter().flatten() {
            let child = DeviceId::parse(name).ok();
            if let Some(child) = child.filter(|id| hub.parent_of(tenant, id).as_ref() == Some(self.gateway)) {
                return Ok(Some(child));
            }
        }
        let name = uplink.name.as_deref();
        let id = name.and_then(|name| DeviceId::parse(name).ok()).or_else(|| DeviceId::parse(&lower).ok());
        let recognised = Recognised {
            dialect: self.dialect(),
            name: uplink.device.to_string(),
            parent: Some(self.gateway.clone()),
            proposed: Proposed { id, name: name.map(str::to_owned), ..Proposed::default() },
            sample: serde_json::from_slice(body).unwrap_or_default(),
        };
        Ok(match hub.recognise(tenant, recognised)? {
            Recognition::Device(device) => Some(device),
            Recognition::Waiting => None,
            Recognition::TurnedAway => {
                let text = format_args!("{} finds no room in the inbox", uplink.device);
                hub.note(tenant, self.gateway, FlightKind::Refused, text, self.now);
                None
            }
        })
    }

    /// The readings, and whatever else happened as an event.
    fn messages(&self, device: &DeviceId, uplink: Uplink<'_>, body: &Bytes) -> Vec<Message> {
        let event = match &uplink.kind {
            Kind::Data => None,
            Kind::Joined => Some("joined"),
            Kind::Downlink { .. } => Some("downlink"),
            Kind::Note(name) => Some(&**name),
        };
        let event = event.and_then(|name| mapping::event(device, name, body, self.now));
        let telemetry = Some(self.readings(device, uplink)).filter(|readings| !readings.is_empty());
        let telemetry = telemetry.and_then(|readings| mapping::telemetry(device, readings, self.now));
        telemetry.into_iter().chain(event).collect()
    }

    /// What the operator decoded, or else the decoder of the device's profile; and beside it the radio's
    /// own values where nothing decoded has their names.
    fn readings(&self, device: &DeviceId, mut uplink: Uplink<'_>) -> Vec<Reading> {
        let points = std::mem::take(&mut uplink.points);
        let mut readings: Vec<_> = points.into_iter().map(|point| reading(point, self.now)).collect();
        // A Sigfox template may add what it knows, such as a place, and leave the bytes to us.
        if uplink.kind == Kind::Data && (readings.is_empty() || self.operator == Operator::Sigfox) {
            let mut decoded = self.decoded(device, &uplink);
            decoded.retain(|found| !readings.iter().any(|known| known.key == found.key));
            readings.extend(decoded);
        }
        for point in beside(uplink) {
            if !readings.iter().any(|known| *known.key == *point.key) {
                readings.push(reading(point, self.now));
            }
        }
        readings
    }

    /// A frame that cannot be read is noted; the bytes are kept as the reading `payload` all the same.
    fn decoded(&self, device: &DeviceId, uplink: &Uplink<'_>) -> Vec<Reading> {
        let Some(bytes) = uplink.raw.as_ref().filter(|bytes| !bytes.is_empty()) else { return Vec::new() };
        let raw = RawFrame { at: self.now, bytes: Bytes::copy_from_slice(bytes), port: uplink.port };
        let Ingest { hub, decoders, .. } = self.ingest;
        let source = Source { hub, decoders, principal: &self.caller.0 };
        source.frame(device, &raw, uplink.time).unwrap_or_else(|error| {
            hub.counters.telemetry_refused_total.increment();
            let text = format_args!("a frame by radio: {error}");
            hub.note(self.caller.tenant(), device, FlightKind::Refused, text, self.now);
            Vec::new()
        })
    }

    /// What the operator tells of a downlink. Sigfox tells of the last one, without an id.
    fn downlink_went(&self, device: &DeviceId, kind: &Kind<'_>) -> Result<Position, Refusal> {
        let Kind::Downlink { id, progress } = kind else { return Ok(Position(0)) };
        let (hub, tenant) = (&self.ingest.hub, self.caller.tenant());
        let meant = match id {
            Some(id) => self.ingest.downlinks.find(hub, (tenant, device), id),
            None if self.operator == Operator::Sigfox => {
                let sent = hub.unconfirmed_commands(tenant, device, self.now);
                sent.into_iter().next_back().map(|command| command.id)
            }
            // Somebody else's.
            None => None,
        };
        let Some(meant) = meant else { return Ok(Position(0)) };
        let told = match progress {
            Progress::Queued | Progress::Sent => None,
            Progress::Acknowledged => hub.mark_delivered(tenant, device, &meant)?,
            Progress::Failed(why) => return Ok(self.fail((device, &meant), why)?),
        };
        Ok(told.unwrap_or_default())
    }

    fn fail(&self, (device, id): (&DeviceId, &CommandId), why: &str) -> Result<Position, StorageError> {
        let result = json!({ "ok": false, "error": why }).to_string();
        let (hub, tenant) = (&self.ingest.hub, self.caller.tenant());
        match hub.take_result(tenant, device, id.as_str(), result.as_bytes(), self.now) {
            Ok(position) => Ok(position.unwrap_or_default()),
            Err(TakeResultError::Storage(error)) => Err(error),
            // Somebody was quicker to end it.
            Err(_ended) => Ok(Position(0)),
        }
    }

    /// The oldest command that waits, to a device that listens now.
    async fn answer(&self, device: &DeviceId, name: &str) -> Result<Response, Refusal> {
        let (hub, tenant) = (&self.ingest.hub, self.caller.tenant());
        for command in hub.waiting_commands(tenant, device, self.now) {
            let said =
                dialect::Command { id: command.id.as_str(), name: &command.name, params: &command.params };
            let worded = Downlink::of(&said).and_then(|downlink| downlink.encode(self.operator, name));
            match worded {
                Err(unsayable) => {
                    hub.durable(self.fail((device, &command.id), &unsayable.to_string())?).await?
                }
                Ok(body) => {
                    let Some(position) = hub.mark_sent(tenant, device, &command.id, Receipt::Awaited)? else {
                        continue;
                    };
                    hub.durable(position).await?;
                    let kind = HeaderValue::from_static("application/json");
                    return Ok(([(header::CONTENT_TYPE, kind)], body).into_response());
                }
            }
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}

/// The radio's own values.
fn beside(uplink: Uplink<'_>) -> impl Iterator<Item = Point<'static>> {
    let number = |value: Option<f64>| value.filter(|value| value.is_finite()).map(Measured::Number);
    let payload = uplink.raw.map(|bytes| Measured::Text(STANDARD.encode(bytes).into()));
    let values = [
        ("payload", payload),
        ("f_port", uplink.port.map(|port| Measured::Integer(i64::from(port)))),
        ("rssi", number(uplink.rssi)),
        ("snr", number(uplink.snr)),
    ];
    let point = move |(key, value): (&'static str, Option<Measured<'static>>)| {
        Some(Point { key: key.into(), ts: uplink.time, value: value? })
    };
    values.into_iter().filter_map(point)
}
