//! Passwords that people choose: Argon2id, two at a time at most, so that a flood of log-ins cannot
//! take the machine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use argon2::Argon2;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::hub::Hub;
use crate::id::CredentialId;

use super::lock;

/// How many passwords are hashed at once.
const HASHED_AT_ONCE_MAX: usize = 2;
/// How many device passwords are remembered as verified.
const VERIFIED_MAX: usize = 50_000;
/// The shortest password of a person or device, in bytes.
const PASSWORD_LENGTH_MIN: usize = 8;
/// The longest, in bytes.
const PASSWORD_LENGTH_MAX: usize = 256;

/// A password as it is kept: Argon2id (RFC 9106) of version 19, with what it was made with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt_hex: String,
    hash_hex: String,
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PasswordHash(…)")
    }
}

/// Why a password was not hashed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashPasswordError {
    /// It is too short or too long.
    #[error("a password has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} bytes")]
    Length,
    /// Two are being hashed already; try again.
    #[error("too many passwords are being checked, try again")]
    Busy,
}

/// The verdict on a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// Two are being hashed already.
    Busy,
}

impl PasswordHash {
    fn new(password: &[u8], salt: [u8; 16]) -> Self {
        let parameters = argon2::Params::default();
        let mut hash = Self {
            memory_kib: parameters.m_cost(),
            passes: parameters.t_cost(),
            lanes: parameters.p_cost(),
            salt_hex: hex::encode(salt),
            hash_hex: String::new(),
        };
        hash.hash_hex = hash.compute(password).map(hex::encode).unwrap_or_default();
        hash
    }

    fn compute(&self, password: &[u8]) -> Option<[u8; 32]> {
        let salt = hex::decode(&self.salt_hex).ok()?;
        let parameters = argon2::Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()?;
        let argon = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, parameters);
        let mut output = [0; 32];
        argon.hash_password_into(password, &salt, &mut output).ok()?;
        Some(output)
    }

    /// A hash that cannot be computed or read matches nothing.
    fn matches(&self, password: &[u8]) -> bool {
        let (Some(computed), Ok(kept)) = (self.compute(password), hex::decode(&self.hash_hex)) else {
            return false;
        };
        bool::from(computed.as_slice().ct_eq(&kept))
    }
}

/// The hashing that goes on, and the device passwords that were right lately.
#[derive(Debug)]
pub(super) struct Passwords {
    slots: Semaphore,
    verified: Mutex<HashMap<CredentialId, [u8; 32]>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { slots: Semaphore::new(HASHED_AT_ONCE_MAX), verified: Mutex::default() }
    }
}

impl Passwords {
    fn slot(&self) -> Option<SemaphorePermit<'_>> {
        self.slots.try_acquire().ok()
    }

    /// Fast, keyed by the credential's own salt: the memory of this process only.
    fn fast_hash(kept: &PasswordHash, id: &CredentialId, password: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [kept.salt_hex.as_bytes(), kept.hash_hex.as_bytes(), id.as_str().as_bytes()] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash.update(password);
        hash.finalize().into()
    }

    /// Whether this password was verified for the credential before.
    pub(super) fn is_verified(&self, id: &CredentialId, kept: &PasswordHash, password: &[u8]) -> bool {
        let Some(known) = lock(&self.verified).get(id).copied() else { return false };
        bool::from(known.ct_eq(&Self::fast_hash(kept, id, password)))
    }

    pub(super) fn remember(&self, id: &CredentialId, kept: &PasswordHash, password: &[u8]) {
        let hash = Self::fast_hash(kept, id, password);
        let mut verified = lock(&self.verified);
        if verified.len() >= VERIFIED_MAX {
            verified.clear();
        }
        verified.insert(id.clone(), hash);
    }

    pub(super) fn forget(&self, id: &CredentialId) {
        lock(&self.verified).remove(id);
    }

    /// Hashes for tens of milliseconds: to be called on a thread that may block.
    pub(super) fn verify(&self, kept: &PasswordHash, password: &[u8]) -> Verdict {
        match self.slot() {
            None => Verdict::Busy,
            Some(_slot) if password.len() <= PASSWORD_LENGTH_MAX && kept.matches(password) => Verdict::Right,
            Some(_slot) => Verdict::Wrong,
        }
    }
}

impl Hub {
    /// Hashes a password that somebody chose, for tens of milliseconds: call it on a thread that may
    /// block.
    ///
    /// # Errors
    /// [`HashPasswordError`].
    pub fn hash_password(&self, password: &str) -> Result<PasswordHash, HashPasswordError> {
        if !(PASSWORD_LENGTH_MIN..=PASSWORD_LENGTH_MAX).contains(&password.len()) {
            return Err(HashPasswordError::Length);
        }
        let Some(_slot) = self.registry.passwords.slot() else { return Err(HashPasswordError::Busy) };
        Ok(PasswordHash::new(password.as_bytes(), self.random_bytes()))
    }

    /// What an unknown person's password is compared with, so that it takes the same time.
    pub(super) fn nobodys_password(&self) -> Arc<PasswordHash> {
        let parameters = argon2::Params::default();
        Arc::new(PasswordHash {
            memory_kib: parameters.m_cost(),
            passes: parameters.t_cost(),
            lanes: parameters.p_cost(),
            salt_hex: hex::encode(self.random_bytes::<16>()),
            hash_hex: hex::encode(self.random_bytes::<32>()),
        })
    }
}
