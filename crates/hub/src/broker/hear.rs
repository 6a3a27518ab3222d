//! Whoever understands what devices say in the words of their families hears it here, by whichever
//! protocol it came: a publish over MQTT, HTTP, WebSocket or CoAP, and a will that we send.

use std::fmt;
use std::sync::OnceLock;
use std::task::Waker;

use crate::hub::Hub;
use crate::message::Message;
use crate::principal::Principal;
use crate::storage::{Position, StorageError};

use super::publish::{Origin, PublishError, Published};

/// Takes what a device's message says, before the message goes its ordinary way; gives the position up
/// to which the log must be durable for all of it, if anything was written.
pub type Interpret =
    dyn Fn(&Hub, &Principal, &Message) -> Result<Option<Position>, StorageError> + Send + Sync;

/// Who understands; nobody, until somebody says so.
#[derive(Default)]
pub(crate) struct Interpreter(OnceLock<Box<Interpret>>);

impl fmt::Debug for Interpreter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Interpreter").field(&self.0.get().is_some()).finish()
    }
}

/// Whose words a message is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tongue {
    /// Its publisher's, who may speak a dialect.
    Own,
    /// Ours: it is what an interpreter made of another message.
    Translated,
}

impl Hub {
    /// From now on every message of a device whose profile names a dialect is shown to `interpret`, once
    /// it is known that the device may publish there. The first interpreter stays. Should it not be able
    /// to, the message is not taken, and its publisher may say it again.
    pub fn interpret_by(&self, interpret: Box<Interpret>) {
        self.broker.interpreter.0.get_or_init(|| interpret);
    }

    /// As [`Hub::publish`], of what an interpreter made of a message, or an adapter of its protocol: no
    /// interpreter hears it again.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was stored or delivered.
    pub fn publish_translated(
        &self,
        principal: &Principal,
        message: Message,
    ) -> Result<Published, PublishError> {
        let mut wakes = Vec::new();
        let origin = Origin { principal, session: None, tongue: Tongue::Translated };
        let published = self.publish_from(origin, message, None, &mut wakes);
        wakes.into_iter().for_each(Waker::wake);
        published
    }

    /// Whether somebody has to hear what the principal says.
    pub(super) fn is_heard(&self, principal: &Principal) -> bool {
        principal.dialect().is_some() && self.broker.interpreter.0.get().is_some()
    }

    /// Costs a comparison for everybody who speaks no dialect.
    pub(super) fn interpret(
        &self,
        origin: Origin<'_>,
        message: &Message,
    ) -> Result<Option<Position>, StorageError> {
        if origin.tongue == Tongue::Translated || origin.principal.dialect().is_none() {
            return Ok(None);
        }
        match self.broker.interpreter.0.get() {
            Some(interpret) => interpret(self, origin.principal, message),
            None => Ok(None),
        }
    }
}
