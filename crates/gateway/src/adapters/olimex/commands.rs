//! Commands on their way to a node, and which answer belongs to which.
//!
//! The node copies a command's `ref` into its answer, except where it answers later or does not
//! know the URL; these are told by the URL.

use std::collections::VecDeque;
use std::time::Duration;

use roost_hub::id::CommandId;
use roost_hub::mailbox::Command;
use roost_wire::olimex::{self, Event};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::node::STATE_REF;

/// How many commands are with the node at once: it has little memory.
const SENT_MAX: usize = 4;
/// How long a node has to answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// What answers later and without the `ref`.
const DEFERRED: [&str; 3] = ["/devices", "/button", "/mod-finger"];

/// A command that waits for its answer.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) id: CommandId,
    url: String,
    at: Instant,
}

/// The commands that wait for answers, the oldest first.
#[derive(Debug, Default)]
pub(super) struct SentCommands(VecDeque<Sent>);

/// What an event means for a command.
#[derive(Debug, PartialEq)]
pub(super) enum Answered {
    /// It is finished: `{"ok":…}` as a device of ours would say it.
    Finished(CommandId, Value),
    /// The node has it, and will answer.
    Delivered(CommandId),
}

/// The frame of a command; the error is for who sent it.
pub(super) fn frame(command: &Command) -> Result<String, String> {
    let Value::Object(params) = &command.params else {
        return Err("the params of a command to an OLIMEX node are an object".to_owned());
    };
    let frame = olimex::Command {
        url: &command.name,
        data: Some(params).filter(|params| !params.is_empty()),
        reference: Some(command.id.as_str()),
    };
    frame.encode().map_err(|error| error.to_string())
}

impl SentCommands {
    pub(super) fn room(&self) -> usize {
        SENT_MAX.saturating_sub(self.0.len())
    }

    pub(super) fn push(&mut self, command: &Command, now: Instant) {
        self.0.push_back(Sent { id: command.id.clone(), url: command.name.clone(), at: now });
    }

    /// When the oldest has had its time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.front().map(|sent| sent.at + ANSWER_TIMEOUT)
    }

    /// Takes out what had its time.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Sent> {
        self.0.pop_front_if(|sent| sent.at + ANSWER_TIMEOUT <= now)
    }

    /// Takes out what is left when the connection ends.
    pub(super) fn pop(&mut self) -> Option<Sent> {
        self.0.pop_front()
    }

    /// Whether the event answers a command. A `ref` counts also when the command was sent over an
    /// earlier connection.
    pub(super) fn answered(&mut self, event: &Event) -> Option<Answered> {
        if let Some(reference) = event.reference() {
            if reference == STATE_REF {
                return None;
            }
            let id = CommandId::parse(reference).ok()?;
            let place = self.0.iter().position(|sent| sent.id == id);
            // The first answer to `/devices` only tells why the node was reset.
            let is_list = event.url() == Some("/devices") && event.error().is_none();
            if is_list && place.is_some() && event.data().is_none_or(|data| data.get("Devices").is_none()) {
                return Some(Answered::Delivered(id));
            }
            if let Some(place) = place {
                self.0.remove(place);
            }
            return Some(Answered::Finished(id, answer(event)));
        }
        let url = event.url()?;
        let resource = url.split_once("/0x").map_or(url, |(resource, _)| resource);
        if event.error().is_none() && !DEFERRED.contains(&resource) {
            return None;
        }
        if url == "/devices" && event.error().is_none() && event.data()?.get("Devices").is_none() {
            return None;
        }
        let place = self.0.iter().position(|sent| sent.url == url)?;
        let sent = self.0.remove(place)?;
        Some(Answered::Finished(sent.id, answer(event)))
    }
}

fn answer(event: &Event) -> Value {
    match event.error() {
        Some(error) => json!({ "ok": false, "error": error }),
        None => {
            let status = || event.status().map_or(Value::Null, Value::from);
            json!({ "ok": true, "result": event.data().cloned().unwrap_or_else(status) })
        }
    }
}

#[cfg(test)]
mod tests {
    use roost_hub::id::DeviceId;
    use roost_hub::mailbox::{CommandState, Receipt};
    use roost_hub::time::Timestamp;
    use roost_wire::olimex::Incoming;

    use super::*;

    fn command(id: &str, url: &str, params: Value) -> Command {
        Command {
            id: CommandId::parse(id).unwrap(),
            device: DeviceId::parse("d").unwrap(),
            name: url.to_owned(),
            params,
            priority: None,
            state: CommandState::Queued,
            created_at: Timestamp(0),
            expires_at: None,
            sent_at: None,
            delivered_at: None,
            finished_at: None,
            result: None,
            error: None,
            idempotency_key: None,
            receipt: Receipt::None,
        }
    }

    fn event(text: &str) -> Event {
        match olimex::read(text.as_bytes()) {
            Incoming::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    fn sent(id: &str, url: &str) -> SentCommands {
        let mut sent = SentCommands::default();
        sent.push(&command(id, url, json!({})), Instant::now());
        sent
    }

    #[test]
    fn a_command_without_params_asks_and_with_params_sets() {
        let text = frame(&command("c-1", "/relay", json!({ "Relay": 1 }))).unwrap();
        let set: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(set, json!({"URL":"/relay","Method":"POST","Data":{"Relay":1},"ref":"c-1"}));
        let asked: Value = serde_json::from_str(&frame(&command("c-2", "/adc", json!({}))).unwrap()).unwrap();
        assert_eq!(asked, json!({"URL":"/adc","Method":"GET","ref":"c-2"}));
        assert!(frame(&command("c-3", "relay", json!({}))).is_err());
        assert!(frame(&command("c-3", "/relay", json!([1]))).is_err());
    }

    #[test]
    fn a_ref_joins_its_answer() {
        let relay = r#"{"EventURL":"/relay","EventData":{"Status":"OK","Data":{"Relay":1},"ref":"c-1"}}"#;
        let id = CommandId::parse("c-1").unwrap();
        let expected = Answered::Finished(id, json!({"ok":true,"result":{"Relay":1}}));
        assert_eq!(sent("c-1", "/relay").answered(&event(relay)), Some(expected));
        let by_hand = r#"{"EventURL":"/relay","EventData":{"Status":"OK","Data":{"Relay":0}}}"#;
        assert_eq!(sent("c-1", "/relay").answered(&event(by_hand)), None);
        let state = r#"{"EventURL":"/relay","EventData":{"Status":"OK","ref":"get-state"}}"#;
        assert_eq!(sent("c-1", "/relay").answered(&event(state)), None);
    }

    #[test]
    fn an_unknown_url_is_joined_by_the_url() {
        let text = r#"{"EventURL":"/nothing","EventData":{"Error":"URL Not Found"}}"#;
        let mut commands = sent("c-1", "/nothing");
        let id = CommandId::parse("c-1").unwrap();
        let expected = Answered::Finished(id, json!({"ok":false,"error":"URL Not Found"}));
        assert_eq!(commands.answered(&event(text)), Some(expected));
        assert_eq!(commands.answered(&event(text)), None);
    }

    #[test]
    fn devices_answers_with_the_reset_reason_first_and_the_list_later() {
        let mut commands = sent("c-1", "/devices");
        let reset = r#"{"EventURL":"/devices","EventData":{"Status":"Power On","Data":{"ResetInfo":"0:0:0"},"ref":"c-1"}}"#;
        let id = CommandId::parse("c-1").unwrap();
        assert_eq!(commands.answered(&event(reset)), Some(Answered::Delivered(id.clone())));
        let list = r#"{"EventURL":"/devices","EventData":{"Status":"OK","Data":{"Devices":[]}}}"#;
        let expected = Answered::Finished(id, json!({"ok":true,"result":{"Devices":[]}}));
        assert_eq!(commands.answered(&event(list)), Some(expected));
    }
}
