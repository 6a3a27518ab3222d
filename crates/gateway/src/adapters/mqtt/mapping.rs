//! Where MQTT and the hub meet: packets to messages, deliveries to packets, errors to reasons.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roost_hub::broker::{
    CloseReason, ConnectError, ConnectOptions, Delivery, PublishError, ReplayStart, RetainHandling, Session,
    Start, SubscribeError, SubscribeRequest, SubscriptionFlags, SubscriptionOptions, Will,
};
use roost_hub::limit::Limit;
use roost_hub::message::{Message, Properties, QoS};
use roost_hub::principal::Principal;
use roost_hub::storage::StorageError;
use roost_hub::time::Timestamp;
use roost_hub::topic::{Subscribed, Topic};
use roost_wire::mqtt::{
    self, Connect, DecodeError, PayloadFormat, Publish, PublishProperties, ReasonCode, SubscribeProperties,
    Subscription, UserProperties, Version, WriteError,
};
use roost_wire::telemetry::parse_since;

use crate::adapters::decoders::Source;
use crate::adapters::readings::{self, ReadingsError, TelemetryTopic};

pub(super) fn qos(qos: mqtt::QoS) -> QoS {
    match qos {
        mqtt::QoS::AtMostOnce => QoS::AtMostOnce,
        mqtt::QoS::AtLeastOnce => QoS::AtLeastOnce,
        mqtt::QoS::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn qos_out(qos: QoS) -> mqtt::QoS {
    match qos {
        QoS::AtMostOnce => mqtt::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqtt::QoS::AtLeastOnce,
        QoS::ExactlyOnce => mqtt::QoS::ExactlyOnce,
    }
}

fn user(properties: &UserProperties<'_>) -> Vec<(Arc<str>, Arc<str>)> {
    properties.iter().map(|(name, value)| (Arc::from(name), Arc::from(value))).collect()
}

/// A message as it came at `now`. Readings are not looked for, see [`readings_of`].
pub(super) fn message(topic: Topic, publish: &Publish<'_>, now: Timestamp) -> Message {
    let mut message = Message::new(topic, Bytes::copy_from_slice(publish.payload), now);
    message.qos = qos(publish.qos);
    message.retain = publish.retain;
    message.properties = properties(&publish.properties, now);
    message
}

fn properties(said: &PublishProperties<'_>, now: Timestamp) -> Option<Box<Properties>> {
    let is_bare = said.payload_format.is_none()
        && said.message_expiry.is_none()
        && said.response_topic.is_none()
        && said.correlation_data.is_none()
        && said.content_type.is_none()
        && said.user_properties.is_empty();
    let expires_at = said.message_expiry.map(|seconds| now.after(Duration::from_secs(seconds.into())));
    (!is_bare).then(|| {
        Box::new(Properties {
            is_text: said.payload_format == Some(PayloadFormat::Text),
            expires_at,
            content_type: said.content_type.map(Arc::from),
            response_topic: said.response_topic.map(Arc::from),
            correlation_data: said.correlation_data.map(Bytes::copy_from_slice),
            user: user(&said.user_properties),
        })
    })
}

/// Puts the readings into a message whose topic is a device's telemetry. Without a content type it is
/// in the format that the sender's profile names, or JSON, or bytes for the profile's decoder.
///
/// # Errors
/// The payload cannot be read.
pub(super) fn add_readings(message: &mut Message, source: Source<'_>) -> Result<(), ReadingsError> {
    message.telemetry = source.read(message, content_type(message, source.principal))?;
    Ok(())
}

fn content_type<'a>(message: &'a Message, sender: &Principal) -> Option<&'a str> {
    let said = message.properties.as_ref().and_then(|found| found.content_type.as_deref());
    said.or_else(|| match sender.dialect() {
        Some("senml") => Some(senml_type(&message.payload)),
        Some("influx") => Some("application/x-influx-line"),
        _ => None,
    })
}

/// SenML in JSON is an array or an object; in CBOR no pack begins with such a byte.
fn senml_type(payload: &[u8]) -> &'static str {
    match payload.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[' | b'{') => "application/senml+json",
        _ => "application/senml+cbor",
    }
}

/// What a client asks for in CONNECT.
///
/// # Errors
/// The will cannot be.
pub(super) fn connect_options(
    connect: &Connect<'_>,
    principal: &Principal,
    now: Timestamp,
) -> Result<ConnectOptions, ReasonCode> {
    let properties = &connect.properties;
    Ok(ConnectOptions {
        client_id: (!connect.client_id.is_empty()).then(|| connect.client_id.to_owned()),
        start: if connect.clean_start { Start::Clean } else { Start::Resume },
        expiry: Duration::from_secs(properties.session_expiry.into()),
        will: connect.will.as_ref().map(|said| will(said, principal, now)).transpose()?,
        receive_maximum: properties.receive_maximum.map_or(u16::MAX, Into::into),
        protocol: match connect.version {
            Version::V3 => &"MQTT 3.1.1",
            Version::V5 => &"MQTT 5.0",
        },
        address: None,
    })
}

fn will(said: &mqtt::Will<'_>, principal: &Principal, now: Timestamp) -> Result<Will, ReasonCode> {
    let topic = principal.full_name(said.topic).map_err(|_not_a_device| ReasonCode::NotAuthorized)?;
    let topic = Topic::parse(&topic).map_err(|_invalid| ReasonCode::TopicNameInvalid)?;
    let is_text = said.properties.payload_format == Some(PayloadFormat::Text);
    if is_text && std::str::from_utf8(said.payload).is_err() {
        return Err(ReasonCode::PayloadFormatInvalid);
    }
    let mut message = Message::new(topic, Bytes::copy_from_slice(said.payload), now);
    message.qos = qos(said.qos);
    message.retain = said.retain;
    // The hub writes the time of expiry there when it sends the will.
    message.properties = Some(Box::new(Properties {
        is_text,
        expires_at: None,
        content_type: said.properties.content_type.map(Arc::from),
        response_topic: said.properties.response_topic.map(Arc::from),
        correlation_data: said.properties.correlation_data.map(Bytes::copy_from_slice),
        user: user(&said.properties.user_properties),
    }));
    if let Some(topic) = TelemetryTopic::of(&message.topic) {
        let content_type = content_type(&message, principal);
        let read = readings::read(topic, &message.payload, content_type, now);
        message.telemetry = Some(read.map_err(|_unreadable| ReasonCode::PayloadFormatInvalid)?);
    }
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Ok(Will {
        message,
        delay: seconds(said.properties.delay),
        expiry: said.properties.message_expiry.map(seconds),
    })
}

/// One entry of SUBSCRIBE.
///
/// # Errors
/// What SUBACK is to say for it.
pub(super) fn subscribe_request(
    said: &Subscription<'_>,
    identifier: u32,
    session: &Session,
) -> Result<SubscribeRequest, ReasonCode> {
    let principal = session.principal();
    let full = principal.full_name(said.filter).map_err(|_not_a_device| ReasonCode::NotAuthorized)?;
    let is_own_name = matches!(full, std::borrow::Cow::Owned(_));
    // Some families use one topic both ways, and expect no echo.
    let is_two_way = is_own_name && principal.is_family_name(said.filter);
    let bounded = session.hub().check_topic_bounds(said.filter).and_then(|()| Subscribed::parse(&full));
    let subscribed = bounded.map_err(|_invalid| ReasonCode::TopicFilterInvalid)?;
    let flags = SubscriptionFlags::default()
        .with(SubscriptionFlags::OWN_NAME, is_own_name.into())
        .with(SubscriptionFlags::NO_LOCAL, (said.options.no_local || is_two_way).into())
        .with(SubscriptionFlags::RETAIN_AS_PUBLISHED, said.options.retain_as_published.into());
    Ok(SubscribeRequest {
        subscribed,
        options: SubscriptionOptions { qos: qos(said.options.qos), flags, identifier },
        retain_handling: match said.options.retain_handling {
            mqtt::RetainHandling::Send => RetainHandling::Send,
            mqtt::RetainHandling::SendIfNew => RetainHandling::SendIfNew,
            mqtt::RetainHandling::DoNotSend => RetainHandling::DoNotSend,
        },
    })
}

/// The user property of SUBSCRIBE by which a client asks for what was recorded.
const SINCE: &str = "roost-since";

/// Where the subscriptions of a SUBSCRIBE begin, when that is in the past.
///
/// # Errors
/// It is said in a way that nobody can read, in words for the client's maker.
pub(super) fn replay_start(
    said: &SubscribeProperties<'_>,
    now: Timestamp,
) -> Result<Option<ReplayStart>, String> {
    let mut values = said.user_properties.iter().filter(|(name, _)| *name == SINCE).map(|(_, value)| value);
    let Some(value) = values.next() else { return Ok(None) };
    match parse_since(value, now.0) {
        Some(since) if values.next().is_none() => Ok(Some(ReplayStart::Since(Timestamp(since)))),
        Some(_) => Err(format!("{SINCE} is said twice; say it once")),
        None => Err(format!(
            "{SINCE}: write how long ago, as 30s, 10m, 2h or 7d, or a time as 2026-11-21T13:54:57Z"
        )),
    }
}

/// What UNSUBSCRIBE names.
pub(super) fn unsubscribed(filter: &str, principal: &Principal) -> Option<Subscribed> {
    principal.full_name(filter).ok().and_then(|full| Subscribed::parse(&full).ok())
}

/// Writes a delivery as PUBLISH, its time of expiry as what is left of it.
///
/// # Errors
/// [`WriteError`]: above all, it may be larger than the client takes.
pub(super) fn write_delivery(
    delivery: &Delivery,
    principal: &Principal,
    protocol: &mut mqtt::Connection,
    now: impl Fn() -> Timestamp,
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let message = &*delivery.message;
    let own_name = if delivery.own_name { principal.own_name(message.topic.as_str()) } else { None };
    let mut publish = Publish {
        dup: delivery.dup,
        qos: qos_out(delivery.qos),
        retain: delivery.retain,
        topic: own_name.as_deref().unwrap_or(message.topic.as_str()),
        packet_id: delivery.packet_id,
        payload: &message.payload,
        properties: PublishProperties {
            subscription_identifiers: delivery.identifiers.as_slice().into(),
            ..PublishProperties::default()
        },
    };
    let Some(properties) = &message.properties else {
        return protocol.write_publish(&publish, out);
    };
    let user: Vec<(&str, &str)> = properties.user.iter().map(|(name, value)| (&**name, &**value)).collect();
    let said = &mut publish.properties;
    said.payload_format = properties.is_text.then_some(PayloadFormat::Text);
    said.message_expiry = properties.expires_at.map(|at| remaining(at, now()));
    said.content_type = properties.content_type.as_deref();
    said.response_topic = properties.response_topic.as_deref();
    said.correlation_data = properties.correlation_data.as_deref();
    said.user_properties = user.as_slice().into();
    protocol.write_publish(&publish, out)
}

/// MQTT 5.0 [MQTT-3.3.2-6]: the seconds that are left, begun ones counted.
fn remaining(expires_at: Timestamp, now: Timestamp) -> u32 {
    let left = expires_at.since(now).as_millis().div_ceil(1_000);
    u32::try_from(left).unwrap_or(u32::MAX)
}

/// Why a message was refused, as PUBACK and PUBREC say it.
pub(super) fn publish_reason(error: &PublishError) -> ReasonCode {
    match error {
        PublishError::NotAuthorized => ReasonCode::NotAuthorized,
        PublishError::TopicInvalid(_) | PublishError::DeviceUnknown(_) => ReasonCode::TopicNameInvalid,
        PublishError::PayloadInvalid(_) => ReasonCode::PayloadFormatInvalid,
        PublishError::QuotaExceeded(_) => ReasonCode::QuotaExceeded,
        PublishError::Storage(error) => storage_reason(error),
    }
}

/// Why telemetry was not read.
pub(super) fn readings_reason(error: &ReadingsError) -> ReasonCode {
    match error {
        ReadingsError::Storage(error) => storage_reason(error),
        _ => ReasonCode::PayloadFormatInvalid,
    }
}

pub(super) fn subscribe_reason(error: &SubscribeError) -> ReasonCode {
    match error {
        SubscribeError::NotAuthorized => ReasonCode::NotAuthorized,
        SubscribeError::QuotaExceeded(_) => ReasonCode::QuotaExceeded,
        SubscribeError::SharedReplay => ReasonCode::ImplementationSpecificError,
        SubscribeError::Storage(error) => storage_reason(error),
    }
}

/// As CONNACK says it.
pub(super) fn connect_reason(error: &ConnectError) -> ReasonCode {
    match error {
        ConnectError::ClientIdTaken => ReasonCode::ClientIdentifierNotValid,
        ConnectError::Will(error) => publish_reason(error),
        ConnectError::QuotaExceeded(_) | ConnectError::TooManyConnections(_) => ReasonCode::QuotaExceeded,
        ConnectError::Storage(StorageError::Full) => ReasonCode::QuotaExceeded,
        ConnectError::Storage(_) => ReasonCode::ServerUnavailable,
    }
}

/// Why somebody who is connected already cannot stay, as CONNACK says it.
pub(super) fn refusal_reason(limit: Limit) -> ReasonCode {
    match limit {
        Limit::Connections => ReasonCode::ServerBusy,
        Limit::ConnectionsPerAddress => ReasonCode::QuotaExceeded,
        Limit::ShutOut => ReasonCode::Banned,
        _ => ReasonCode::ConnectionRateExceeded,
    }
}

/// Whether no client that follows the specification would have sent this, whatever it is allowed.
pub(super) fn is_malformed(error: DecodeError) -> bool {
    matches!(error.reason(), ReasonCode::MalformedPacket | ReasonCode::ProtocolError)
}

/// The limit that somebody broke who is disconnected for this reason, if it was one.
pub(super) fn limit_of(error: DecodeError) -> Option<Limit> {
    match error.reason() {
        ReasonCode::PacketTooLarge => Some(Limit::PacketBytes),
        ReasonCode::ReceiveMaximumExceeded => Some(Limit::ReceiveMaximum),
        ReasonCode::QuotaExceeded => Some(Limit::Subscriptions),
        ReasonCode::TopicNameInvalid if error.statement(Version::V5).is_empty() => Some(Limit::Topic),
        _ => None,
    }
}

/// 0x97 says that it may work later; anything else does not pass.
pub(super) fn storage_reason(error: &StorageError) -> ReasonCode {
    match error {
        StorageError::Full | StorageError::TooLarge(_) => ReasonCode::QuotaExceeded,
        StorageError::Broken(_) | StorageError::Damaged(_) => ReasonCode::UnspecifiedError,
    }
}

/// As DISCONNECT says it.
pub(super) fn close_reason(reason: CloseReason) -> ReasonCode {
    match reason {
        CloseReason::TakenOver => ReasonCode::SessionTakenOver,
        CloseReason::Kicked => ReasonCode::AdministrativeAction,
        CloseReason::NotAuthorized => ReasonCode::NotAuthorized,
        CloseReason::QueueFull => ReasonCode::QuotaExceeded,
        CloseReason::ShuttingDown => ReasonCode::ServerShuttingDown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m_46_a_begun_second_counts_as_left() {
        for (left, seconds) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (-5, 0)] {
            assert_eq!(remaining(Timestamp(10_000 + left), Timestamp(10_000)), seconds);
        }
    }
}
