//! A publish as JSON says it, over HTTP and WebSocket alike.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roost_hub::Hub;
use roost_hub::broker::PublishError;
use roost_hub::message::{Message, QoS};
use roost_hub::principal::Principal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::readings::{self, ReadingsError, TelemetryTopic};
use crate::problem::Problem;

/// `{"topic","payload","qos"?,"retain"?}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SaidPublish {
    topic: String,
    /// A text is published as it is, anything else as its JSON.
    payload: Box<RawValue>,
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
    pub(crate) fn message(&self, hub: &Hub, principal: &Principal) -> Result<Message, Problem> {
        let full = principal.full_name(&self.topic).map_err(|error| Problem::forbidden(error.to_string()))?;
        let now = hub.now();
        let topic = hub.topic(&full).map_err(|error| Problem::invalid(format!("`topic`: {error}.")))?;
        let json = self.payload.get();
        let payload = if json.starts_with('"') {
            let text: String = serde_json::from_str(json)
                .map_err(|error| Problem::unreadable(format!("`payload`: {error}")))?;
            Bytes::from(text)
        } else {
            Bytes::copy_from_slice(json.as_bytes())
        };
        let mut message = Message::new(topic, payload, now);
        message.qos = QoS::from_number(self.qos).ok_or_else(|| Problem::invalid("`qos` is 0, 1 or 2."))?;
        message.retain = self.retain;
        if let Some(topic) = TelemetryTopic::of(&message.topic) {
            message.telemetry = Some(readings::read(topic, &message.payload, None, now)?);
        }
        Ok(message)
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
            ReadingsError::Device(_) => Self::not_found("There is no such device."),
            _ => Self::invalid(error.to_string()),
        }
    }
}
