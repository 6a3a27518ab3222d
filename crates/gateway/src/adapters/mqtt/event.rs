//! What a client did, and what the hub says to it.

use std::num::NonZeroU16;
use std::time::Duration;

use roost_hub::broker::{Acknowledged, Leave, PublishError, Received};
use roost_hub::flight::FlightKind;
use roost_hub::limit::Limit;
use roost_hub::message::QoS;
use roost_hub::storage::{Position, StorageError};
use roost_hub::time::Timestamp;
use roost_wire::mqtt::connection::Topic as SaidTopic;
use roost_wire::mqtt::{
    self, Ack, ConnectionError, Disconnect, Event, Publish, ReasonCode, Subscribe, Unsubscribe, Version,
};

use super::connection::{Connection, End, Marks};
use super::mapping;
use super::replies::Reply;
use super::topics::TopicError;
use crate::adapters::decoders::Source;
use crate::shared::Shared;

/// Why a message was not taken, before it came to the hub or there.
struct Refusal {
    reason: ReasonCode,
    text: String,
}

impl Refusal {
    fn new(reason: ReasonCode, text: impl ToString) -> Self {
        Self { reason, text: text.to_string() }
    }
}

impl Connection {
    pub(super) fn handle_event(
        &mut self,
        event: Event<'_>,
        time: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), End> {
        match event {
            Event::Publish { publish, topic } => self.publish(&publish, &topic, time, out),
            Event::PublishRefused { publish, reason } => {
                let text = match reason {
                    ReasonCode::PayloadFormatInvalid => "the payload is said to be UTF-8 and is not",
                    _ => {
                        self.server.hub.refusals.count(Limit::Topic);
                        "the topic has more bytes or levels than it may"
                    }
                };
                self.refuse(&publish, Refusal::new(reason, text), time, out)
            }
            Event::PubAck(ack) => match self.session.acknowledge(ack.packet_id) {
                Acknowledged::WrongKind => Err(End::Refused(ReasonCode::ProtocolError)),
                Acknowledged::Done | Acknowledged::UnknownPacketId => Ok(()),
            },
            Event::PubRec(ack) => self.pubrec(&ack, out),
            Event::PubRel(ack) => self.pubrel(ack.packet_id, out),
            Event::PubComp(ack) => match self.session.complete(ack.packet_id) {
                Acknowledged::WrongKind => Err(End::Refused(ReasonCode::ProtocolError)),
                Acknowledged::Done | Acknowledged::UnknownPacketId => Ok(()),
            },
            Event::Subscribe(subscribe) => self.subscribe(&subscribe, out),
            Event::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe, out),
            Event::PingReq => self.ping(out),
            Event::Disconnect(disconnect) => Err(left(&disconnect)),
            // Enhanced authentication was refused with CONNECT, and there is but one of that.
            Event::Connect(_) | Event::Auth(_) => Err(End::Refused(ReasonCode::ProtocolError)),
        }
    }

    fn publish(
        &mut self,
        publish: &Publish<'_>,
        topic: &SaidTopic<'_>,
        time: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), End> {
        if self.marks.has(Marks::PACED) {
            if self.marks.has(Marks::REFUSED) {
                if publish.packet_id.is_some() {
                    self.server.hub.refusals.count(Limit::PublishRate);
                    let text = "this device publishes faster than it may: try again later";
                    return self.refuse(publish, Refusal::new(ReasonCode::QuotaExceeded, text), time, out);
                }
                // QoS 0 has no answer: it waits.
                self.marks.set(Marks::SLOWED);
            }
            self.keep_pace(publish.payload.len(), time);
        }
        let published = self.try_publish(publish, topic, time);
        let published = match published {
            Ok(published) => published,
            Err(refusal) => return self.refuse(publish, refusal, time, out),
        };
        let Some(id) = publish.packet_id else { return Ok(()) };
        let reason = match published.position {
            None if !published.is_routed => ReasonCode::NoMatchingSubscribers,
            _ => ReasonCode::Success,
        };
        let reply = match publish.qos {
            mqtt::QoS::ExactlyOnce => Reply::PubRec(id, reason),
            _ => Reply::PubAck(id, reason),
        };
        self.reply(reply, published.position.unwrap_or_default(), out)
    }

    fn try_publish(
        &mut self,
        publish: &Publish<'_>,
        topic: &SaidTopic<'_>,
        time: Timestamp,
    ) -> Result<roost_hub::broker::Published, Refusal> {
        let topic = self.topic(topic).map_err(|error| match error {
            TopicError::NotADevice => {
                Refusal::new(ReasonCode::NotAuthorized, "only a device has topics under `me`")
            }
            TopicError::Invalid => Refusal::new(ReasonCode::TopicNameInvalid, "this is no topic"),
        })?;
        let mut message = mapping::message(topic, publish, time);
        let Shared { hub, decoders, .. } = &**self.server;
        let source = Source { hub, decoders, principal: self.session.principal() };
        mapping::add_readings(&mut message, source).map_err(|error| {
            hub.counters.telemetry_refused_total.increment();
            Refusal::new(mapping::readings_reason(&error), error)
        })?;
        let exactly_once = publish.packet_id.filter(|_| publish.qos == mqtt::QoS::ExactlyOnce);
        self.session
            .publish(message, exactly_once)
            .map_err(|error: PublishError| Refusal::new(mapping::publish_reason(&error), error))
    }

    /// Refuses a message. 3.1.1 has no word for it: what will never be taken is acknowledged, not
    /// passed on, and noted; what might be taken later ends the connection.
    fn refuse(
        &mut self,
        publish: &Publish<'_>,
        refusal: Refusal,
        time: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), End> {
        let Refusal { reason, text } = refusal;
        self.note(format_args!("publish to {}: {text}", publish.topic), time);
        let Some(id) = publish.packet_id else { return Ok(()) };
        if reason == ReasonCode::UnspecifiedError {
            return Err(End::Refused(ReasonCode::ServerShuttingDown));
        }
        let is_exactly_once = publish.qos == mqtt::QoS::ExactlyOnce;
        let reply = match (self.protocol.version(), reason) {
            (Version::V3, ReasonCode::QuotaExceeded) => return Err(End::Refused(reason)),
            (Version::V3, _) if is_exactly_once => Reply::PubRec(id, ReasonCode::Success),
            (Version::V3, _) => Reply::PubAck(id, ReasonCode::Success),
            (Version::V5, _) if is_exactly_once => Reply::PubRecWithText(Box::new((id, reason, text))),
            (Version::V5, _) => Reply::PubAckWithText(Box::new((id, reason, text))),
        };
        self.reply(reply, Position(0), out)
    }

    /// Notes for the device's people what was refused.
    pub(super) fn note(&self, text: std::fmt::Arguments<'_>, time: Timestamp) {
        let principal = self.session.principal();
        if let Some(device) = principal.device() {
            self.server.hub.note(&principal.tenant, device, FlightKind::Refused, text, time);
        }
    }

    /// Counts and notes that the client broke the protocol.
    pub(super) fn note_fault(&self, error: &ConnectionError) {
        let detail = error.error();
        let hub = &self.server.hub;
        hub.counters.protocol_errors_total.increment();
        mapping::limit_of(detail).inspect(|limit| hub.refusals.count(*limit));
        tracing::debug!(client = self.session.client_id(), %detail, "connection closed");
        self.note(format_args!("connection closed: {detail}"), hub.now());
        if !mapping::is_malformed(detail) || self.server.is_trusted() {
            return;
        }
        let principal = self.session.principal();
        match principal.device() {
            // Others may share its address.
            Some(device) => hub.device_fault(&principal.tenant, device, hub.now()),
            None => self.server.fault(),
        }
    }

    fn pubrec(&mut self, ack: &Ack<'_>, out: &mut Vec<u8>) -> Result<(), End> {
        let id = ack.packet_id;
        if ack.reason.is_error() {
            self.session.give_up(id);
            return Ok(());
        }
        match self.session.received(id).map_err(|error| stopped(&error))? {
            Received::Release(position) => self.reply(Reply::PubRel(id, ReasonCode::Success), position, out),
            Received::UnknownPacketId => {
                self.reply(Reply::PubRel(id, ReasonCode::PacketIdentifierNotFound), Position(0), out)
            }
            Received::WrongKind => Err(End::Refused(ReasonCode::ProtocolError)),
        }
    }

    fn pubrel(&mut self, id: NonZeroU16, out: &mut Vec<u8>) -> Result<(), End> {
        let released = self.session.release(id).map_err(|error| stopped(&error))?;
        let reason =
            if released.was_in_use { ReasonCode::Success } else { ReasonCode::PacketIdentifierNotFound };
        self.reply(Reply::PubComp(id, reason), released.position, out)
    }

    fn subscribe(&mut self, subscribe: &Subscribe<'_>, out: &mut Vec<u8>) -> Result<(), End> {
        let start = match mapping::replay_start(&subscribe.properties, self.server.hub.now()) {
            Ok(start) => start,
            Err(text) => {
                self.note(format_args!("subscription refused: {text}"), self.server.hub.now());
                let code = ReasonCode::ImplementationSpecificError.code();
                let codes = subscribe.subscriptions.iter().map(|_| code).collect();
                let refused = Box::new((subscribe.packet_id, codes, text));
                return self.reply(Reply::SubAckWithText(refused), Position(0), out);
            }
        };
        let identifier = subscribe.properties.subscription_identifier.map_or(0, Into::into);
        let mut codes = Vec::new();
        let mut requests = Vec::new();
        for said in subscribe.subscriptions.iter() {
            match mapping::subscribe_request(&said, identifier, &self.session) {
                Ok(request) => {
                    requests.push(request);
                    codes.push(ReasonCode::Success.code());
                }
                Err(reason) => codes.push(reason.code()),
            }
        }
        let subscribing = match start {
            Some(start) => self.session.subscribe_from(&requests, start),
            None => self.session.subscribe(&requests),
        };
        if self.marks.has(Marks::SPEAKS) {
            let filters = requests.iter().map(|request| &request.subscribed.filter);
            self.server.dialects.listens(&self.server.hub, self.session.principal(), filters);
        }
        let mut granted = subscribing.granted.iter();
        for code in codes.iter_mut().filter(|code| **code == ReasonCode::Success.code()) {
            *code = match granted.next() {
                Some(Ok(qos)) => QoS::number(*qos),
                Some(Err(error)) => mapping::subscribe_reason(error).code(),
                None => ReasonCode::UnspecifiedError.code(),
            };
        }
        for (said, code) in subscribe.subscriptions.iter().zip(&codes).filter(|(_, code)| **code >= 0x80) {
            let time = self.server.hub.now();
            self.note(format_args!("subscription to {} refused (0x{code:02X})", said.filter), time);
        }
        let reply = Reply::SubAck(subscribe.packet_id, codes.into_boxed_slice());
        self.reply(reply, subscribing.position.unwrap_or_default(), out)
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe<'_>, out: &mut Vec<u8>) -> Result<(), End> {
        let named: Vec<_> = unsubscribe
            .filters
            .iter()
            .map(|filter| mapping::unsubscribed(filter, self.session.principal()))
            .collect();
        let filters: Vec<_> = named.iter().flatten().cloned().collect();
        let unsubscribing = self.session.unsubscribe(&filters).map_err(|error| stopped(&error))?;
        let mut existed = unsubscribing.existed.into_iter();
        let codes = named.iter().map(|name| match name.as_ref().and_then(|_| existed.next()) {
            Some(true) => ReasonCode::Success.code(),
            Some(false) => ReasonCode::NoSubscriptionExisted.code(),
            None => ReasonCode::TopicFilterInvalid.code(),
        });
        let reply = Reply::UnsubAck(unsubscribe.packet_id, codes.collect());
        self.reply(reply, unsubscribing.position.unwrap_or_default(), out)
    }

    fn ping(&mut self, out: &mut Vec<u8>) -> Result<(), End> {
        self.pings = self.pings.saturating_add(1);
        // The count begins afresh with each wake by the wheel, which comes once a second or later.
        if u32::from(self.pings) > self.server.settings.pings_max {
            return Err(End::Refused(ReasonCode::MessageRateTooHigh));
        }
        Ok(self.protocol.write(&mqtt::Packet::PingResp, out)?)
    }
}

/// The store cannot take what the protocol leaves no way to refuse.
fn stopped(error: &StorageError) -> End {
    match error {
        StorageError::Full | StorageError::TooLarge(_) => End::Refused(ReasonCode::QuotaExceeded),
        StorageError::Broken(_) | StorageError::Damaged(_) => End::Refused(ReasonCode::ServerShuttingDown),
    }
}

fn left(disconnect: &Disconnect<'_>) -> End {
    let how =
        if disconnect.reason == ReasonCode::NORMAL_DISCONNECTION { Leave::Normally } else { Leave::WithWill };
    let expiry = disconnect.properties.session_expiry.map(|seconds| Duration::from_secs(seconds.into()));
    End::Left { how, expiry }
}
