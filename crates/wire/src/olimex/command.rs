//! Commands to a node.

use serde_json::{Map, Value};

use super::FRAME_PAYLOAD_MAX;

/// The longest `URL`, in bytes.
const URL_LENGTH_MAX: usize = 149;
/// The longest `ref`, in bytes.
pub const REF_LENGTH_MAX: usize = 49;

/// A command. Without data it asks (`GET`), with data it sets (`POST`).
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// The resource, such as `/relay` or `/mod-rgb/0x21`.
    pub url: &'a str,
    pub data: Option<&'a Map<String, Value>>,
    /// Comes back in the answer. Letters, digits and `._-`: the node copies it without escaping.
    pub reference: Option<&'a str>,
}

/// Why no node could take a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("a command's name is a URL of the node of at most 149 bytes, such as /relay")]
    Url,
    #[error("a ref has 1 to 49 letters, digits and `._-`")]
    Reference,
    #[error("the command has {0} bytes as JSON; a node takes 1,200")]
    TooLong(usize),
}

impl Command<'_> {
    /// The frame's payload: one that fits one segment and the node's buffers.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn encode(&self) -> Result<String, CommandError> {
        let is_url = self.url.starts_with('/')
            && self.url.len() <= URL_LENGTH_MAX
            && self.url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
        if !is_url {
            return Err(CommandError::Url);
        }
        let method = if self.data.is_some() { "POST" } else { "GET" };
        // In this order, the data last: the node searches names at any depth, and takes the first.
        let mut frame = format!("{{\"URL\":\"{}\",\"Method\":\"{method}\"", self.url);
        if let Some(reference) = self.reference {
            if !is_reference(reference) {
                return Err(CommandError::Reference);
            }
            frame.push_str(&format!(",\"ref\":\"{reference}\""));
        }
        if let Some(data) = self.data {
            frame.push_str(&format!(",\"Data\":{}", Value::from(data.clone())));
        }
        frame.push('}');
        if frame.len() > FRAME_PAYLOAD_MAX { Err(CommandError::TooLong(frame.len())) } else { Ok(frame) }
    }
}

fn is_reference(text: &str) -> bool {
    (1..=REF_LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
