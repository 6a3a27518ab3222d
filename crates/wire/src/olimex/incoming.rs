//! What a frame of a node is.

use serde_json::{Map, Value};

use super::event::Event;
use super::mend::first_value;
use super::redact::redact_text;

/// A frame, or the body of a POST.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// Who the node belongs to.
    LogIn(LogIn),
    /// Which node it is.
    Identification(Identification),
    /// A log-in that cannot be read: a quote in the password, mostly.
    UnreadLogIn,
    /// Something happened, or a command is answered.
    Event(Event),
    /// No JSON object even when mended; the text without what may be a password.
    Unread(String),
}

/// `{"User":…,"Password":…}`
#[derive(Clone, PartialEq, Eq)]
pub struct LogIn {
    pub user: String,
    pub password: String,
}

/// `{"Name":…,"Token":…}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identification {
    /// The friendly name.
    pub name: String,
    /// Mostly the address of the node's own access point: 12 hexadecimal digits.
    pub token: String,
}

impl std::fmt::Debug for LogIn {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LogIn").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Reads a frame. There is no frame that is nothing.
pub fn read(frame: &[u8]) -> Incoming {
    let text = String::from_utf8_lossy(frame);
    match first_value(&text) {
        Some(Value::Object(members)) => of_members(members),
        Some(other) => Incoming::Unread(redact_text(&other.to_string())),
        None if text.trim_start().starts_with("{\"User\"") => Incoming::UnreadLogIn,
        None => Incoming::Unread(redact_text(&text)),
    }
}

fn of_members(mut members: Map<String, Value>) -> Incoming {
    if let Some((user, password)) = take_pair(&mut members, "User", "Password") {
        return Incoming::LogIn(LogIn { user, password });
    }
    if let Some((name, token)) = take_pair(&mut members, "Name", "Token") {
        return Incoming::Identification(Identification { name, token });
    }
    Incoming::Event(Event::new(members))
}

fn take_pair(members: &mut Map<String, Value>, first: &str, second: &str) -> Option<(String, String)> {
    let is_pair = [first, second].iter().all(|name| members.get(*name).is_some_and(Value::is_string));
    let mut take = |name| members.remove(name).and_then(|value| value.as_str().map(str::to_owned));
    if is_pair { Some((take(first)?, take(second)?)) } else { None }
}
