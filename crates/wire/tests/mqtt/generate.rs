//! Every packet of both versions with every property. Strings are leaked: packets borrow, and a
//! test's process is short.

use std::num::{NonZeroU16, NonZeroU32};

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use roost_wire::mqtt::{
    Ack, AckProperties, Auth, AuthProperties, ConnAck, ConnAckProperties, Connect, ConnectProperties,
    Disconnect, DisconnectProperties, Packet, PayloadFormat, Publish, PublishProperties, QoS, ReasonCode,
    RetainHandling, SubAck, Subscribe, SubscribeProperties, Subscription, SubscriptionOptions, UnsubAck,
    Unsubscribe, UserProperties, Version, Will, WillProperties,
};

type Generated<T> = BoxedStrategy<T>;

pub(crate) fn packet_id() -> Generated<NonZeroU16> {
    (1..=u16::MAX).prop_map(|id| NonZeroU16::new(id).unwrap()).boxed()
}

fn text() -> Generated<&'static str> {
    "[a-zé\u{feff}🌡]{0,12}".prop_map(|text| &*text.leak()).boxed()
}

fn topic() -> Generated<&'static str> {
    "[a-z$]{1,5}(/[a-zé]{0,4}){0,5}".prop_map(|topic| &*topic.leak()).boxed()
}

fn filter() -> Generated<&'static str> {
    let plain = r"([a-z]{1,4}|\+)(/([a-z]{0,4}|\+)){0,4}(/#)?".prop_map(|filter| &*filter.leak());
    let shared = r"\$share/[a-z]{1,4}/[a-z]{1,4}(/#)?".prop_map(|filter| &*filter.leak());
    prop_oneof![4 => plain, 1 => shared, 1 => Just("#")].boxed()
}

fn data() -> Generated<&'static [u8]> {
    // Sometimes long enough for a length of two and of three bytes.
    prop_oneof![4 => vec(any::<u8>(), 0..40), 1 => vec(any::<u8>(), 100..300)]
        .prop_map(|data| &*data.leak())
        .boxed()
}

fn user_properties() -> Generated<UserProperties<'static>> {
    vec((text(), text()), 0..4).prop_map(|pairs| UserProperties::from(&*pairs.leak())).boxed()
}

fn qos() -> Generated<QoS> {
    select(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][..]).boxed()
}

fn payload_format() -> Generated<Option<PayloadFormat>> {
    of(select(&[PayloadFormat::Bytes, PayloadFormat::Text][..])).boxed()
}

fn reason(codes: &'static [u8]) -> Generated<ReasonCode> {
    select(codes).prop_map(|code| ReasonCode::from_code(code).unwrap()).boxed()
}

/// The default in 3.1.1, which has no properties.
fn only_in_5<T>(version: Version, generated: Generated<T>) -> Generated<T>
where
    T: Default + Clone + std::fmt::Debug + 'static,
{
    match version {
        Version::V3 => Just(T::default()).boxed(),
        Version::V5 => generated,
    }
}

fn connect_properties() -> Generated<ConnectProperties<'static>> {
    let numbers =
        (any::<u32>(), of(packet_id()), of(1..=u32::MAX), any::<u16>(), any::<bool>(), any::<bool>());
    (numbers, of((text(), of(data()))), user_properties())
        .prop_map(|(numbers, authentication, user_properties)| ConnectProperties {
            session_expiry: numbers.0,
            receive_maximum: numbers.1,
            maximum_packet_size: numbers.2.and_then(NonZeroU32::new),
            topic_alias_maximum: numbers.3,
            request_response_information: numbers.4,
            request_problem_information: numbers.5,
            authentication_method: authentication.map(|(method, _)| method),
            authentication_data: authentication.and_then(|(_, data)| data),
            user_properties,
        })
        .boxed()
}

fn will(version: Version) -> Generated<Will<'static>> {
    let properties = (
        any::<u32>(),
        payload_format(),
        of(any::<u32>()),
        of(text()),
        of(topic()),
        of(data()),
        user_properties(),
    )
        .prop_map(|fields| WillProperties {
            delay: fields.0,
            payload_format: fields.1,
            message_expiry: fields.2,
            content_type: fields.3,
            response_topic: fields.4,
            correlation_data: fields.5,
            user_properties: fields.6,
        })
        .boxed();
    (qos(), any::<bool>(), topic(), data(), only_in_5(version, properties))
        .prop_map(|(qos, retain, topic, payload, properties)| Will {
            qos,
            retain,
            topic,
            payload,
            properties,
        })
        .boxed()
}

fn connect(version: Version) -> Generated<Packet<'static>> {
    let who = (text(), of(text()), of(data()));
    (any::<bool>(), any::<u16>(), connect_properties(), who, of(will(version)))
        .prop_map(move |(clean_start, keep_alive, properties, (client_id, username, password), will)| {
            let mut connect =
                Connect { version, clean_start, keep_alive, properties, client_id, will, username, password };
            if version == Version::V3 {
                // What the one flag of 3.1.1 says, and its rules on empty ids and lone passwords.
                connect.clean_start |= client_id.is_empty();
                let session_expiry = if connect.clean_start { 0 } else { u32::MAX };
                connect.properties = ConnectProperties { session_expiry, ..Default::default() };
                connect.password = password.filter(|_| username.is_some());
            }
            Packet::Connect(Box::new(connect))
        })
        .boxed()
}

fn connack_properties() -> Generated<ConnAckProperties<'static>> {
    let numbers = (
        of(any::<u32>()),
        of(packet_id()),
        of(select(&[QoS::AtMostOnce, QoS::AtLeastOnce][..])),
        of(1..=u32::MAX),
        any::<u16>(),
        of(any::<u16>()),
    );
    let flags = [of(any::<bool>()), of(any::<bool>()), of(any::<bool>()), of(any::<bool>())];
    let texts = [of(text()), of(text()), of(text()), of(text()), of(text())];
    (numbers, flags, texts, of(data()), user_properties())
        .prop_map(|(numbers, flags, texts, authentication_data, user_properties)| ConnAckProperties {
            session_expiry: numbers.0,
            receive_maximum: numbers.1,
            maximum_qos: numbers.2,
            maximum_packet_size: numbers.3.and_then(NonZeroU32::new),
            topic_alias_maximum: numbers.4,
            server_keep_alive: numbers.5,
            retain_available: flags[0],
            wildcard_available: flags[1],
            subscription_identifiers_available: flags[2],
            shared_available: flags[3],
            assigned_client_id: texts[0],
            reason_string: texts[1],
            response_information: texts[2],
            server_reference: texts[3],
            authentication_method: texts[4],
            authentication_data,
            user_properties,
        })
        .boxed()
}

fn connack(version: Version) -> Generated<Packet<'static>> {
    let codes: &[u8] = match version {
        Version::V3 => &[0x00, 0x84, 0x85, 0x86, 0x87, 0x88],
        Version::V5 => &[0x00, 0x80, 0x81, 0x87, 0x95, 0x9F],
    };
    (any::<bool>(), reason(codes), only_in_5(version, connack_properties()))
        .prop_map(|(session_present, reason, properties)| {
            let session_present = session_present && !reason.is_error();
            Packet::ConnAck(Box::new(ConnAck { session_present, reason, properties }))
        })
        .boxed()
}

pub(crate) fn publish(version: Version) -> Generated<Publish<'static>> {
    let identifiers = vec(1..=268_435_455_u32, 0..3).prop_map(|ids| (&*ids.leak()).into());
    let properties = (
        payload_format(),
        of(any::<u32>()),
        of(packet_id()),
        of(topic()),
        of(data()),
        identifiers,
        of(text()),
        user_properties(),
    )
        .prop_map(|fields| PublishProperties {
            payload_format: fields.0,
            message_expiry: fields.1,
            topic_alias: fields.2,
            response_topic: fields.3,
            correlation_data: fields.4,
            subscription_identifiers: fields.5,
            content_type: fields.6,
            user_properties: fields.7,
        })
        .boxed();
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (flags, qos(), topic(), packet_id(), only_in_5(version, properties), data())
        .prop_map(|((dup, retain, use_alias), qos, topic, packet_id, properties, payload)| Publish {
            dup: dup && qos != QoS::AtMostOnce,
            qos,
            retain,
            topic: if use_alias && properties.topic_alias.is_some() { "" } else { topic },
            packet_id: (qos != QoS::AtMostOnce).then_some(packet_id),
            properties,
            payload,
        })
        .boxed()
}

fn ack_properties(version: Version) -> Generated<AckProperties<'static>> {
    let properties = (of(text()), user_properties())
        .prop_map(|(reason_string, user_properties)| AckProperties { reason_string, user_properties });
    only_in_5(version, properties.boxed())
}

fn ack(version: Version, codes: &'static [u8]) -> Generated<Ack<'static>> {
    (packet_id(), only_in_5(version, reason(codes)), ack_properties(version))
        .prop_map(|(packet_id, reason, properties)| Ack { packet_id, reason, properties })
        .boxed()
}

fn subscribe(version: Version) -> Generated<Packet<'static>> {
    const HANDLING: &[RetainHandling] =
        &[RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
    let options = (qos(), any::<bool>(), any::<bool>(), select(HANDLING));
    let subscription = (filter(), options).prop_map(move |(filter, options)| {
        let full = SubscriptionOptions {
            qos: options.0,
            no_local: options.1 && !filter.starts_with("$share/"),
            retain_as_published: options.2,
            retain_handling: options.3,
        };
        let options = match version {
            Version::V3 => SubscriptionOptions { qos: full.qos, ..Default::default() },
            Version::V5 => full,
        };
        Subscription { filter, options }
    });
    let properties = (of(1..=268_435_455_u32), user_properties())
        .prop_map(|(id, user_properties)| SubscribeProperties {
            subscription_identifier: id.and_then(NonZeroU32::new),
            user_properties,
        })
        .boxed();
    (packet_id(), only_in_5(version, properties), vec(subscription, 1..5))
        .prop_map(|(packet_id, properties, subscriptions)| {
            let subscriptions = (&*subscriptions.leak()).into();
            Packet::Subscribe(Subscribe { packet_id, properties, subscriptions })
        })
        .boxed()
}

fn unsubscribe(version: Version) -> Generated<Packet<'static>> {
    (packet_id(), only_in_5(version, user_properties()), vec(filter(), 1..5))
        .prop_map(|(packet_id, user_properties, filters)| {
            let filters = (&*filters.leak()).into();
            Packet::Unsubscribe(Unsubscribe { packet_id, user_properties, filters })
        })
        .boxed()
}

fn suback(version: Version) -> Generated<Packet<'static>> {
    let codes: &[u8] = match version {
        Version::V3 => &[0, 1, 2, 0x80],
        Version::V5 => &[0, 1, 2, 0x80, 0x8F, 0xA2],
    };
    (packet_id(), ack_properties(version), vec(select(codes), 1..5))
        .prop_map(|(packet_id, properties, codes)| {
            Packet::SubAck(SubAck { packet_id, properties, codes: codes.leak() })
        })
        .boxed()
}

fn unsuback(version: Version) -> Generated<Packet<'static>> {
    (packet_id(), ack_properties(version), vec(select(&[0_u8, 0x11, 0x87][..]), 1..5))
        .prop_map(move |(packet_id, properties, codes)| {
            let codes = if version == Version::V3 { &[] } else { &*codes.leak() };
            Packet::UnsubAck(UnsubAck { packet_id, properties, codes })
        })
        .boxed()
}

fn disconnect(version: Version) -> Generated<Packet<'static>> {
    let properties = (of(any::<u32>()), of(text()), user_properties(), of(text()));
    let full = (reason(&[0x00, 0x04, 0x81, 0x8E, 0xA0]), properties)
        .prop_map(|(reason, properties)| Disconnect {
            reason,
            properties: DisconnectProperties {
                session_expiry: properties.0,
                reason_string: properties.1,
                user_properties: properties.2,
                server_reference: properties.3,
            },
        })
        .boxed();
    only_in_5(version, full).prop_map(Packet::Disconnect).boxed()
}

fn auth() -> Generated<Packet<'static>> {
    let properties = (text(), of(data()), of(text()), user_properties());
    (reason(&[0x00, 0x18, 0x19]), properties)
        .prop_map(|(reason, properties)| {
            Packet::Auth(Auth {
                reason,
                properties: AuthProperties {
                    authentication_method: Some(properties.0),
                    authentication_data: properties.1,
                    reason_string: properties.2,
                    user_properties: properties.3,
                },
            })
        })
        .boxed()
}

pub(crate) fn packet(version: Version) -> Generated<Packet<'static>> {
    const REFUSALS: &[u8] = &[0x00, 0x10, 0x80, 0x87, 0x97, 0x99];
    const RELEASES: &[u8] = &[0x00, 0x92];
    let last = match version {
        Version::V3 => Just(Packet::PingReq).boxed(),
        Version::V5 => auth(),
    };
    prop_oneof![
        connect(version),
        connack(version),
        publish(version).prop_map(Packet::Publish),
        ack(version, REFUSALS).prop_map(Packet::PubAck),
        ack(version, REFUSALS).prop_map(Packet::PubRec),
        ack(version, RELEASES).prop_map(Packet::PubRel),
        ack(version, RELEASES).prop_map(Packet::PubComp),
        subscribe(version),
        suback(version),
        unsubscribe(version),
        unsuback(version),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        disconnect(version),
        last,
    ]
    .boxed()
}
