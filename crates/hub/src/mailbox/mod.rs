//! One mailbox per device: commands wait in order and leave on the next contact of any kind.
//!
//! The truth is the table: `commands/{tenant}/{device}/{id}`. `commands-index/…` names those that
//! are open or whose idempotency key still counts, so that a start need not read the finished ones.

mod answer;
mod deliver;
mod id;
mod index;
mod keep;
mod list;
mod send;
pub mod state;
mod watch;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{CommandId, DeviceId};
use crate::storage::StorageError;
use crate::time::Timestamp;

pub use answer::{Answer, AnswerError, CancelCommandError, TakeResultError};
pub use index::Mailboxes;
pub use list::CommandPage;
pub use state::CommandEvent;
pub use watch::MailboxWatch;

/// The longest name of a command, in bytes.
pub const COMMAND_NAME_LENGTH_MAX: usize = 256;
/// The largest `params` or `result`, in bytes of JSON.
pub const COMMAND_JSON_MAX: usize = 64 * 1024;
/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_LENGTH_MAX: usize = 256;
/// For how long a repeated idempotency key gives the first command back.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 3600);
/// How many commands of a device are kept that no longer wait; older ones go as new ones come.
pub const COMMANDS_KEPT_MAX: usize = 1_000;

/// How far a command has come. The last four are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandState {
    /// It waits for a contact.
    Queued,
    /// Its bytes may have left us.
    Sent,
    /// The protocol says that the device has it.
    Delivered,
    /// The device says that it did it.
    Succeeded,
    /// The device says that it could not.
    Failed,
    /// Its time ran out first.
    Expired,
    /// Somebody took it back.
    Cancelled,
}

impl CommandState {
    /// Whether nothing can change any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Expired | Self::Cancelled)
    }

    /// The state's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Whether the protocol by which a command is sent tells when it arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Receipt {
    /// It does not (HTTP, a TCP line): the command is never sent a second time.
    #[default]
    None,
    /// It does (PUBACK, a CoAP acknowledgement): until then, a session that begins anew may send
    /// the command again under its id, see [`crate::Hub::unconfirmed_commands`].
    Awaited,
}

/// A command as it is stored. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Its id; ids of one device sort by age.
    pub id: CommandId,
    /// To whom.
    pub device: DeviceId,
    /// What to do.
    pub name: String,
    /// With what.
    pub params: Value,
    /// Higher goes first; `None` counts as 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i8>,
    /// How far it has come.
    pub state: CommandState,
    /// When it was taken.
    pub created_at: Timestamp,
    /// When it is worth nothing any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// When the protocol said that it arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// When it came to a final state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// What the device answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it failed, or why nobody knows whether it arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// By which a repeated request is recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Whether its delivery will be told.
    #[serde(default)]
    pub receipt: Receipt,
}

impl Command {
    /// Whether its time has run out at `now`.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Whether it was sent by a protocol that tells of delivery, and did not yet.
    #[must_use]
    pub fn is_unconfirmed(&self) -> bool {
        self.state == CommandState::Sent && self.receipt == Receipt::Awaited
    }
}

/// A command to be sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewCommand {
    /// What to do: 1 to 256 bytes without control characters.
    pub name: String,
    /// With what; null becomes `{}`.
    pub params: Value,
    /// After how long it is worth nothing any more.
    pub expires_in: Option<Duration>,
    /// Higher goes first; `None` counts as 0.
    pub priority: Option<i8>,
    /// A repeated key gives the first command back for [`IDEMPOTENCY_KEPT`].
    pub idempotency_key: Option<String>,
}

/// Why a command was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SendCommandError {
    /// The tenant has no such device.
    #[error("there is no such device")]
    DeviceUnknown,
    /// So many commands wait already.
    #[error("{0} commands wait for the device already")]
    QueueFull(usize),
    /// The command itself cannot be; says why.
    #[error("{0}")]
    Invalid(String),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
