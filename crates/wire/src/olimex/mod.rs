//! OLIMEX IoT: the JSON frames of nodes on ESP8266, whose firmware dials us by
//! WebSocket or posts one event a request.
//!
//! Read leniently, since the firmware prints texts into JSON without escaping
//! them and puts passwords into answers: [`read`] mends what can be mended,
//! keeps the rest as text, and gives nothing in which a password still stands.

mod catalogue;
mod command;
mod event;
mod incoming;
mod keys;
mod mend;
mod redact;

pub use catalogue::{Access, Key, Resource, describe, resource};
pub use command::{Command, CommandError, REF_LENGTH_MAX};
pub use event::Event;
pub use incoming::{Identification, Incoming, LogIn, read};
pub use redact::{HIDDEN, redact, redact_text};

/// The largest payload of a frame to a node, in bytes: with its header it fits
/// one TCP segment, and a node reads nothing else.
pub const FRAME_PAYLOAD_MAX: usize = 1_200;

#[cfg(test)]
mod tests;
