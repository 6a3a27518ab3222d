//! What a Spot is told in the answer: commands, and what its configuration shall be.
//!
//! Nothing is acknowledged but by the configuration itself: a `config` message with the wanted values.
//! Without one, it is said again after 30 s, three times in all.

use std::time::Duration;

use roost_hub::Hub;
use roost_hub::flight::FlightKind;
use roost_hub::id::{CommandId, DeviceId, TenantId};
use roost_hub::mailbox::{Command, Receipt};
use roost_hub::storage::{Position, StorageError};
use roost_wire::spot::encode;
use serde_json::{Map, Value, json};

/// How many messages one answer has.
const MESSAGES_MAX: usize = 16;
/// How many bytes, unless one message alone has more.
const ANSWER_LENGTH_MAX: usize = 4 * 1024;
/// How long a confirmation is waited for.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(30);
/// How often a configuration is said.
const TRIES_MAX: u32 = 3;
/// How many configurations wait for their confirmation.
const PENDING_MAX: usize = 16;

/// What was said and not confirmed.
#[derive(Debug, Default)]
pub(super) struct Downlink {
    pending: Vec<Pending>,
    /// The version of the twin whose wishes the Spot does not fulfil; they are not repeated.
    given_up: Option<u64>,
}

#[derive(Debug)]
struct Pending {
    what: What,
    params: Map<String, Value>,
    /// What no message of the Spot has shown yet.
    unseen: Map<String, Value>,
    tries: u32,
    at: Duration,
}

/// Why something was said.
#[derive(Clone, Debug, PartialEq)]
enum What {
    Command(CommandId),
    /// The twin's wishes of this version.
    Desired(u64),
}

/// An answer that is being written.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    messages: usize,
    /// What must be durable before it leaves.
    pub(super) position: Position,
}

impl Answer {
    /// Adds a message; `false` when it has to wait for the next answer.
    fn add(&mut self, resource: &str, params: &Map<String, Value>) -> bool {
        let length = self.bytes.len();
        encode(resource, "update", params, &mut self.bytes);
        let fits = self.messages == 0 || self.bytes.len() <= ANSWER_LENGTH_MAX;
        if !fits || self.messages == MESSAGES_MAX {
            self.bytes.truncate(length);
            return false;
        }
        self.messages += 1;
        true
    }
}

/// Whose answer it is.
#[derive(Clone, Copy)]
pub(super) struct Recipient<'a> {
    pub(super) hub: &'a Hub,
    pub(super) tenant: &'a TenantId,
    pub(super) device: &'a DeviceId,
}

impl Recipient<'_> {
    fn finish(&self, id: &CommandId, answer: &Value) {
        let payload = answer.to_string();
        let now = self.hub.now();
        // What is wrong with it is in the flight recorder by now.
        drop(self.hub.take_result(self.tenant, self.device, id.as_str(), payload.as_bytes(), now));
    }

    fn note(&self, kind: FlightKind, text: &str) {
        self.hub.note(self.tenant, self.device, kind, text, self.hub.now());
    }
}

/// Whether the Spot's configuration will show that it was taken: a reset, and firmware, show themselves
/// in none.
fn is_confirmed(name: &str, params: &Map<String, Value>) -> bool {
    name == "config" && !params.contains_key("reset")
}

impl Downlink {
    /// Goes on with what was said before the server was started and is not confirmed.
    pub(super) fn resumed(to: Recipient<'_>, now: Duration) -> Self {
        let mut downlink = Self::default();
        for id in to.hub.unanswered_commands(to.tenant, to.device) {
            // One with an error has been given up; one that cannot be read is not said again.
            if let Ok(Some(command)) = to.hub.command(to.tenant, to.device, &id)
                && let Value::Object(params) = command.params
                && command.error.is_none()
                && is_confirmed(&command.name, &params)
                && downlink.pending.len() < PENDING_MAX
            {
                downlink.expect(What::Command(id), params, now);
            }
        }
        downlink
    }

    /// The Spot said some of its configuration: what it was asked for and now has is confirmed.
    pub(super) fn confirm(&mut self, to: Recipient<'_>, config: &Map<String, Value>) {
        for pending in &mut self.pending {
            pending
                .unseen
                .retain(|name, wanted| !config.get(name).is_some_and(|value| is_same(value, wanted)));
        }
        for confirmed in self.pending.extract_if(.., |pending| pending.unseen.is_empty()) {
            match confirmed.what {
                What::Command(id) => to.finish(&id, &json!({ "ok": true })),
                What::Desired(_) => to.note(FlightKind::Twin, "the configuration is as it shall be"),
            }
        }
    }

    /// Writes what is to be said now.
    pub(super) fn write(
        &mut self,
        to: Recipient<'_>,
        answer: &mut Answer,
        now: Duration,
    ) -> Result<(), StorageError> {
        self.repeat(to, answer, now);
        for command in to.hub.waiting_commands(to.tenant, to.device, to.hub.now()) {
            if !self.write_command(to, &command, answer, now)? {
                return Ok(());
            }
        }
        self.write_desired(to, answer, now)
    }

    /// Says again what is not confirmed.
    fn say_again(&mut self, answer: &mut Answer, now: Duration) {
        for pending in &mut self.pending {
            let is_due = now.saturating_sub(pending.at) >= CONFIRMED_WITHIN;
            let is_worth_it = pending.tries < TRIES_MAX && !pending.params.is_empty();
            if is_due && is_worth_it && answer.add("config", &pending.params) {
                pending.tries += 1;
                pending.at = now;
            }
        }
    }

    fn repeat(&mut self, to: Recipient<'_>, answer: &mut Answer, now: Duration) {
        self.say_again(answer, now);
        let is_lost = |pending: &mut Pending| {
            let is_hopeless = pending.tries >= TRIES_MAX || pending.params.is_empty();
            is_hopeless && now.saturating_sub(pending.at) >= CONFIRMED_WITHIN
        };
        for lost in self.pending.extract_if(.., is_lost) {
            let why = match lost.params.is_empty() {
                true => "unconfirmed: a later one set the same before any config message showed it",
                false => "unconfirmed: no config message showed it, said three times",
            };
            match lost.what {
                // Should the store fail, the command stays "sent", which is true as well.
                What::Command(id) => drop(to.hub.mark_in_doubt(to.tenant, to.device, &id, why)),
                What::Desired(version) => {
                    self.given_up = Some(version);
                    to.note(FlightKind::Twin, why);
                }
            }
        }
    }

    /// `false` when the answer is full.
    fn write_command(
        &mut self,
        to: Recipient<'_>,
        command: &Command,
        answer: &mut Answer,
        now: Duration,
    ) -> Result<bool, StorageError> {
        let params = match (command.name.as_str(), &command.params) {
            ("config" | "firmware", Value::Object(params)) if !params.is_empty() => params,
            _ => {
                let error = "a Spot knows the commands config and firmware, with params";
                to.finish(&command.id, &json!({ "ok": false, "error": error }));
                return Ok(true);
            }
        };
        let is_confirmed = is_confirmed(&command.name, params);
        if is_confirmed && self.pending.len() >= PENDING_MAX {
            return Ok(false);
        }
        let (length, messages) = (answer.bytes.len(), answer.messages);
        if !answer.add(&command.name, params) {
            return Ok(false);
        }
        let Some(position) = to.hub.mark_sent(to.tenant, to.device, &command.id, Receipt::None)? else {
            // It was cancelled just now, or somebody else was quicker.
            answer.bytes.truncate(length);
            answer.messages = messages;
            return Ok(true);
        };
        answer.position = answer.position.max(position);
        if is_confirmed {
            self.expect(What::Command(command.id.clone()), params.clone(), now);
        }
        Ok(true)
    }

    fn expect(&mut self, what: What, params: Map<String, Value>, now: Duration) {
        // To say again what an older command wanted would undo this one.
        let commands = |pending: &&mut Pending| matches!(pending.what, What::Command(_));
        for older in self.pending.iter_mut().filter(commands) {
            older.params.retain(|name, _| !params.contains_key(name));
        }
        self.pending.push(Pending { what, unseen: params.clone(), params, tries: 1, at: now });
    }

    fn write_desired(
        &mut self,
        to: Recipient<'_>,
        answer: &mut Answer,
        now: Duration,
    ) -> Result<(), StorageError> {
        let twin = to.hub.twin(to.tenant, to.device)?;
        let what = What::Desired(twin.version);
        let is_said = self.pending.iter().any(|pending| pending.what == what);
        if twin.desired.is_empty() || is_said || self.given_up == Some(twin.version) {
            return Ok(());
        }
        let wanted = twin
            .desired
            .into_iter()
            .filter(|(name, wanted)| !twin.reported.get(name).is_some_and(|value| is_same(value, wanted)));
        let wanted: Map<String, Value> = wanted.collect();
        // The wishes of an older version are part of these.
        self.pending.retain(|pending| !matches!(pending.what, What::Desired(_)));
        if !wanted.is_empty() && answer.add("config", &wanted) {
            self.expect(what, wanted, now);
        }
        Ok(())
    }
}

/// Whether two values are one for a Spot: it may write 27 as 27.0.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_at_most_16_messages_or_4_kib() {
        let params = json!({ "rfid_power_dbm": 27 });
        let params = params.as_object().unwrap();
        let mut answer = Answer::default();
        let added = (0..20).filter(|_| answer.add("config", params)).count();
        assert_eq!(added, 16);
        let large = json!({ "control_schema": "x".repeat(3_000) });
        let mut answer = Answer::default();
        assert!(answer.add("config", large.as_object().unwrap()));
        assert!(!answer.add("config", large.as_object().unwrap()));
        assert!(answer.add("config", params));
    }

    #[test]
    fn what_a_later_command_sets_is_not_said_again_in_the_older_way() {
        let mut downlink = Downlink::default();
        let mut command = |id: &str, params: Value| {
            let what = What::Command(CommandId::parse(id).unwrap());
            downlink.expect(what, params.as_object().unwrap().clone(), Duration::ZERO);
        };
        command("c-1", json!({ "rfid_power_dbm": 25, "rfid_near": -500 }));
        command("c-2", json!({ "send_hits": false }));
        command("c-3", json!({ "rfid_power_dbm": 27, "send_hits": true }));
        let mut answer = Answer::default();
        downlink.say_again(&mut answer, CONFIRMED_WITHIN);
        let said = String::from_utf8(answer.bytes).unwrap();
        let expected = [json!({ "rfid_near": -500 }), json!({ "rfid_power_dbm": 27, "send_hits": true })];
        let expected: String =
            expected.iter().map(|params| format!("[\"config\",\"update\",{params}]\n\n")).collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn numbers_are_the_same_however_they_are_written() {
        assert!(is_same(&json!(27), &json!(27.0)) && !is_same(&json!(27), &json!("27")));
        assert!(is_same(&json!({ "links": { "out1": "in1" } }), &json!({ "links": { "out1": "in1" } })));
    }
}
