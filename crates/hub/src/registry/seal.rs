//! Secrets that have to be known again as they are, sealed: a pre-shared key that stands in the
//! store is of no use without a key that does not stand there.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hub::Hub;
use crate::id::{CredentialId, DeviceId, TenantId};
use crate::storage::{Expected, Key, PutError, StorageError};

use super::credential::CredentialKind;
use super::fact;
use super::proof::{Proof, StoredCredential, credential_key, identities_prefix};
use super::secret::{Holder, SecretOwner};

/// The length of a nonce, which is random: long enough that none comes twice.
const NONCE_LENGTH: usize = 24;
/// The bytes of a hash by which a key is told from another.
const KEY_ID_LENGTH: usize = 4;

/// The key with which secrets are sealed. Never shown by `Debug`, never stored by the hub.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey([u8; SealKey::LENGTH]);

impl SealKey {
    /// Its length in bytes.
    pub const LENGTH: usize = 32;

    /// Takes bytes that nobody can guess.
    #[must_use]
    pub fn new(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// Reads what [`SealKey::reveal`] gave.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(hex::decode(text).ok()?.try_into().ok()?))
    }

    /// The key in hexadecimal digits, for the file in which it is kept.
    #[must_use]
    pub fn reveal(&self) -> String {
        hex::encode(self.0)
    }

    /// By which it is told from another; nothing can be learnt of the key from it.
    #[must_use]
    pub fn id(&self) -> String {
        let hash = Sha256::new().chain_update(b"roost seal key id").chain_update(self.0).finalize();
        hex::encode(hash.get(..KEY_ID_LENGTH).unwrap_or_default())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealKey({})", self.id())
    }
}

/// Whose secret it is; sealed for one credential, it cannot be opened for another.
pub(super) struct Place<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) device: &'a DeviceId,
    pub(super) credential: &'a CredentialId,
}

impl Place<'_> {
    fn bytes(&self) -> Vec<u8> {
        // None of the ids has a NUL.
        [self.tenant.as_str(), self.device.as_str(), self.credential.as_str()].join("\0").into_bytes()
    }
}

/// A secret as it is kept.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kept {
    /// As stores have it that were written before secrets were sealed; it is sealed at the start.
    KeyHex(String),
    /// Sealed with XChaCha20-Poly1305.
    Sealed {
        /// Which key opens it.
        key: String,
        /// The nonce in hex.
        nonce: String,
        /// The sealed bytes and their tag in hex.
        text: String,
    },
}

/// Why a sealed secret cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// It was sealed with another key.
    #[error("the secret is sealed with another key")]
    OtherKey,
    /// It is not what was sealed, or not for this credential.
    #[error("the sealed secret is damaged")]
    Damaged,
    /// The store could not tell.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a start found of sealed secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// How many were sealed only now.
    pub now: usize,
    /// How many are sealed with another key, and of no use without it.
    pub with_another_key: usize,
}

impl Hub {
    /// The same proof, with its secret sealed where it has one.
    pub(super) fn sealed(&self, proof: Proof, place: &Place<'_>) -> Result<Proof, StorageError> {
        Ok(match proof {
            Proof::Psk { identity, kept: Kept::KeyHex(text) } => {
                Proof::Psk { identity, kept: self.seal(&text, place)? }
            }
            other => other,
        })
    }

    fn seal(&self, hex_text: &str, place: &Place<'_>) -> Result<Kept, StorageError> {
        let secret =
            hex::decode(hex_text).map_err(|error| StorageError::Damaged(Arc::from(error.to_string())))?;
        let key = &self.ports.seal_key;
        let nonce: [u8; NONCE_LENGTH] = self.random_bytes();
        let payload = Payload { msg: &secret, aad: &place.bytes() };
        let text = key.cipher().encrypt(&XNonce::from(nonce), payload);
        let text = text.map_err(|_too_long| StorageError::TooLarge(secret.len()))?;
        Ok(Kept::Sealed { key: key.id(), nonce: hex::encode(nonce), text: hex::encode(text) })
    }

    fn unseal(&self, kept: &Kept, place: &Place<'_>) -> Result<Vec<u8>, UnsealError> {
        let bytes = |text: &str| hex::decode(text).map_err(|_no_hex| UnsealError::Damaged);
        match kept {
            Kept::KeyHex(text) => bytes(text),
            Kept::Sealed { key, .. } if *key != self.ports.seal_key.id() => Err(UnsealError::OtherKey),
            Kept::Sealed { nonce, text, .. } => {
                let nonce: [u8; NONCE_LENGTH] =
                    bytes(nonce)?.try_into().map_err(|_length| UnsealError::Damaged)?;
                let payload = Payload { msg: &bytes(text)?, aad: &place.bytes() };
                let opened = self.ports.seal_key.cipher().decrypt(&XNonce::from(nonce), payload);
                opened.map_err(|_forged| UnsealError::Damaged)
            }
        }
    }

    /// The secret of a credential that has to be known as it is: a pre-shared key. `None` where there
    /// is no such credential, or only a hash of its secret is kept.
    ///
    /// # Errors
    /// [`UnsealError`]
    pub fn secret_of(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        credential: &CredentialId,
    ) -> Result<Option<Vec<u8>>, UnsealError> {
        match self.proof(tenant, device, credential)? {
            Some(Proof::Psk { kept, .. }) => {
                self.unseal(&kept, &Place { tenant, device, credential }).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The secrets of all pre-shared keys of a device, those left out that cannot be opened.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn secrets_of(&self, tenant: &TenantId, device: &DeviceId) -> Result<Vec<Vec<u8>>, StorageError> {
        let keys =
            self.credentials(tenant, device)?.into_iter().filter(|one| one.kind == CredentialKind::Psk);
        let mut secrets = Vec::new();
        for credential in keys {
            match self.secret_of(tenant, device, &credential.id) {
                Ok(secret) => secrets.extend(secret),
                Err(UnsealError::OtherKey | UnsealError::Damaged) => {}
                Err(UnsealError::Storage(error)) => return Err(error),
            }
        }
        Ok(secrets)
    }

    /// Seals what an older version left unsealed, and counts what this key does not open. To be
    /// called at the start; durable when the log is.
    ///
    /// # Errors
    /// The store could not.
    pub fn seal_secrets(&self) -> Result<Sealed, StorageError> {
        let table = &*self.store.table;
        let mut owners = Vec::new();
        fact::each(table, &identities_prefix(), |_, owner: SecretOwner| {
            owners.push(owner);
            Ok(())
        })?;
        let mut found = Sealed::default();
        for owner in owners {
            let Holder::Device { device, id, .. } = &owner.holder else { continue };
            let key = credential_key(&owner.tenant, device, id)?;
            let place = Place { tenant: &owner.tenant, device, credential: id };
            match self.seal_secret(&key, &place)? {
                Was::Unsealed => found.now += 1,
                Was::SealedWithAnotherKey => found.with_another_key += 1,
                Was::Sealed => {}
            }
        }
        Ok(found)
    }

    fn seal_secret(&self, key: &Key, place: &Place<'_>) -> Result<Was, StorageError> {
        let table = &*self.store.table;
        let Some(found) = fact::get::<StoredCredential>(table, key)? else { return Ok(Was::Sealed) };
        let mut stored = found.value;
        let Proof::Psk { kept, .. } = &mut stored.proof else { return Ok(Was::Sealed) };
        match kept {
            Kept::Sealed { key, .. } if *key != self.ports.seal_key.id() => Ok(Was::SealedWithAnotherKey),
            Kept::Sealed { .. } => Ok(Was::Sealed),
            Kept::KeyHex(text) => {
                *kept = self.seal(text, place)?;
                match fact::put(table, key, &stored, Expected::Revision(found.revision)) {
                    // Whoever was faster has sealed or revoked it.
                    Ok(_) | Err(PutError::Conflict(_)) => Ok(Was::Unsealed),
                    Err(PutError::Storage(error)) => Err(error),
                }
            }
        }
    }
}

/// How a secret was found at the start.
enum Was {
    Unsealed,
    Sealed,
    SealedWithAnotherKey,
}
