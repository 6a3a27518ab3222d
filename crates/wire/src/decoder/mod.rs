//! Binary payloads to points, by a declaration of what stands where: fixed fields, fields that are
//! there for some kinds of messages only, and groups that begin with a tag. Where a declaration is
//! kept and which device has which is not decided here.

mod condition;
mod declaration;
mod field;
mod number;
mod read;
mod report;
#[cfg(test)]
mod tests;
mod text;

pub use report::report;
pub use text::{from_base64, from_hex, hex};

use field::Field;

/// The most fields of a decoder, those of its groups counted.
pub const FIELDS_MAX: usize = 256;
/// The most groups of one frame.
pub const GROUPS_OF_FRAME_MAX: usize = 1_024;

/// What a declaration (docs/decoders.md) means, checked. Made by [`Decoder::parse`].
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    fields: Vec<Field>,
    tagged: Option<Tagged>,
    /// How many fields there are, each with a slot for what was read.
    slots: usize,
    /// How many different keys there are.
    keys: usize,
}

/// Groups of fields that follow each other until the frame ends, each behind its tag.
#[derive(Clone, Debug, PartialEq)]
struct Tagged {
    /// Bytes of a tag.
    length: usize,
    /// In the order of their tags.
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq)]
struct Group {
    tag: Vec<u8>,
    fields: Vec<Field>,
}

/// What a device sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The bytes as they came.
    pub bytes: &'a [u8],
    /// By which a radio network tells kinds of messages apart (LoRaWAN's `FPort`), where it said so.
    pub port: Option<u8>,
}

/// Why a frame was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default())]
pub struct DecodeError {
    /// The key of the field, when it is one field's fault.
    pub field: Option<String>,
    /// Where in the frame, in bytes from 0.
    pub offset: usize,
    /// What is not so, without the field.
    pub detail: String,
}

/// Why a declaration is none, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {detail}")]
pub struct InvalidDecoder {
    /// Such as `decoder.fields[2] "temp"`.
    pub place: String,
    /// What to change.
    pub detail: String,
}
