//! A publish as JSON says it, over HTTP and WebSocket alike.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roost_hub::Hub;
use roost_hub::broker::PublishError;
use roost_hub::flight::FlightKind;
use roost_hub::message::{Message, Properties, QoS};
use roost_hub::principal::Principal;
use roost_wire::decoder::from_base64;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::decoders::{BYTES, PORT, Source};
use super::readings::ReadingsError;
use crate::problem::Problem;

/// `{"topic","payload","qos"?,"retain"?}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaidPublish {
    topic: String,
    /// A text is published as it is, anything else as its JSON.
    #[serde(default)]
    payload: Option<Box<RawValue>>,
    /// Instead of `payload`: bytes.
    #[serde(default)]
    payload_base64: Option<String>,
    /// By which a radio network tells kinds of messages apart.
    #[serde(default)]
    port: Option<u8>,
    #[serde(default)]
    qos: u8,
    #[serde(default)]
    retain: bool,
}

impl SaidPublish {
    /// The message that is meant.
    ///
    /// # Errors
    /// What is not as it must be.
    pub(crate) fn message(&self, source: Source<'_>) -> Result<Message, Problem> {
        let Source { hub, principal, .. } = source;
        let full = principal.full_name(&self.topic).map_err(|error| Problem::forbidden(error.to_string()))?;
        let now = hub.now();
        let topic = hub.topic(&full).map_err(|error| Problem::invalid(format!("`topic`: {error}.")))?;
        let mut message = Message::new(topic, self.payload()?, now);
        message.properties = self.port.map(|port| {
            let user = vec![(Arc::from(PORT), Arc::from(port.to_string()))];
            Box::new(Properties { user, ..Properties::default() })
        });
        message.qos = QoS::from_number(self.qos).ok_or_else(|| Problem::invalid("`qos` is 0, 1 or 2."))?;
        message.retain = self.retain;
        let content_type = self.payload_base64.as_ref().map(|_| BYTES);
        message.telemetry = source.read(&message, content_type).inspect_err(|error| {
            hub.counters.telemetry_refused_total.increment();
            if let Some(device) = principal.device() {
                let text = format_args!("publish to {}: {error}", self.topic);
                hub.note(&principal.tenant, device, FlightKind::Refused, text, now);
            }
        })?;
        Ok(message)
    }

    fn payload(&self) -> Result<Bytes, Problem> {
        match (&self.payload, &self.payload_base64) {
            (Some(payload), None) if payload.get().starts_with('"') => {
                let text: String = serde_json::from_str(payload.get())
                    .map_err(|error| Problem::unreadable(format!("`payload`: {error}")))?;
                Ok(Bytes::from(text))
            }
            (Some(payload), None) => Ok(Bytes::copy_from_slice(payload.get().as_bytes())),
            (None, Some(text)) => {
                let bytes = from_base64(text);
                bytes.map(Bytes::from).ok_or_else(|| Problem::invalid("`payload_base64` is no base64."))
            }
            _ => Err(Problem::invalid("Send `payload`, or bytes as `payload_base64`.")),
        }
    }
}

/// Counts a message against the rate of its publisher, if that is a device.
///
/// # Errors
/// 429: it publishes too fast.
pub(crate) fn take_turn(hub: &Hub, principal: &Principal, message: &Message) -> Result<(), Problem> {
    let Some(device) = principal.device() else { return Ok(()) };
    hub.take_turn(&principal.tenant, device, message.payload.len(), message.time).map_err(too_fast)
}

/// The device publishes faster than it may.
pub(crate) fn too_fast(wait: Duration) -> Problem {
    Problem::too_many("This device publishes faster than it may: wait as long as Retry-After says.", wait)
}

/// Publishes on behalf of somebody without a session; durable when it returns.
///
/// # Errors
/// [`PublishError`]; nothing was stored or delivered.
pub(crate) async fn publish(
    hub: &Arc<Hub>,
    principal: &Principal,
    message: Message,
) -> Result<(), PublishError> {
    let published = hub.publish(principal, message)?;
    Ok(hub.durable(published.position.unwrap_or_default()).await?)
}

impl From<ReadingsError> for Problem {
    fn from(error: ReadingsError) -> Self {
        match &error {
            ReadingsError::Payload(payload) if payload.is_syntax() => Self::unreadable(error.to_string()),
            ReadingsError::Frame { .. } => Self::unreadable(error.to_string()),
            ReadingsError::Device(_) => Self::not_found("There is no such device."),
            ReadingsError::Storage(error) => error.clone().into(),
            _ => Self::invalid(error.to_string()),
        }
    }
}
