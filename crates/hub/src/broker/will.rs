//! Wills (MQTT 5.0 section 3.1.2.5): what a client wants said when it is gone.

use std::time::Duration;

use crate::message::Message;

/// A client's will.
#[derive(Clone, Debug, PartialEq)]
pub struct Will {
    /// The message; its time is replaced when it is sent.
    pub message: Message,
    /// How long after the connection ended it is sent.
    pub delay: Duration,
    /// How long it is worth something, from when it is sent.
    pub expiry: Option<Duration>,
}
