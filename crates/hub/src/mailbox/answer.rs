//! How a command ends: the device answers, or somebody takes it back.

use serde_json::Value;

use super::deliver::Changed;
use super::{COMMAND_JSON_MAX, Command, CommandEvent, CommandState};
use crate::Hub;
use crate::flight::FlightKind;
use crate::id::{CommandId, DeviceId, TenantId};
use crate::storage::{Position, StorageError};
use crate::time::Timestamp;
use crate::twin::json;

/// The longest error text of a device that is kept, in bytes.
const ERROR_LENGTH_MAX: usize = 4_096;

/// What the device answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It did it; perhaps there is something to tell.
    Succeeded(Option<Value>),
    /// It could not, and says why.
    Failed(String),
}

impl Answer {
    /// Reads `{"ok":true,"result":…}` or `{"ok":false,"error":"…"}`, at most 64 KiB.
    ///
    /// # Errors
    /// A text for the device's maker: what is not as it must be.
    pub fn parse(payload: &[u8]) -> Result<Self, String> {
        let value = json::parse(payload, COMMAND_JSON_MAX).map_err(|invalid| invalid.to_string())?;
        let shape = "a result is {\"ok\":true,\"result\":…} or {\"ok\":false,\"error\":\"…\"}";
        let Value::Object(mut fields) = value else { return Err(shape.to_owned()) };
        match (fields.remove("ok"), fields.remove("error")) {
            (Some(Value::Bool(true)), _) => Ok(Self::Succeeded(fields.remove("result"))),
            (Some(Value::Bool(false)), None | Some(Value::Null)) => Ok(Self::Failed(String::new())),
            (Some(Value::Bool(false)), Some(Value::String(mut error))) => {
                error.truncate(error.floor_char_boundary(ERROR_LENGTH_MAX));
                Ok(Self::Failed(error))
            }
            _ => Err(shape.to_owned()),
        }
    }
}

/// Why an answer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The device has no such command.
    #[error("there is no such command")]
    Unknown,
    /// It came too late: the command is expired or cancelled, and stays so.
    #[error("the command is {} already", .0.state.name())]
    Late(Box<Command>),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a published result was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeResultError {
    /// The payload is no result; says why.
    #[error("{0}")]
    Invalid(String),
    /// The device has no such command.
    #[error("there is no such command")]
    Unknown,
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a command was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelCommandError {
    /// The device has no such command.
    #[error("there is no such command")]
    Unknown,
    /// It is finished, and stays so.
    #[error("the command is {} already", .0.state.name())]
    Finished(Box<Command>),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Hub {
    /// Takes the device's answer; of several, the first counts, and the later ones get the command
    /// as it stands. Durable when it returns.
    ///
    /// # Errors
    /// [`AnswerError`]
    pub async fn answer_command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
        answer: Answer,
    ) -> Result<Command, AnswerError> {
        let (command, position) = self.take_answer(tenant, device, id, answer)?;
        self.durable(position).await?;
        Ok(command)
    }

    /// Takes what a device published to `commands/{id}/result`; the position is when it is durable,
    /// `None` when the answer was late or repeated, which is noted.
    ///
    /// # Errors
    /// [`TakeResultError`]; noted in the flight recorder too.
    #[expect(clippy::too_many_arguments, reason = "a topic's parts, its payload and the time")]
    pub fn take_result(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &str,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<Option<Position>, TakeResultError> {
        let note = |text: std::fmt::Arguments<'_>| {
            self.note(tenant, device, FlightKind::Refused, text, now);
        };
        let answer = Answer::parse(payload).map_err(|why| {
            note(format_args!("result of command {id}: {why}"));
            TakeResultError::Invalid(why)
        })?;
        let Ok(command) = CommandId::parse(id) else {
            note(format_args!("result of a command that is none"));
            return Err(TakeResultError::Unknown);
        };
        match self.take_answer(tenant, device, &command, answer) {
            Ok((_, position)) => Ok(Some(position).filter(|position| *position > Position(0))),
            Err(AnswerError::Late(_)) => Ok(None),
            Err(AnswerError::Unknown) => Err(TakeResultError::Unknown),
            Err(AnswerError::Storage(error)) => Err(error.into()),
        }
    }

    /// Position 0 says that nothing changed.
    fn take_answer(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
        answer: Answer,
    ) -> Result<(Command, Position), AnswerError> {
        let now = self.now();
        let note = |text: std::fmt::Arguments<'_>| {
            self.note(tenant, device, FlightKind::Refused, text, now);
        };
        let (command, position) =
            match self.change_command(tenant, device, id, CommandEvent::Answered(answer))? {
                Changed::Unknown => {
                    note(format_args!("result of command {id}, which is unknown"));
                    return Err(AnswerError::Unknown);
                }
                Changed::Same(command) => (command, Position(0)),
                Changed::Now(command, position) => (command, position),
            };
        match command.state {
            CommandState::Expired | CommandState::Cancelled => {
                note(format_args!("late result of command {id}, which is {}", command.state.name()));
                Err(AnswerError::Late(Box::new(command)))
            }
            _ if position == Position(0) => {
                note(format_args!("second result of command {id}, which is {}", command.state.name()));
                Ok((command, position))
            }
            _ => Ok((command, position)),
        }
    }

    /// Takes a command back that is not finished. One that was sent already may still be carried
    /// out; its times tell. Durable when it returns.
    ///
    /// # Errors
    /// [`CancelCommandError`]
    pub async fn cancel_command(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CommandId,
    ) -> Result<Command, CancelCommandError> {
        match self.change_command(tenant, device, id, CommandEvent::Cancelled)? {
            Changed::Unknown => Err(CancelCommandError::Unknown),
            Changed::Same(command) => Err(CancelCommandError::Finished(Box::new(command))),
            Changed::Now(command, position) => {
                self.durable(position).await?;
                if command.state == CommandState::Cancelled {
                    return Ok(command);
                }
                Err(CancelCommandError::Finished(Box::new(command)))
            }
        }
    }
}
