//! What a device may show to log in.

use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::id::{CredentialId, DeviceId, TenantId};
use crate::principal::Whose;
use crate::storage::{Expected, Key, PutError, StorageError};
use crate::time::Timestamp;

use super::device::Device;
use super::fact;
use super::password::PasswordHash;
use super::proof::{Proof, StoredCredential, credential_key};
use super::seal::{Kept, Place};
use super::secret::{Holder, Secret, SecretHash, SecretOwner, check_given};

/// The most credentials of a device.
const CREDENTIALS_MAX: usize = 20;
/// The longest PSK identity and certificate name, in bytes.
const IDENTITY_LENGTH_MAX: usize = 128;
/// The longest pre-shared key, in bytes (RFC 4279 section 5.3 asks for 64 at least).
const PSK_LENGTH_MAX: usize = 64;
/// The shortest pre-shared key, in bytes.
const PSK_LENGTH_MIN: usize = 8;

/// The kinds of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// A secret text, on every protocol.
    Token,
    /// A password with the device id as user name.
    Password,
    /// A pre-shared key, for DTLS.
    Psk,
    /// The name in a client certificate.
    X509,
}

/// A credential, without what is secret about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its id among the device's.
    pub id: CredentialId,
    /// Its kind.
    pub kind: CredentialKind,
    /// The PSK identity or the certificate's common name.
    pub name: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
}

/// A credential to be added.
#[derive(Clone, Debug)]
pub enum NewCredential {
    /// A token.
    Token {
        /// One that is burned into the device already; made up when it is left out.
        given: Option<String>,
    },
    /// A password, hashed with [`Hub::hash_password`]. A device has one at most.
    Password {
        /// The hash.
        hash: PasswordHash,
    },
    /// A pre-shared key.
    Psk {
        /// By which the device names it, one in the whole server.
        identity: String,
        /// The key; made up when it is left out.
        key: Option<Vec<u8>>,
    },
    /// Client certificates with a name, whose chain the listener has checked.
    X509 {
        /// The common name; the device id when it is left out.
        common_name: Option<String>,
    },
}

/// Why a credential was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddCredentialError {
    /// There is no such device.
    #[error("there is no such device")]
    DeviceUnknown,
    /// The token, identity or name is in use, or the device has a password already.
    #[error("{0}")]
    Taken(&'static str),
    /// Something about it is not as it must be; says what.
    #[error("{0}")]
    Invalid(String),
    /// The device has as many as it may have.
    #[error("a device has at most {0} credentials")]
    TooMany(usize),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a credential was not revoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokeCredentialError {
    /// There is no such device, or it has no such credential.
    #[error("there is no such credential")]
    Unknown,
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn credentials_prefix(tenant: &TenantId, device: &DeviceId) -> String {
    Key::of("credentials").level(tenant.as_str()).level(device.as_str()).prefix()
}

impl From<&StoredCredential> for Credential {
    fn from(stored: &StoredCredential) -> Self {
        let name = match &stored.proof {
            Proof::Psk { identity, .. } => Some(identity.clone()),
            Proof::X509 { common_name } => Some(common_name.clone()),
            Proof::Token { .. } | Proof::Password { .. } => None,
        };
        Self { id: stored.id.clone(), kind: stored.proof.kind(), name, created_at: stored.created_at }
    }
}

impl Hub {
    /// The device's credentials; empty when there is no such device.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn credentials(&self, tenant: &TenantId, device: &DeviceId) -> Result<Vec<Credential>, StorageError> {
        let stored = self.stored_credentials(tenant, device)?;
        Ok(stored.iter().map(|(_, credential)| credential.into()).collect())
    }

    fn stored_credentials(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Vec<(Key, StoredCredential)>, StorageError> {
        fact::all(&*self.store.table, &credentials_prefix(tenant, device))
    }

    /// Adds a credential; gives the secret when one was made up, to be shown this once. Not cancel
    /// safe.
    ///
    /// # Errors
    /// [`AddCredentialError`]; nothing was added.
    pub async fn add_credential(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        new: NewCredential,
    ) -> Result<(Credential, Option<Secret>), AddCredentialError> {
        let added = self.add_credential_now(tenant, device, new)?;
        self.durable(self.store.log.end()).await?;
        Ok(added)
    }

    fn add_credential_now(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        new: NewCredential,
    ) -> Result<(Credential, Option<Secret>), AddCredentialError> {
        let state = self.tenant_state(tenant)?.ok_or(AddCredentialError::DeviceUnknown)?;
        let _turn = state.turn();
        let device = self.device(tenant, device)?.ok_or(AddCredentialError::DeviceUnknown)?;
        if self.stored_credentials(tenant, &device.id)?.len() >= CREDENTIALS_MAX {
            return Err(AddCredentialError::TooMany(CREDENTIALS_MAX));
        }
        let (proof, secret) = self.prove(&device, new).map_err(AddCredentialError::Invalid)?;
        let stored = self.put_credential(tenant, &device, proof)?;
        Ok(((&stored).into(), secret))
    }

    fn prove(&self, device: &Device, new: NewCredential) -> Result<(Proof, Option<Secret>), String> {
        let check_name = |name: &str| {
            let fits = (1..=IDENTITY_LENGTH_MAX).contains(&name.len()) && !name.contains(char::is_control);
            if fits { Ok(()) } else { Err(format!("a name has 1 to {IDENTITY_LENGTH_MAX} printable bytes")) }
        };
        Ok(match new {
            NewCredential::Token { given } => {
                if let Some(text) = &given {
                    check_given(text)?;
                }
                let secret = given.map_or_else(|| self.new_secret(), Secret::new);
                (Proof::Token { hash: SecretHash::of(secret.reveal().as_bytes()) }, Some(secret))
            }
            NewCredential::Password { hash } => (Proof::Password { hash }, None),
            NewCredential::Psk { identity, key } => {
                check_name(&identity)?;
                let made_up = key.is_none().then(|| self.new_secret());
                let key = key
                    .or_else(|| made_up.as_ref().map(|secret| secret.reveal().as_bytes().to_vec()))
                    .unwrap_or_default();
                if !(PSK_LENGTH_MIN..=PSK_LENGTH_MAX).contains(&key.len()) {
                    return Err(format!("a PSK has {PSK_LENGTH_MIN} to {PSK_LENGTH_MAX} bytes"));
                }
                // Sealed as soon as it has its place.
                (Proof::Psk { identity, kept: Kept::KeyHex(hex::encode(key)) }, made_up)
            }
            NewCredential::X509 { common_name } => {
                let common_name = common_name.unwrap_or_else(|| device.id.as_str().to_owned());
                check_name(&common_name)?;
                (Proof::X509 { common_name }, None)
            }
        })
    }

    /// Writes the credential, then the entry that makes it work. The caller has the tenant's turn.
    fn put_credential(
        &self,
        tenant: &TenantId,
        device: &Device,
        proof: Proof,
    ) -> Result<StoredCredential, AddCredentialError> {
        let id = CredentialId::parse(&self.new_id())
            .map_err(|error| AddCredentialError::Invalid(error.to_string()))?;
        let table = &*self.store.table;
        let index = proof.index(tenant, &device.id)?;
        let proof = self.sealed(proof, &Place { tenant, device: &device.id, credential: &id })?;
        let stored = StoredCredential { id: id.clone(), created_at: self.now(), born: device.born, proof };
        let key = credential_key(tenant, &device.id, &id)?;
        fact::set(table, &key, &stored)?;
        let holder = Holder::Device { device: device.id.clone(), born: device.born, id };
        let owner = SecretOwner { tenant: tenant.clone(), holder };
        match fact::put(table, &index, &owner, Expected::Absent) {
            Ok(_) => Ok(stored),
            Err(error) => {
                fact::delete(table, &key)?;
                Err(match error {
                    PutError::Conflict(_) => AddCredentialError::Taken(match stored.proof.kind() {
                        CredentialKind::Token => "the token is in use already",
                        CredentialKind::Password => "the device has a password already",
                        CredentialKind::Psk => "the PSK identity is in use already",
                        CredentialKind::X509 => "the common name is in use already",
                    }),
                    PutError::Storage(error) => AddCredentialError::Storage(error),
                })
            }
        }
    }

    /// Gives a device that is being registered its first token. The caller has the tenant's turn.
    pub(super) fn put_device_token(
        &self,
        tenant: &TenantId,
        device: &Device,
        secret: &Secret,
    ) -> Result<CredentialId, AddCredentialError> {
        let hash = SecretHash::of(secret.reveal().as_bytes());
        Ok(self.put_credential(tenant, device, Proof::Token { hash })?.id)
    }

    pub(super) fn is_secret_taken(&self, text: &str) -> Result<bool, StorageError> {
        Ok(self.store.table.get(&SecretHash::of(text.as_bytes()).key()?)?.is_some())
    }

    /// Revokes a credential: it opens nothing any more, and what it opened is closed. Not cancel
    /// safe.
    ///
    /// # Errors
    /// [`RevokeCredentialError`].
    pub async fn revoke_credential(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CredentialId,
    ) -> Result<(), RevokeCredentialError> {
        self.revoke_credential_now(tenant, device, id)?;
        let whose = Whose::Credential(device.clone(), id.clone());
        self.close_sessions_of(tenant, &whose);
        Ok(self.durable(self.store.log.end()).await?)
    }

    fn revoke_credential_now(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CredentialId,
    ) -> Result<(), RevokeCredentialError> {
        let state = self.tenant_state(tenant)?.ok_or(RevokeCredentialError::Unknown)?;
        let _turn = state.turn();
        let key = credential_key(tenant, device, id)?;
        let found = fact::get::<StoredCredential>(&*self.store.table, &key)?;
        let stored = found.ok_or(RevokeCredentialError::Unknown)?.value;
        Ok(self.erase_credential(tenant, device, &key, &stored)?)
    }

    fn erase_credential(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        key: &Key,
        stored: &StoredCredential,
    ) -> Result<(), StorageError> {
        let table = &*self.store.table;
        let index = stored.proof.index(tenant, device)?;
        // The entry may be somebody else's, if adding this credential was interrupted.
        let owner = fact::get::<SecretOwner>(table, &index)?;
        let is_own = owner.is_some_and(|owner| {
            owner.value.tenant == *tenant
                && matches!(&owner.value.holder, Holder::Device { id, .. } if *id == stored.id)
        });
        if is_own {
            fact::delete(table, &index)?;
        }
        self.registry.passwords.forget(&stored.id);
        fact::delete(table, key)?;
        Ok(())
    }

    /// Removes all credentials under a device's id.
    pub(super) fn erase_credentials(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), StorageError> {
        for (key, stored) in self.stored_credentials(tenant, device)? {
            self.erase_credential(tenant, device, &key, &stored)?;
        }
        Ok(())
    }
}
