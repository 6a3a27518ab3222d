//! A message as it is inside, whatever protocol it came by.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::id::DeviceId;
use crate::reading::Reading;
use crate::storage::Position;
use crate::time::Timestamp;
use crate::topic::Topic;

/// Quality of service (MQTT 5.0 section 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QoS {
    /// QoS 0.
    #[default]
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
    /// QoS 2.
    ExactlyOnce,
}

impl QoS {
    /// The number that stands for it on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    /// Reads the number; `None` for 3 and beyond.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// What MQTT 5 lets a publisher say beside topic and payload (section 3.3.2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// The payload is UTF-8 text.
    pub is_text: bool,
    /// When the message is worth nothing any more.
    pub expires_at: Option<Timestamp>,
    /// What the payload is.
    pub content_type: Option<Arc<str>>,
    /// Where an answer is awaited.
    pub response_topic: Option<Arc<str>>,
    /// By which the requester knows the answer.
    pub correlation_data: Option<Bytes>,
    /// Names and values, in order, names may repeat.
    pub user: Vec<(Arc<str>, Arc<str>)>,
}

/// The readings that were found in a message's payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Whose readings.
    pub device: DeviceId,
    /// The readings, in the order in which they came.
    pub readings: Vec<Reading>,
}

/// A message on its way. The tenant is known from where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The topic, with `me` already written out.
    pub topic: Topic,
    /// The payload as it came.
    pub payload: Bytes,
    /// The quality of service it was published with.
    pub qos: QoS,
    /// Whether it is to be kept as the topic's retained message.
    pub retain: bool,
    /// When it arrived.
    pub time: Timestamp,
    /// What MQTT 5 says beside; `None` when nothing.
    pub properties: Option<Box<Properties>>,
    /// The readings in it, when the topic is a device's telemetry.
    pub telemetry: Option<Box<Telemetry>>,
    /// Where it stands in the log, once it does. Everybody who is given the message sees it.
    pub logged: OnceLock<Position>,
}

impl Message {
    /// Payload and topic, in bytes.
    pub(crate) fn length(&self) -> u32 {
        u32::try_from(self.payload.len() + self.topic.as_str().len()).unwrap_or(u32::MAX)
    }

    /// A plain message: QoS 0, not retained, nothing beside.
    #[must_use]
    pub fn new(topic: Topic, payload: impl Into<Bytes>, time: Timestamp) -> Self {
        Self {
            topic,
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            time,
            properties: None,
            telemetry: None,
            logged: OnceLock::new(),
        }
    }

    /// The same message, known to stand there in the log.
    #[must_use]
    pub fn logged_at(self, position: Position) -> Self {
        Self { logged: OnceLock::from(position), ..self }
    }

    /// When it is worth nothing any more, if ever.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.properties.as_ref().and_then(|properties| properties.expires_at)
    }
}
