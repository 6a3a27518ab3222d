//! Every way in which bytes can be wrong, in one table.

use super::Version;
use super::reason::ReasonCode;

/// Why bytes were refused. Small and free to make: it points at a row of a static table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DecodeError(&'static Fault);

/// A row: the reason, the statement of 3.1.1, the statement of 5.0, and words for a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    reason: ReasonCode,
    v3: &'static str,
    v5: &'static str,
    detail: &'static str,
}

impl DecodeError {
    /// The reason that a CONNACK or DISCONNECT would carry in MQTT 5.0.
    #[must_use]
    pub fn reason(self) -> ReasonCode {
        self.0.reason
    }

    /// The statement of the specification that was broken, like `MQTT-3.3.1-4`; empty where the
    /// bound is ours or the version has no number for it.
    #[must_use]
    pub fn statement(self, version: Version) -> &'static str {
        match version {
            Version::V3 => self.0.v3,
            Version::V5 => self.0.v5,
        }
    }

    /// What is not so, in words.
    #[must_use]
    pub fn detail(self) -> &'static str {
        self.0.detail
    }
}

impl From<&'static Fault> for DecodeError {
    fn from(fault: &'static Fault) -> Self {
        Self(fault)
    }
}

impl std::fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DecodeError({self})")
    }
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Fault { reason, v5, detail, .. } = self.0;
        write!(f, "{detail}: {reason}")?;
        if v5.is_empty() {
            return Ok(());
        }
        write!(f, " [{v5}]")
    }
}

impl std::error::Error for DecodeError {}

const fn malformed(v3: &'static str, v5: &'static str, detail: &'static str) -> Fault {
    fault(ReasonCode::MalformedPacket, v3, v5, detail)
}

const fn protocol_error(v3: &'static str, v5: &'static str, detail: &'static str) -> Fault {
    fault(ReasonCode::ProtocolError, v3, v5, detail)
}

const fn fault(reason: ReasonCode, v3: &'static str, v5: &'static str, detail: &'static str) -> Fault {
    Fault { reason, v3, v5, detail }
}

// Fixed header and primitive values.
pub(super) static LENGTH_FORM: Fault =
    malformed("", "MQTT-1.5.5-1", "a variable byte integer is too long or not minimal");
pub(super) static CUT_SHORT: Fault = malformed("", "", "a field ends after the packet");
pub(super) static TRAILING_BYTES: Fault =
    malformed("", "MQTT-3.1.4-1", "bytes follow the last field of the packet");
pub(super) static NOT_UTF8: Fault =
    malformed("MQTT-1.5.3-1", "MQTT-1.5.4-1", "a string is not well-formed UTF-8");
pub(super) static NUL_IN_STRING: Fault =
    malformed("MQTT-1.5.3-2", "MQTT-1.5.4-2", "a string has U+0000 in it");
pub(super) static PACKET_TYPE: Fault = malformed("", "", "the packet type does not exist");
pub(super) static FLAGS: Fault =
    malformed("MQTT-2.2.2-2", "MQTT-2.1.3-1", "reserved flags of the first byte are wrong");
pub(super) static PUBREL_FLAGS: Fault =
    malformed("MQTT-3.6.1-1", "MQTT-3.6.1-1", "the flags of PUBREL are not 2");
pub(super) static SUBSCRIBE_FLAGS: Fault =
    malformed("MQTT-3.8.1-1", "MQTT-3.8.1-1", "the flags of SUBSCRIBE are not 2");
pub(super) static UNSUBSCRIBE_FLAGS: Fault =
    malformed("MQTT-3.10.1-1", "MQTT-3.10.1-1", "the flags of UNSUBSCRIBE are not 2");
pub(super) static DISCONNECT_FLAGS: Fault =
    malformed("MQTT-3.14.1-1", "MQTT-3.14.1-1", "the flags of DISCONNECT are not 0");
pub(super) static AUTH_FLAGS: Fault = malformed("", "MQTT-3.15.1-1", "the flags of AUTH are not 0");
pub(super) static PACKET_TOO_LARGE: Fault =
    fault(ReasonCode::PacketTooLarge, "", "", "the packet is larger than is allowed");
pub(super) static PACKET_ID_ZERO: Fault = malformed("MQTT-2.3.1-1", "MQTT-2.2.1-3", "the packet id is 0");
pub(super) static REASON_UNKNOWN: Fault = malformed("", "", "the reason code is not defined for this packet");

// Properties.
pub(super) static PROPERTY_UNKNOWN: Fault = malformed("", "", "the property id is not defined");
pub(super) static PROPERTY_NOT_ALLOWED: Fault =
    malformed("", "", "the property does not belong to this packet");
pub(super) static PROPERTY_TWICE: Fault = protocol_error("", "", "a property comes twice that may come once");
pub(super) static PROPERTY_VALUE: Fault =
    protocol_error("", "", "a property has a value that is not allowed");
pub(super) static USER_PROPERTIES: Fault =
    fault(ReasonCode::PacketTooLarge, "", "", "there are too many user properties");
pub(super) static ALIAS_ZERO: Fault =
    fault(ReasonCode::TopicAliasInvalid, "", "MQTT-3.3.2-8", "the topic alias is 0");
pub(super) static RESPONSE_TOPIC: Fault =
    protocol_error("", "MQTT-3.3.2-14", "the response topic is empty or has a wildcard");

// CONNECT.
pub(super) static NOT_CONNECT: Fault =
    protocol_error("MQTT-3.1.0-1", "MQTT-3.1.0-1", "the first packet is not CONNECT");
pub(super) static SECOND_CONNECT: Fault =
    protocol_error("MQTT-3.1.0-2", "MQTT-3.1.0-2", "CONNECT came a second time");
pub(super) static PROTOCOL_NAME: Fault = fault(
    ReasonCode::UnsupportedProtocolVersion,
    "MQTT-3.1.2-1",
    "MQTT-3.1.2-1",
    "the protocol name is not MQTT",
);
pub(super) static PROTOCOL_LEVEL: Fault = fault(
    ReasonCode::UnsupportedProtocolVersion,
    "MQTT-3.1.2-2",
    "MQTT-3.1.2-2",
    "the protocol level is neither 4 nor 5",
);
pub(super) static CONNECT_RESERVED: Fault =
    malformed("MQTT-3.1.2-3", "MQTT-3.1.2-3", "the reserved connect flag is set");
pub(super) static WILL_QOS: Fault = malformed("MQTT-3.1.2-14", "MQTT-3.1.2-12", "the will QoS is 3");
pub(super) static WILL_QOS_WITHOUT_WILL: Fault =
    malformed("MQTT-3.1.2-13", "MQTT-3.1.2-11", "a will QoS is given without a will");
pub(super) static WILL_RETAIN_WITHOUT_WILL: Fault =
    malformed("MQTT-3.1.2-15", "MQTT-3.1.2-13", "will retain is given without a will");
pub(super) static WILL_TOPIC: Fault = fault(
    ReasonCode::TopicNameInvalid,
    "MQTT-3.1.3-10",
    "MQTT-3.1.3-11",
    "the will topic is empty, too long or has a wildcard",
);
pub(super) static PASSWORD_WITHOUT_USER: Fault =
    malformed("MQTT-3.1.2-22", "", "a password is given without a user name");
pub(super) static CLIENT_ID_EMPTY: Fault =
    fault(ReasonCode::ClientIdentifierNotValid, "MQTT-3.1.3-8", "", "an empty client id needs clean session");
pub(super) static CLIENT_ID_TOO_LONG: Fault =
    fault(ReasonCode::ClientIdentifierNotValid, "MQTT-3.1.3-9", "MQTT-3.1.3-8", "the client id is too long");
pub(super) static AUTHENTICATION_DATA: Fault =
    protocol_error("", "", "authentication data is given without a method");

// CONNACK.
pub(super) static CONNACK_FLAGS: Fault = malformed("", "MQTT-3.2.2-1", "reserved flags of CONNACK are set");
pub(super) static SESSION_PRESENT: Fault =
    protocol_error("MQTT-3.2.2-4", "MQTT-3.2.2-6", "a refusing CONNACK says session present");

// PUBLISH.
pub(super) static PUBLISH_QOS: Fault = malformed("MQTT-3.3.1-4", "MQTT-3.3.1-4", "both QoS bits are set");
pub(super) static DUP_QOS_0: Fault = malformed("MQTT-3.3.1-2", "MQTT-3.3.1-2", "DUP is set on QoS 0");
pub(super) static TOPIC_EMPTY: Fault =
    protocol_error("MQTT-4.7.3-1", "MQTT-4.7.3-1", "the topic is empty and no alias stands for it");
pub(super) static TOPIC_WILDCARD: Fault =
    fault(ReasonCode::TopicNameInvalid, "MQTT-3.3.2-2", "MQTT-3.3.2-2", "the topic name has a wildcard");
pub(super) static TOPIC_TOO_LONG: Fault =
    fault(ReasonCode::TopicNameInvalid, "", "", "the topic has too many bytes or levels");

// SUBSCRIBE and UNSUBSCRIBE.
pub(super) static NO_FILTERS: Fault =
    protocol_error("MQTT-3.8.3-3", "MQTT-3.8.3-2", "SUBSCRIBE has no filter");
pub(super) static NO_FILTERS_TO_REMOVE: Fault =
    protocol_error("MQTT-3.10.3-2", "MQTT-3.10.3-2", "UNSUBSCRIBE has no filter");
pub(super) static TOO_MANY_FILTERS: Fault =
    fault(ReasonCode::QuotaExceeded, "", "", "the packet has too many filters");
pub(super) static SUBSCRIPTION_RESERVED: Fault =
    malformed("MQTT-3-8.3-4", "MQTT-3.8.3-5", "reserved bits of the subscription options are set");
pub(super) static SUBSCRIPTION_QOS: Fault =
    protocol_error("MQTT-3-8.3-4", "", "the subscription asks for QoS 3");
pub(super) static RETAIN_HANDLING: Fault = protocol_error("", "", "retain handling is 3");
pub(super) static NO_LOCAL_SHARED: Fault =
    protocol_error("", "MQTT-3.8.3-4", "no local is set on a shared subscription");
pub(super) static FILTER_EMPTY: Fault = malformed("MQTT-4.7.3-1", "MQTT-4.7.3-1", "a topic filter is empty");
pub(super) static FILTER_HASH: Fault =
    malformed("MQTT-4.7.1-2", "MQTT-4.7.1-1", "# is not alone in the last level");
pub(super) static FILTER_PLUS: Fault =
    malformed("MQTT-4.7.1-3", "MQTT-4.7.1-2", "+ is not alone in its level");
pub(super) static SHARE_NAME: Fault =
    malformed("", "MQTT-4.8.2-1", "a share name is empty or has a wildcard");
pub(super) static SHARE_WITHOUT_FILTER: Fault =
    malformed("", "MQTT-4.8.2-2", "a share name is not followed by a filter");

// SUBACK, PINGREQ, AUTH.
pub(super) static NO_REASONS: Fault = protocol_error("", "", "the answer has no reason codes");
pub(super) static AUTH_METHOD: Fault = protocol_error("", "", "AUTH has no authentication method");

// Rules of a connection, beyond single packets.
pub(super) static CONNECT_TIMEOUT: Fault =
    fault(ReasonCode::KeepAliveTimeout, "", "", "CONNECT was not complete or not answered in time");
pub(super) static KEEP_ALIVE: Fault = fault(
    ReasonCode::KeepAliveTimeout,
    "MQTT-3.1.2-24",
    "MQTT-3.1.2-22",
    "nothing came for one and a half times the keep alive",
);
pub(super) static BEFORE_CONNACK: Fault = protocol_error(
    "",
    "MQTT-3.1.2-30",
    "something else than AUTH or DISCONNECT came during enhanced authentication",
);
pub(super) static SERVER_PACKET: Fault = protocol_error("", "", "the packet is one that only a server sends");
pub(super) static RECEIVE_MAXIMUM: Fault = fault(
    ReasonCode::ReceiveMaximumExceeded,
    "",
    "MQTT-3.3.4-7",
    "more than twice the receive maximum is in flight",
);
pub(super) static IDENTIFIER_FROM_CLIENT: Fault =
    protocol_error("", "MQTT-3.3.4-6", "a client's PUBLISH has a subscription identifier");
pub(super) static ALIAS_TOO_LARGE: Fault =
    fault(ReasonCode::TopicAliasInvalid, "", "MQTT-3.3.2-9", "the topic alias is above the maximum");
pub(super) static ALIAS_UNKNOWN: Fault =
    protocol_error("", "MQTT-3.3.2-7", "the topic alias stands for no topic on this connection");
pub(super) static SESSION_EXPIRY_RAISED: Fault =
    protocol_error("", "", "DISCONNECT sets a session expiry where CONNECT had none");
pub(super) static AUTH_WITHOUT_METHOD: Fault =
    protocol_error("", "MQTT-4.12.0-7", "AUTH came and CONNECT had no authentication method");
pub(super) static AUTH_REASON: Fault =
    protocol_error("", "", "AUTH has a reason that a client may not give now");
