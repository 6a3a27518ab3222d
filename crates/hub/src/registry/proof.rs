//! How a device proves who it is, as it is kept.

use serde::{Deserialize, Serialize};

use crate::id::{CredentialId, DeviceId, TenantId};
use crate::storage::{Key, Position, StorageError};
use crate::time::Timestamp;

use super::credential::CredentialKind;
use super::fact::{self, position};
use super::password::PasswordHash;
use super::seal::Kept;
use super::secret::SecretHash;

/// A credential as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredCredential {
    pub(super) id: CredentialId,
    pub(super) created_at: Timestamp,
    #[serde(with = "position")]
    pub(super) born: Position,
    pub(super) proof: Proof,
}

/// How the device proves it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Proof {
    Token {
        hash: SecretHash,
    },
    Password {
        hash: PasswordHash,
    },
    Psk {
        identity: String,
        #[serde(flatten)]
        kept: Kept,
    },
    X509 {
        common_name: String,
    },
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Proof({:?})", self.kind())
    }
}

impl Proof {
    pub(super) fn kind(&self) -> CredentialKind {
        match self {
            Self::Token { .. } => CredentialKind::Token,
            Self::Password { .. } => CredentialKind::Password,
            Self::Psk { .. } => CredentialKind::Psk,
            Self::X509 { .. } => CredentialKind::X509,
        }
    }

    /// The entry by which the credential is found at log-in.
    pub(super) fn index(&self, tenant: &TenantId, device: &DeviceId) -> Result<Key, StorageError> {
        match self {
            Self::Token { hash } => hash.key(),
            Self::Password { .. } => {
                fact::key(Key::of("passwords").level(device.as_str()).level(tenant.as_str()))
            }
            Self::Psk { identity, .. } => identity_key(identity),
            Self::X509 { common_name } => common_name_key(common_name),
        }
    }
}

pub(super) fn identity_key(identity: &str) -> Result<Key, StorageError> {
    fact::key(Key::of("identities").level(identity))
}

/// Under which all identities stand.
pub(super) fn identities_prefix() -> String {
    Key::of("identities").prefix()
}

pub(super) fn common_name_key(common_name: &str) -> Result<Key, StorageError> {
    fact::key(Key::of("common-names").level(common_name))
}

pub(super) fn credential_key(
    tenant: &TenantId,
    device: &DeviceId,
    id: &CredentialId,
) -> Result<Key, StorageError> {
    fact::key(Key::of("credentials").level(tenant.as_str()).level(device.as_str()).level(id.as_str()))
}
