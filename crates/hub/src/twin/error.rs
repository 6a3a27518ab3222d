//! Why a twin was not changed.

use super::{InvalidJson, Twin};
use crate::storage::StorageError;

/// Why `desired` was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PatchTwinError {
    /// The version is another one than was named; the twin as it stands.
    #[error("the twin has version {}", .0.version)]
    Conflict(Box<Twin>),
    /// [`TWIN_JSON_MAX`]
    #[error("a twin's `desired` has at most 65,536 bytes of JSON")]
    TooLarge,
    /// The patch itself cannot be; says why.
    #[error("{0}")]
    Invalid(String),
    /// The tenant has no such device.
    #[error("there is no such device")]
    DeviceUnknown,
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReportTwinError {
    /// [`TWIN_JSON_MAX`]
    #[error("a twin's `reported` has at most 65,536 bytes of JSON")]
    TooLarge,
    /// The patch itself cannot be; says why.
    #[error("{0}")]
    Invalid(String),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What both kinds of patch have in common.
pub(super) enum Invalid {
    TooLarge,
    Other(String),
}

impl From<InvalidJson> for Invalid {
    fn from(invalid: InvalidJson) -> Self {
        match invalid {
            InvalidJson::TooLarge(_) => Self::TooLarge,
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<Invalid> for PatchTwinError {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::TooLarge => Self::TooLarge,
            Invalid::Other(text) => Self::Invalid(text),
        }
    }
}

impl From<Invalid> for ReportTwinError {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::TooLarge => Self::TooLarge,
            Invalid::Other(text) => Self::Invalid(text),
        }
    }
}
