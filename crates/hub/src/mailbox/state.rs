//! The life of a command: the one pure function that decides every change.

use super::{Answer, Command, CommandState, Receipt};
use crate::time::Timestamp;

/// What happens to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandEvent {
    /// Its bytes are about to leave.
    Sent(Receipt),
    /// The protocol tells that the device has it.
    Delivered,
    /// The connection broke just after it was sent: nobody knows; the text says what happened.
    InDoubt(String),
    /// The device answered.
    Answered(Answer),
    /// Its time may have run out.
    Expired,
    /// Somebody takes it back.
    Cancelled,
}

/// The command after the event; `None` when nothing changes.
///
/// A final state stays. A command whose time has run out is not sent, and an answer or a
/// cancellation then finds it expired. Times only rise, also when the wall clock is set back.
#[must_use]
pub fn after(command: &Command, event: CommandEvent, now: Timestamp) -> Option<Command> {
    if command.state.is_final() {
        return None;
    }
    let now = [command.sent_at, command.delivered_at]
        .into_iter()
        .flatten()
        .fold(now.max(command.created_at), Timestamp::max);
    let overdue = command.is_overdue(now);
    let mut next = command.clone();
    match event {
        CommandEvent::Sent(receipt) => {
            if command.state != CommandState::Queued || overdue {
                return None;
            }
            next.state = CommandState::Sent;
            next.sent_at = Some(now);
            next.receipt = receipt;
        }
        CommandEvent::Delivered => {
            if command.state != CommandState::Sent {
                return None;
            }
            next.state = CommandState::Delivered;
            next.delivered_at = Some(now);
            next.error = None;
        }
        CommandEvent::InDoubt(error) => {
            if command.state != CommandState::Sent {
                return None;
            }
            next.error = Some(error);
            next.receipt = Receipt::None;
        }
        CommandEvent::Answered(_) | CommandEvent::Cancelled | CommandEvent::Expired if overdue => {
            finish(&mut next, CommandState::Expired, now);
        }
        CommandEvent::Expired => return None,
        CommandEvent::Cancelled => finish(&mut next, CommandState::Cancelled, now),
        CommandEvent::Answered(Answer::Succeeded(result)) => {
            finish(&mut next, CommandState::Succeeded, now);
            next.result = result;
            next.error = None;
        }
        CommandEvent::Answered(Answer::Failed(error)) => {
            finish(&mut next, CommandState::Failed, now);
            next.error = Some(error);
        }
    }
    Some(next)
}

fn finish(command: &mut Command, state: CommandState, now: Timestamp) {
    command.state = state;
    command.finished_at = Some(now);
}
