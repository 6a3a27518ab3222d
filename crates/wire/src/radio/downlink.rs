//! What a device shall be sent, in the operator's words.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Operator;
use crate::dialect::{Command, Unsayable};
use crate::json as strict;

/// What Sigfox sends down, no less and no more, in bytes.
pub const SIGFOX_DOWNLINK_LENGTH: usize = 8;
/// The longest payload of a LoRaWAN downlink, in bytes.
const PAYLOAD_LENGTH_MAX: usize = 242;
/// FPorts of applications (LoRaWAN 1.0.4 section 4.3.2).
const PORTS: std::ops::RangeInclusive<u64> = 1..=223;
const PORT_DEFAULT: u8 = 1;
/// Before our id in a correlation id, which many parties add to.
const CORRELATION: &str = "roost:command:";
/// The longest reason of an operator that is handed on, in characters.
const REASON_LENGTH_MAX: usize = 200;
/// The longest answer that is looked at, in bytes.
const ANSWER_LENGTH_MAX: usize = 4_096;

/// A downlink.
#[derive(Clone, Debug, PartialEq)]
pub struct Downlink {
    /// The command's id.
    pub id: String,
    /// LoRaWAN's FPort.
    pub port: u8,
    /// Whether the device shall acknowledge it.
    pub confirmed: bool,
    /// What is sent.
    pub payload: Push,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Push {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What the operator's encoder makes of this object.
    Object(Map<String, Value>),
}

impl Downlink {
    /// Of a command with the params `{"hex":"01ff"}`, `{"base64":"Af8="}` or `{"object":{…}}`, and
    /// optionally `"port"` (1 to 223) and `"confirmed"`.
    ///
    /// # Errors
    /// [`Unsayable`]: none or several of the three, or out of range.
    pub fn of(command: &Command<'_>) -> Result<Self, Unsayable> {
        let no = |text: &'static str| Unsayable(Cow::Borrowed(text));
        let text = |name: &str| command.params.get(name).and_then(Value::as_str);
        let object = command.params.get("object").and_then(Value::as_object);
        let payload = match (text("hex"), text("base64"), object) {
            (Some(text), None, None) => {
                Push::Bytes(hexadecimal(text).ok_or(no("hex has pairs of hexadecimal digits"))?)
            }
            (None, Some(text), None) => {
                Push::Bytes(STANDARD.decode(text).ok().ok_or(no("base64 is no base64"))?)
            }
            (None, None, Some(object)) => Push::Object(object.clone()),
            _ => {
                return Err(no(
                    "a downlink has one of \"hex\", \"base64\" and \"object\", and may have \"port\" and \"confirmed\"",
                ));
            }
        };
        if matches!(&payload, Push::Bytes(bytes) if bytes.len() > PAYLOAD_LENGTH_MAX) {
            return Err(no("a downlink has at most 242 bytes"));
        }
        let port = match command.params.get("port") {
            None | Some(Value::Null) => PORT_DEFAULT,
            Some(port) => {
                let port = port.as_u64().filter(|port| PORTS.contains(port));
                port.and_then(|port| u8::try_from(port).ok()).ok_or(no("port is 1 to 223"))?
            }
        };
        let confirmed = command.params.get("confirmed").and_then(Value::as_bool).unwrap_or_default();
        Ok(Self { id: command.id.to_owned(), port, confirmed, payload })
    }

    /// The body that the operator takes: Sigfox in the answer to a call-back of the device that
    /// listens, The Things Stack by POST to the webhook's `…/down/push` (which its call-backs name in
    /// `X-Downlink-Push`), ChirpStack by POST to `/api/devices/{DevEUI}/queue`.
    ///
    /// # Errors
    /// [`Unsayable`]: Sigfox takes 8 bytes exactly.
    pub fn encode(&self, operator: Operator, device: &str) -> Result<String, Unsayable> {
        let body = match (operator, &self.payload) {
            (Operator::Sigfox, Push::Bytes(bytes)) if bytes.len() == SIGFOX_DOWNLINK_LENGTH => {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({ device: { "downlinkData": digits } })
            }
            (Operator::Sigfox, _) => {
                return Err(Unsayable(Cow::Borrowed("Sigfox sends exactly 8 bytes: give them as \"hex\"")));
            }
            (Operator::ThingsStack, payload) => {
                let mut item = json!({
                    "f_port": self.port,
                    "confirmed": self.confirmed,
                    "priority": "NORMAL",
                    "correlation_ids": [format!("{CORRELATION}{}", self.id)],
                });
                payload.put(&mut item, ["frm_payload", "decoded_payload"]);
                json!({ "downlinks": [item] })
            }
            (Operator::ChirpStack, payload) => {
                let id = queue_item(&self.id);
                let mut item = json!({ "id": id, "fPort": self.port, "confirmed": self.confirmed });
                payload.put(&mut item, ["data", "object"]);
                json!({ "queueItem": item })
            }
        };
        Ok(body.to_string())
    }
}

impl Push {
    /// Into the member for bytes or the one for objects.
    fn put(&self, item: &mut Value, names: [&str; 2]) {
        let Some(item) = item.as_object_mut() else { return };
        let [bytes_name, object_name] = names;
        match self {
            Self::Bytes(bytes) => item.insert(bytes_name.to_owned(), STANDARD.encode(bytes).into()),
            Self::Object(object) => item.insert(object_name.to_owned(), Value::Object(object.clone())),
        };
    }
}

/// The id under which ChirpStack queued a downlink, from its answer; [`super::Kind::Downlink`] has it.
pub fn chirpstack_queued(answer: &[u8]) -> Option<String> {
    if answer.len() > ANSWER_LENGTH_MAX {
        return None;
    }
    let answer: Value = serde_json::from_slice(answer).ok()?;
    Some(answer.get("id")?.as_str()?.to_owned())
}

/// The id that a command's downlink shall have in ChirpStack's queue: a UUID that is always the same for
/// the same command, so that nobody has to remember it (RFC 9562 section 5.8).
#[must_use]
pub fn queue_item(id: &str) -> String {
    let mut bytes = [0; 16];
    for (byte, hashed) in bytes.iter_mut().zip(Sha256::digest(format!("{CORRELATION}{id}"))) {
        *byte = hashed;
    }
    let number = u128::from_be_bytes(bytes);
    let number = number & !(0xF << 76) & !(0x3 << 62) | (0x8 << 76) | (0x2 << 62);
    let digits = format!("{number:032x}");
    let mut out = String::with_capacity(36);
    for (index, digit) in digits.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit);
    }
    out
}

/// What an operator's API says when it refuses: its `message`, shortened. Whatever else it answers is
/// nobody's business here.
#[must_use]
pub fn reason(answer: &[u8]) -> Option<String> {
    strict::check(answer, &strict::Limits::default()).ok()?;
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let message = answer.get("message")?.as_str()?;
    let plain = message.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    Some(plain.take(REASON_LENGTH_MAX).collect::<String>().trim().to_owned()).filter(|text| !text.is_empty())
}

/// Our id among the correlation ids.
pub(super) fn id_in(ids: Vec<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    ids.into_iter().find_map(|id| match id {
        Cow::Borrowed(id) => id.strip_prefix(CORRELATION).map(Cow::Borrowed),
        Cow::Owned(id) => id.strip_prefix(CORRELATION).map(|id| Cow::Owned(id.to_owned())),
    })
}

pub(super) fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)?.checked_mul(16)?.checked_add(digit(*low)?)?),
        _ => None,
    });
    pairs.collect()
}
