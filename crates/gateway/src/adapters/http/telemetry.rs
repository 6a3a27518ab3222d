//! A device's readings, whole or line by line.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use roost_hub::broker::PublishError;
use roost_hub::flight::FlightKind;
use roost_hub::id::DeviceId;
use roost_hub::message::{Message, Properties, QoS, Telemetry};
use roost_hub::storage::Position;
use roost_hub::topic::Topic;
use roost_wire::telemetry::Format;

use super::caller::Caller;
use super::refusal::{Refusal, unread};
use super::{Ingest, body, lines};
use crate::adapters::readings::{self, ReadingsError};
use crate::adapters::said;
use crate::problem::Problem;

/// How a body holds readings.
#[derive(Debug)]
enum Written {
    Lines,
    Whole(Format),
}

/// Where the readings of one request go.
pub(super) struct Target<'a> {
    pub(super) ingest: &'a Ingest,
    pub(super) caller: &'a Caller,
    pub(super) device: DeviceId,
    topic: Topic,
}

/// Why readings were not taken.
pub(super) enum Refused {
    Unread(ReadingsError),
    Hub(PublishError),
    /// The device is over its rate; when to try again.
    TooFast(Duration),
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unread(error) => unread(&error),
            Refused::Hub(error) => error.into(),
            Refused::TooFast(wait) => said::too_fast(wait).into(),
        }
    }
}

pub(super) async fn own(
    State(ingest): State<Arc<Ingest>>,
    caller: Caller,
    request: Request,
) -> Result<Response, Refusal> {
    let device = caller.own_device()?;
    take(&ingest, &caller, device, request).await
}

pub(super) async fn of_device(
    State(ingest): State<Arc<Ingest>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_no_text| Problem::not_found("There is no such device."))?;
    let device = caller.written_device(&ingest, &id)?;
    take(&ingest, &caller, device, request).await
}

async fn take(
    ingest: &Ingest,
    caller: &Caller,
    device: DeviceId,
    request: Request,
) -> Result<Response, Refusal> {
    let media_type = body::media_type(request.headers());
    let written = written(media_type.as_deref())?;
    let topic = Topic::parse(&format!("devices/{device}/telemetry")).expect("a device's id fits a topic");
    let target = Target { ingest, caller, device, topic };
    match written {
        Written::Lines => {
            body::check_encoding(request.headers())?;
            lines::take(&target, request.into_body()).await
        }
        Written::Whole(format) => {
            let payload = body::read(request, ingest.body_length_max).await?;
            let content_type = media_type.as_deref().filter(|_| format != Format::Json);
            let position = target.publish(format, content_type, payload)?;
            ingest.hub.durable(position).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

fn written(media_type: Option<&str>) -> Result<Written, Problem> {
    match media_type {
        None => Ok(Written::Whole(Format::Json)),
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => Ok(Written::Lines),
        Some(other) => Format::from_content_type(other).map(Written::Whole).ok_or_else(|| {
            Problem::media_type(
                "Send Content-Type: application/json, application/x-ndjson, application/senml+json, \
                 application/cbor, or application/vnd.influx.line-protocol.",
            )
        }),
    }
}

impl Target<'_> {
    /// Publishes a payload with its readings; it is durable when the log is, up to the position.
    pub(super) fn publish(
        &self,
        format: Format,
        content_type: Option<&str>,
        payload: Bytes,
    ) -> Result<Position, Refused> {
        let hub = &self.ingest.hub;
        let mut message = Message::new(self.topic.clone(), payload, hub.now());
        if self.caller.0.device().is_some() {
            let taken =
                hub.take_turn(self.caller.tenant(), &self.device, message.payload.len(), message.time);
            taken.map_err(Refused::TooFast)?;
        }
        let decoded = readings::decode(&self.device, format, &message.payload, message.time);
        let readings = decoded.map_err(|error| {
            hub.counters.telemetry_refused_total.increment();
            let text = format_args!("telemetry over HTTP: {error}");
            hub.note(self.caller.tenant(), &self.device, FlightKind::Refused, text, message.time);
            Refused::Unread(error)
        })?;
        message.telemetry = Some(Box::new(Telemetry { device: self.device.clone(), readings }));
        message.qos = QoS::AtLeastOnce;
        message.properties = content_type.map(|name| {
            Box::new(Properties { content_type: Some(Arc::from(name)), ..Properties::default() })
        });
        let published = hub.publish(&self.caller.0, message).map_err(Refused::Hub)?;
        Ok(published.position.unwrap_or_default())
    }
}
