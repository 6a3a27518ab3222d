//! A device's readings, whole or line by line.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::header;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use roost_hub::broker::PublishError;
use roost_hub::flight::FlightKind;
use roost_hub::id::DeviceId;
use roost_hub::message::{Message, Properties, QoS, Telemetry};
use roost_hub::storage::Position;
use roost_hub::topic::Topic;
use roost_wire::lines::LINE_TYPES;
use roost_wire::telemetry::Format;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::caller::Caller;
use super::lines::{Divided, Manner};
use super::named::Named;
use super::refusal::{Refusal, sentence, unread};
use super::unpack::{self, Bound};
use super::{Ingest, body, commands, lines, told};
use crate::adapters::decoders::{PORT, Said, Source};
use crate::adapters::readings::ReadingsError;
use crate::adapters::said;
use crate::problem::Problem;

/// How a body holds readings.
#[derive(Debug)]
enum Written {
    Stream(Divided),
    Whole(Said),
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

/// What else a device wants to know.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    commands: Option<String>,
    port: Option<u8>,
}

/// By which a radio network tells kinds of messages apart.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Port {
    port: Option<u8>,
}

pub(super) async fn own(
    State(ingest): State<Arc<Ingest>>,
    caller: Caller,
    query: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let Query(Asked { commands, port }) = query.map_err(|rejection| unasked(&rejection))?;
    let asks = if asks_for_commands(commands.as_deref())? { Asks::Commands } else { Asks::Nothing };
    let device = caller.own_device()?;
    Upload { ingest, caller, device, asks }.take(port, request).await
}

fn unasked(rejection: &QueryRejection) -> Problem {
    Problem::invalid(sentence(&rejection.body_text()))
}

/// Whether what waits for the device is to be in the answer.
pub(super) fn asks_for_commands(value: Option<&str>) -> Result<bool, Problem> {
    match value {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(Problem::invalid("`commands` is 1 to have waiting commands in the answer.")),
    }
}

/// 204, or what there is to say.
pub(super) fn answer(report: Option<Map<String, Value>>) -> Response {
    match report {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(report) => ([(header::CACHE_CONTROL, "no-store")], Json(report)).into_response(),
    }
}

pub(super) async fn of_device(
    State(ingest): State<Arc<Ingest>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<Port>, QueryRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let Path(id) = id.map_err(|_no_text| Problem::not_found("There is no such device."))?;
    let device = caller.written_device(&ingest, &id)?;
    let Query(Port { port }) = query.map_err(|rejection| unasked(&rejection))?;
    Upload { ingest, caller, device, asks: Asks::Nothing }.take(port, request).await
}

/// What is to be in the answer beside what happened to the readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    Nothing,
    /// What waits for the device.
    Commands,
}

/// One request with readings.
struct Upload {
    ingest: Arc<Ingest>,
    caller: Caller,
    device: DeviceId,
    asks: Asks,
}

type Report = Option<Map<String, Value>>;

impl Upload {
    async fn take(self, port: Option<u8>, request: Request) -> Result<Response, Refusal> {
        let media_type = body::media_type(request.headers());
        match self.written(media_type.as_deref(), request.headers())? {
            Written::Stream(divided) => self.stream(divided, request).await,
            Written::Whole(said) => {
                let properties = properties(media_type.as_deref(), said, port);
                let payload = body::read(request, self.ingest.body_length_max).await?;
                let target = Target::new(&self.ingest, &self.caller, self.device.clone());
                let position = target.publish(said, properties, payload)?;
                self.ingest.hub.durable(position).await?;
                Ok(answer(self.with_commands(None).await?))
            }
        }
    }

    fn written(&self, media_type: Option<&str>, headers: &HeaderMap) -> Result<Written, Refusal> {
        let is_chunked = headers.contains_key(header::TRANSFER_ENCODING);
        let said = match media_type {
            Some(lines) if LINE_TYPES.contains(&lines) => return Ok(Written::Stream(Divided::Lines)),
            media_type => Said::of(media_type),
        };
        match said {
            lines::JSON if is_chunked => Ok(Written::Stream(Divided::Documents)),
            Said::Nothing if media_type.is_some() => Err(Problem::media_type(
                "Send Content-Type: application/json, application/x-ndjson, application/senml+json, \
                 application/cbor, application/vnd.influx.line-protocol, or application/octet-stream.",
            )
            .into()),
            // Without a word of what it is, it may be bytes for the decoder.
            Said::Nothing if is_chunked && !self.has_decoder()? => Ok(Written::Stream(Divided::Documents)),
            said => Ok(Written::Whole(said)),
        }
    }

    fn has_decoder(&self) -> Result<bool, Refusal> {
        let Ingest { hub, decoders, .. } = &*self.ingest;
        decoders.is_there(hub, self.caller.tenant(), &self.device).map_err(|error| unread(&error))
    }

    async fn stream(self, divided: Divided, request: Request) -> Result<Response, Refusal> {
        let (head, body) = request.into_parts();
        let mut body = unpack::plain(&head.headers, body, Bound::lines())?;
        let named = match divided {
            Divided::Lines => Named::of(&head.headers, (&self.ingest, &self.caller), &self.device).await?,
            // These are remembered by their answer, as every other POST.
            Divided::Documents => None,
        };
        let manner = Manner { divided, named, teller: None };
        if !told::is_asked_for(&head.headers) {
            return Ok(answer(self.lines(manner, body).await?));
        }
        if head.headers.contains_key(header::EXPECT) {
            // The head of the answer would come in the place of `100 Continue`.
            body = begun(body).await;
        }
        Ok(told::answer(move |teller| async move {
            match self.lines(Manner { teller: Some(teller), ..manner }, body).await {
                Ok(report) => Value::from(report.unwrap_or_default()),
                Err(refusal) => refusal.document(),
            }
        }))
    }

    async fn lines(&self, manner: Manner, body: Body) -> Result<Report, Refusal> {
        let target = Target::new(&self.ingest, &self.caller, self.device.clone());
        self.with_commands(lines::take(&target, manner, body).await?).await
    }

    async fn with_commands(&self, mut report: Report) -> Result<Report, Refusal> {
        if self.asks == Asks::Commands {
            let waiting = commands::waiting(&self.ingest, &self.caller).await?;
            report.get_or_insert_default().insert("items".to_owned(), waiting);
        }
        Ok(report)
    }
}

/// The same body, once something of it is there.
async fn begun(mut body: Body) -> Body {
    let first = body.frame().await.into_iter();
    let pieces = first.filter_map(|frame| frame.map(|frame| frame.into_data().ok()).transpose());
    Body::from_stream(stream::iter(pieces).chain(body.into_data_stream()))
}

/// What goes with a payload that is not plain JSON.
fn properties(media_type: Option<&str>, said: Said, port: Option<u8>) -> Option<Box<Properties>> {
    let content_type = media_type.filter(|_| said != Said::Format(Format::Json)).map(Arc::from);
    let user: Vec<_> = port.map(|port| (Arc::from(PORT), Arc::from(port.to_string()))).into_iter().collect();
    let is_plain = content_type.is_none() && user.is_empty();
    (!is_plain).then(|| Box::new(Properties { content_type, user, ..Properties::default() }))
}

impl<'a> Target<'a> {
    pub(super) fn new(ingest: &'a Ingest, caller: &'a Caller, device: DeviceId) -> Self {
        let topic = Topic::parse(&format!("devices/{device}/telemetry")).expect("a device's id fits a topic");
        Self { ingest, caller, device, topic }
    }

    /// Publishes a payload with its readings; it is durable when the log is, up to the position.
    pub(super) fn publish(
        &self,
        said: Said,
        properties: Option<Box<Properties>>,
        payload: Bytes,
    ) -> Result<Position, Refused> {
        let message = self.message(said, properties, payload)?;
        let published = self.ingest.hub.publish(&self.caller.0, message).map_err(Refused::Hub)?;
        Ok(published.position.unwrap_or_default())
    }

    /// A payload with its readings, ready to be published. It has had its turn.
    pub(super) fn message(
        &self,
        said: Said,
        properties: Option<Box<Properties>>,
        payload: Bytes,
    ) -> Result<Message, Refused> {
        let hub = &self.ingest.hub;
        let mut message = Message::new(self.topic.clone(), payload, hub.now());
        if self.caller.0.device().is_some() {
            let taken =
                hub.take_turn(self.caller.tenant(), &self.device, message.payload.len(), message.time);
            taken.map_err(Refused::TooFast)?;
        }
        message.properties = properties;
        let source = Source { hub, decoders: &self.ingest.decoders, principal: &self.caller.0 };
        let readings = source.readings(&self.device, said, &message).map_err(|error| {
            hub.counters.telemetry_refused_total.increment();
            let text = format_args!("telemetry over HTTP: {error}");
            hub.note(self.caller.tenant(), &self.device, FlightKind::Refused, text, message.time);
            Refused::Unread(error)
        })?;
        message.telemetry = Some(Box::new(Telemetry { device: self.device.clone(), readings }));
        message.qos = QoS::AtLeastOnce;
        Ok(message)
    }
}
