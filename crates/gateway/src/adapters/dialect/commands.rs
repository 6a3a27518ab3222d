//! Commands and wishes on their way to devices that speak a dialect.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use roost_hub::Hub;
use roost_hub::broker::{PublishError, Spoken};
use roost_hub::id::DeviceId;
use roost_hub::mailbox::Command;
use roost_hub::speech::{ToSay, Unsaid};
use roost_hub::storage::{Position, StorageError};
use roost_wire::dialect::{self, Outgoing, TwinReason, Wording, names_itself};
use serde_json::json;

use super::hearing::Hearing;
use super::speaker::Speaker;
use super::{Dialects, mapping};

/// For how many devices something is said at the same time.
const AT_ONCE_MAX: usize = 64;

impl Dialects {
    pub(super) async fn say_all(&self, hub: &Hub, mut unsaid: Vec<Unsaid>) {
        let let_in: Vec<_> = unsaid.extract_if(.., |one| one.what == ToSay::LetIn).collect();
        self.let_in(hub, let_in);
        stream::iter(unsaid).for_each_concurrent(AT_ONCE_MAX, |one| self.say(hub, one)).await;
    }

    /// Whoever speaks for devices that were let in is told, of all of them at once.
    fn let_in(&self, hub: &Hub, unsaid: Vec<Unsaid>) {
        let mut waited = HashMap::<_, Vec<_>>::new();
        for Unsaid { tenant, device, .. } in unsaid {
            let Some(parent) = hub.parent_of(&tenant, &device) else { continue };
            if !hub.is_online(&tenant, &parent) {
                continue;
            }
            let Some(speaker) = self.find(&tenant, &parent) else { continue };
            let name = speaker.name_of(hub, &device).unwrap_or_else(|| device.to_string());
            waited.entry((tenant, parent)).or_default().push((device, name));
        }
        for ((tenant, parent), waited) in waited {
            let Some(speaker) = self.find(&tenant, &parent) else { continue };
            let principal = speaker.principal();
            if let Err(error) = Hearing::new(hub, &principal, &speaker, hub.now()).let_in(&waited) {
                hub.note_unsaid(&principal, &parent, error);
            }
        }
    }

    /// The speaker itself, or its gateway: whoever is there.
    async fn say(&self, hub: &Hub, unsaid: Unsaid) {
        let Unsaid { tenant, device, what } = unsaid;
        let parent = hub.parent_of(&tenant, &device);
        for candidate in [Some(&device), parent.as_ref()].into_iter().flatten() {
            if !hub.is_online(&tenant, candidate) {
                continue;
            }
            let Some(speaker) = self.find(&tenant, candidate) else { continue };
            let is_itself = *candidate == device;
            let has_name = !is_itself || names_itself(speaker.dialect);
            let name = has_name.then(|| speaker.name_of(hub, &device).unwrap_or_else(|| device.to_string()));
            let said = match what {
                ToSay::Commands => speaker.say_commands(hub, &device, name.as_deref()).await,
                ToSay::Twin => speaker.say_twin(hub, (&device, name.as_deref())),
                ToSay::LetIn => Ok(()),
            };
            if let Err(error) = said {
                hub.note_unsaid(&speaker.principal(), &device, error);
            }
            return;
        }
    }
}

impl Speaker {
    /// Says what waits, and again what was sent and not acknowledged.
    async fn say_commands(
        &self,
        hub: &Hub,
        device: &DeviceId,
        name: Option<&str>,
    ) -> Result<(), StorageError> {
        let tenant = &self.principal().tenant;
        let mut commands = hub.unconfirmed_commands(tenant, device, hub.now());
        commands.extend(hub.waiting_commands(tenant, device, hub.now()));
        for command in commands {
            let Some(worded) = self.word(hub, name, &command) else { return Ok(()) };
            match worded {
                Ok(wording) if wording.messages.is_empty() => {}
                Ok(wording) => self.say_command(hub, &command, wording).await?,
                Err(why) => self.fail(hub, &command, &why),
            }
        }
        Ok(())
    }

    fn word(&self, hub: &Hub, name: Option<&str>, command: &Command) -> Option<Result<Wording, String>> {
        let mut state = self.state();
        let dialect = state.dialect(hub, self)?;
        let command =
            dialect::Command { id: command.id.as_str(), name: &command.name, params: &command.params };
        Some(dialect.command(name, command).map_err(|unsayable| unsayable.to_string()))
    }

    async fn say_command(&self, hub: &Hub, command: &Command, wording: Wording) -> Result<(), StorageError> {
        let principal = self.principal();
        let Some(words) = mapping::words(&principal, wording, command) else {
            self.fail(hub, command, "its words are no topic that a message can be published to");
            return Ok(());
        };
        match hub.say_command(&principal, command, words).await {
            Ok(Spoken::Said | Spoken::Unheard) => Ok(()),
            Err(PublishError::Storage(error)) => Err(error),
            Err(error) => {
                self.fail(hub, command, &error.to_string());
                Ok(())
            }
        }
    }

    fn fail(&self, hub: &Hub, command: &Command, why: &str) {
        let result = json!({ "ok": false, "error": why }).to_string();
        let tenant = &self.principal().tenant;
        // Should the store fail, the command waits on.
        drop(hub.take_result(tenant, &command.device, command.id.as_str(), result.as_bytes(), hub.now()));
    }

    fn say_twin(&self, hub: &Hub, whose: (&DeviceId, Option<&str>)) -> Result<(), StorageError> {
        for outgoing in self.word_twin(hub, whose, &TwinReason::Changed)? {
            self.say(hub, outgoing)?;
        }
        Ok(())
    }

    /// The twin of a device in the family's words.
    ///
    /// # Errors
    /// The store could not tell.
    pub(super) fn word_twin(
        &self,
        hub: &Hub,
        (device, name): (&DeviceId, Option<&str>),
        reason: &TwinReason,
    ) -> Result<Vec<Outgoing>, StorageError> {
        let twin = hub.twin(&self.principal().tenant, device)?;
        let mut state = self.state();
        let Some(dialect) = state.dialect(hub, self) else { return Ok(Vec::new()) };
        let (reported, desired) = (&twin.reported, &twin.desired);
        let twin = dialect::Twin { reported, desired, version: twin.version, now: hub.now().0 };
        Ok(dialect.twin(name, twin, reason))
    }

    /// Publishes what the family's rules ask for. Gives the position when it is durable, of what is
    /// retained.
    ///
    /// # Errors
    /// The store could not.
    pub(super) fn say(&self, hub: &Hub, outgoing: Outgoing) -> Result<Option<Position>, StorageError> {
        let principal: Arc<_> = self.principal();
        let Some(device) = principal.device() else { return Ok(None) };
        let topic = outgoing.topic.clone();
        let said = match mapping::message(&principal, outgoing, hub.now()) {
            Some(message) => hub.say(&principal, message),
            None => Err(PublishError::TopicInvalid("this is no topic")),
        };
        match said {
            Ok(position) => Ok(position),
            Err(PublishError::Storage(error)) => Err(error),
            Err(error) => {
                hub.note_unsaid(&principal, device, format_args!("answer on {topic:?}: {error}"));
                Ok(None)
            }
        }
    }
}
