//! When a field is there.

use super::field::Raw;

/// Something that must be so for a field to be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) of: Of,
    /// One of these.
    pub(super) equals: Vec<Wanted>,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A byte, from the start of the list's bytes, or below 0 from the frame's end.
    Byte(i32),
    /// What an earlier field read; the slots of those with that key.
    Field(Vec<usize>),
    /// The frame's port.
    Port,
}

/// A value that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Integer(i128),
    Boolean(bool),
    Text(String),
}

impl Wanted {
    pub(super) fn is(&self, raw: &Raw<'_>) -> bool {
        match (self, raw) {
            (Self::Integer(wanted), Raw::Integer(found)) => wanted == found,
            (Self::Boolean(wanted), Raw::Boolean(found)) => wanted == found,
            (Self::Text(wanted), Raw::Text(found)) => wanted == found,
            _ => false,
        }
    }
}
