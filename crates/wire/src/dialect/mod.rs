//! How families of devices name their MQTT topics and shape their payloads.
//!
//! A [`Dialect`] reads what a family publishes and says what is meant by it ([`Said`]), and words
//! commands and wishes in the family's way ([`Outgoing`]). What it must remember between two messages
//! (aliases, names, what was announced) is its own state: there is one dialect value for each device
//! whose profile names the family, whether that device speaks for itself or is a gateway.

mod announce;
mod aws;
mod azure;
mod control;
mod document;
mod esphome;
mod generic;
mod homeassistant;
mod homie;
mod known;
mod open;
mod shelly;
mod sparkplug;
mod tasmota;
mod thingsboard;
mod zigbee2mqtt;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::json;
use crate::telemetry::Point;

pub use announce::{ANNOUNCED, Announced, Kind, announced_device};
pub use azure::SharedAccess;
pub use control::{COMMANDS, Control, commanded, controls};
pub use open::{SPOKEN, kept_topics, names_itself, open};

/// Who a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum About<'a> {
    /// The device whose connection it came by.
    Connection,
    /// A device by the name that the family's topics have for it. It may be the connection's own
    /// device or one behind it; who holds the connection knows.
    Named(Cow<'a, str>),
}

/// One statement of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Said<'a> {
    /// Who it is about.
    pub about: About<'a>,
    /// What is said.
    pub what: What<'a>,
}

/// What a message says of a device.
#[derive(Clone, Debug, PartialEq)]
pub enum What<'a> {
    /// It measured this.
    Readings(Vec<Point<'a>>),
    /// Its state is this now, as a merge patch (RFC 7396) of what it reported before.
    Reported(Map<String, Value>),
    /// It changes what is wished of it, as a merge patch, in families whose devices may.
    Desired(Map<String, Value>),
    /// Something happened.
    Event {
        /// In one level of a topic.
        name: Cow<'a, str>,
        /// As it came.
        payload: Cow<'a, [u8]>,
    },
    /// It answers a command.
    Answer(Answer),
    /// It is there, or gone.
    Presence(Presence),
    /// Its last values no longer hold; these keys, or all where there are none.
    Stale(Vec<Cow<'a, str>>),
    /// What it is, for whoever lets it in or shows it.
    Description(Box<Description>),
    /// It asks for its twin; answer with [`Dialect::twin`].
    AsksTwin(TwinRequest),
    /// The family's rules ask that this is published now.
    Reply(Outgoing),
}

/// Whether a device is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It said that it is there.
    Online,
    /// It, or its last will, said that it is gone.
    Offline,
}

/// A device's answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Which command, by the id that [`Dialect::command`] was given or by its [`number`] in digits;
    /// `None`: the oldest of that name (or the oldest of all) that was sent and is not answered, for
    /// families without ids.
    pub id: Option<String>,
    /// The command's name, where the family says it.
    pub name: Option<String>,
    /// The result, or what went wrong in words for people.
    pub outcome: Result<Value, String>,
}

/// What a device is, from a family's announcements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// A name for people.
    pub name: Option<String>,
    /// Maker, model, version and the like, as labels.
    pub labels: Vec<(String, String)>,
    /// What it measures and takes.
    pub keys: Vec<KeyDescription>,
}

/// One key of a device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyDescription {
    /// The key of its readings.
    pub key: String,
    /// For people.
    pub name: Option<String>,
    /// The unit as the family writes it.
    pub unit: Option<String>,
    /// The command's name that writes it, where it can be written.
    pub written_by: Option<String>,
}

/// A device asks for its twin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TwinRequest {
    /// What the family wants back in the answer: a request id, a token.
    pub correlation: Option<String>,
    /// Only these members, where they are named.
    pub reported: Option<Vec<String>>,
    /// Only these members, where they are named.
    pub desired: Option<Vec<String>>,
}

/// A device's twin as the hub has it.
#[derive(Clone, Copy, Debug)]
pub struct Twin<'a> {
    /// What the device reported.
    pub reported: &'a Map<String, Value>,
    /// What is wished of it.
    pub desired: &'a Map<String, Value>,
    /// Grows with each change of `desired`.
    pub version: u64,
    /// When it is said, in milliseconds since 1970.
    pub now: i64,
}

/// Why the twin is said.
#[derive(Clone, Debug, PartialEq)]
pub enum TwinReason {
    /// The device asked.
    Asked(TwinRequest),
    /// What is wished of it has changed.
    Changed,
}

/// A message to publish in the tenant. One that is not retained reaches, of all devices, the sessions
/// of the connection's own device only: many families have one name for everybody's topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// Whether it is retained.
    pub retain: bool,
}

/// A command as the hub has it.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// Letters, digits, `-` and `_`.
    pub id: &'a str,
    /// As whoever sent it named it.
    pub name: &'a str,
    /// Any JSON; null where there were none.
    pub params: &'a Value,
}

/// What a command becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wording {
    /// To be published in this order. None: the family has no way to say commands, and the command
    /// waits for another contact.
    pub messages: Vec<Outgoing>,
    /// Whether an [`Answer`] will come.
    pub answer: Awaited,
}

/// Whether a family answers a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// An [`Answer`] will come.
    Answer,
    /// Nothing will come: a command that was sent is done.
    Nothing,
}

/// A message that belongs to the family and cannot be read: what is wrong with it, for its sender's
/// maker. It stays an ordinary message and goes into the flight recorder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unread(pub Cow<'static, str>);

/// A command that the family has no words for; says what can be said instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsayable(pub Cow<'static, str>);

/// How one family speaks.
pub trait Dialect: Send {
    /// What the message says. Empty: it is none of the family's, or says nothing of a device.
    ///
    /// The topic is as the device wrote it. `now` is milliseconds since 1970. No input makes this
    /// panic, and what is remembered is bounded.
    ///
    /// # Errors
    /// [`Unread`]; nothing of the message is kept.
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], now: i64) -> Result<Vec<Said<'a>>, Unread>;

    /// Words a command for the device of this name in the family (`None`: the connection's own).
    ///
    /// # Errors
    /// [`Unsayable`]; the command fails with it.
    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable>;

    /// Says the twin in the family's way; families that have no twin say nothing.
    fn twin(&mut self, _device: Option<&str>, _twin: Twin<'_>, _reason: &TwinReason) -> Vec<Outgoing> {
        Vec::new()
    }
}

/// A number that stands for a command's id where a family's ids are numbers: always the same for the
/// same id, so that nobody has to remember it, and below 2^31.
#[must_use]
pub fn number(id: &str) -> u32 {
    // FNV-1a, 32 bits.
    let hash =
        id.bytes().fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash & 0x7FFF_FFFF
}

/// Reads a payload that is JSON, within the usual bounds.
///
/// # Errors
/// [`Unread`] says where it is none, or what is too much.
pub(crate) fn parse_json(payload: &[u8]) -> Result<Value, Unread> {
    json::check(payload, &json::Limits::default()).map_err(|error| Unread(Cow::Owned(error.to_string())))?;
    serde_json::from_slice(payload).map_err(|error| Unread(Cow::Owned(error.to_string())))
}
