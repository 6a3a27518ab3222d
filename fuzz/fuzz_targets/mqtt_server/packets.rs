//! Well-formed packets from a few bytes of choice, with names from small tables, so that clients
//! meet.

use std::num::{NonZeroU16, NonZeroU32};

use roost_wire::mqtt::{
    Ack, Connect, ConnectProperties, Disconnect, DisconnectProperties, Packet, PayloadFormat, Publish,
    PublishProperties, QoS, ReasonCode, RetainHandling, Subscribe, SubscribeProperties, Subscription,
    SubscriptionOptions, Unsubscribe, Version, Will, WillProperties,
};

const TOPICS: [&str; 16] = [
    "a",
    "a/b",
    "a/b/c",
    "devices/s1/telemetry",
    "me/telemetry",
    "devices/s1/events",
    "$SYS/x",
    "a//",
    "",
    "response/c0",
    "devices/s2/telemetry",
    "me/twin/reported",
    "devices/s1/response",
    "b",
    "long/long/long/long/long/long/long",
    "a/+",
];
const FILTERS: [&str; 16] = [
    "#",
    "a/#",
    "a/+",
    "+",
    "$share/g/a/#",
    "$share/g/#",
    "me/#",
    "devices/+/telemetry",
    "$SYS/#",
    "a",
    "$share//a",
    "a/#/b",
    "devices/s1/#",
    "+/b",
    "b",
    "",
];
const CLIENT_IDS: [&str; 4] = ["c0", "c1", "s1", ""];

fn pick<const N: usize>(table: &[&'static str; N], choice: u8) -> &'static str {
    table[usize::from(choice) % N]
}

fn qos(choice: u8) -> QoS {
    [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][usize::from(choice) % 3]
}

fn id(choice: u8) -> NonZeroU16 {
    NonZeroU16::new(u16::from(choice % 5) + 1).expect("it is above 0")
}

fn bit(choices: u8, bit: u8) -> bool {
    choices >> bit & 1 == 1
}

/// CONNECT with these credentials.
pub(crate) fn connect(choices: [u8; 4], token: &str) -> (Version, Vec<u8>) {
    let [flags, name, will, more] = choices;
    let version = if bit(flags, 0) { Version::V5 } else { Version::V3 };
    let properties = ConnectProperties {
        session_expiry: [0, 10, 3_600, u32::MAX][usize::from(more & 3)],
        receive_maximum: bit(more, 2).then_some(NonZeroU16::MIN),
        maximum_packet_size: if bit(more, 3) { NonZeroU32::new(64) } else { None },
        topic_alias_maximum: u16::from(more >> 6),
        request_response_information: bit(more, 4),
        authentication_method: (more == 255).then_some("SCRAM"),
        ..ConnectProperties::default()
    };
    let will = bit(will, 0).then(|| Will {
        qos: qos(will >> 1),
        retain: bit(will, 3),
        topic: pick(&TOPICS, will >> 4),
        payload: b"gone",
        properties: WillProperties { delay: u32::from(more >> 4), ..WillProperties::default() },
    });
    let connect = Connect {
        version,
        clean_start: bit(flags, 1),
        keep_alive: [0, 1, 10, 60][usize::from(flags >> 2 & 3)],
        properties: if version == Version::V5 { properties } else { ConnectProperties::default() },
        client_id: pick(&CLIENT_IDS, name),
        will,
        username: Some("s1"),
        password: Some(token.as_bytes()),
    };
    (version, encode(&Packet::Connect(Box::new(connect)), version))
}

/// A packet of any other kind.
pub(crate) fn packet(kind: u8, choices: [u8; 4], version: Version, payload: &[u8]) -> Vec<u8> {
    let [first, second, third, fourth] = choices;
    let id = id(second);
    let is_newer = version == Version::V5;
    let ack = Ack::new(
        id,
        if is_newer && fourth == 1 { ReasonCode::UnspecifiedError } else { ReasonCode::Success },
    );
    let filters = [pick(&FILTERS, first), pick(&FILTERS, fourth)];
    let filters = filters.get(..1 + usize::from(third >> 7)).unwrap_or_default();
    let subscriptions: Vec<Subscription<'_>> =
        filters.iter().map(|filter| Subscription { filter, options: options(third, version) }).collect();
    let packet = match kind {
        1..=5 => publish(choices, version, payload),
        6..=8 => Packet::Subscribe(Subscribe {
            packet_id: id,
            properties: SubscribeProperties {
                subscription_identifier: NonZeroU32::new(u32::from(fourth >> 4)).filter(|_| is_newer),
                ..SubscribeProperties::default()
            },
            subscriptions: subscriptions.as_slice().into(),
        }),
        9 => Packet::Unsubscribe(Unsubscribe {
            packet_id: id,
            user_properties: Default::default(),
            filters: filters.into(),
        }),
        10 => Packet::PubAck(ack),
        11 => Packet::PubRec(ack),
        12 => Packet::PubRel(ack),
        13 => Packet::PubComp(ack),
        14 => Packet::PingReq,
        _ => {
            let reason = if is_newer && bit(first, 0) {
                ReasonCode::DisconnectWithWill
            } else {
                ReasonCode::NORMAL_DISCONNECTION
            };
            let expiry = (is_newer && bit(first, 1)).then_some(u32::from(second));
            let properties =
                DisconnectProperties { session_expiry: expiry, ..DisconnectProperties::default() };
            Packet::Disconnect(Disconnect { reason, properties })
        }
    };
    encode(&packet, version)
}

fn options(choice: u8, version: Version) -> SubscriptionOptions {
    let options = SubscriptionOptions { qos: qos(choice), ..SubscriptionOptions::default() };
    if version == Version::V3 {
        return options;
    }
    SubscriptionOptions {
        no_local: bit(choice, 3),
        retain_as_published: bit(choice, 4),
        retain_handling: [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]
            [usize::from(choice >> 5 & 3) % 3],
        ..options
    }
}

fn publish<'a>([topic, ids, flags, more]: [u8; 4], version: Version, payload: &'a [u8]) -> Packet<'a> {
    let qos = qos(flags);
    let properties = PublishProperties {
        payload_format: bit(more, 0).then_some(PayloadFormat::Text),
        message_expiry: bit(more, 1).then_some(u32::from(more >> 4)),
        topic_alias: NonZeroU16::new(u16::from(more >> 2 & 3)),
        response_topic: bit(more, 7).then_some("response/c0"),
        correlation_data: bit(more, 6).then_some(b"1"),
        ..PublishProperties::default()
    };
    Packet::Publish(Publish {
        dup: bit(flags, 3) && qos > QoS::AtMostOnce,
        qos,
        retain: bit(flags, 4),
        topic: pick(&TOPICS, topic),
        packet_id: (qos > QoS::AtMostOnce).then(|| id(ids)),
        properties: if version == Version::V5 { properties } else { PublishProperties::default() },
        payload: if bit(flags, 5) { b"" } else { payload },
    })
}

/// The packet's bytes; none where it cannot be said in that version.
pub(crate) fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    match packet.encode(version, &mut bytes) {
        Ok(()) => bytes,
        Err(_cannot_be_said) => Vec::new(),
    }
}
