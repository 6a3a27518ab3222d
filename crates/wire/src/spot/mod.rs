//! Intellifi Spot readers, JSON form: arrays `[resource, action, object]`
//! divided by two line feeds, streamed up in the body of a long POST and down
//! in its answer. One bad message is skipped, never the stream.

mod encode;
mod message;
mod presence;
mod split;
mod time;

pub use encode::encode;
pub use message::{Body, Field, Message, MessageError, read};
pub use presence::{Change, PRESENCES_MAX, Presences};
pub use split::{Broken, MESSAGE_LENGTH_MAX, Splitter};
pub use time::{Stamp, stamp};

/// What is posted and answered.
pub const MEDIA_TYPE: &str = "text/x-intellifi-events";

#[cfg(test)]
mod tests;
