//! Secrets: made here, shown once, kept as SHA-256 only. They are random and long, so that a fast
//! hash leaves nothing to guess.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hub::Hub;
use crate::id::{CredentialId, DeviceId, TenantId, TokenId, UserId};
use crate::storage::{Key, Position, StorageError};

use super::fact::{self, position};

/// The length of a generated secret, in characters of five bits each: 200 bits, and short enough
/// for the buffers of nodes that take 48 characters.
const SECRET_LENGTH: usize = 40;
/// The length of a generated id: 80 bits.
const ID_LENGTH: usize = 16;
/// The shortest secret that may be given, in characters.
pub(super) const GIVEN_LENGTH_MIN: usize = 8;
/// The longest secret that may be given, in characters.
pub(super) const GIVEN_LENGTH_MAX: usize = 128;
/// Letters and digits without those that are read wrong: `l`, `o`, `0`, `1`.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A secret as text. Never shown by `Debug`, never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret that somebody gave.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, to be shown this once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// SHA-256 of a secret, in hex: what stands in tables.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct SecretHash(String);

impl SecretHash {
    pub(super) fn of(secret: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(secret)))
    }

    pub(super) fn key(&self) -> Result<Key, StorageError> {
        fact::key(Key::of("secrets").level(&self.0))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The first 64 bits of it, in hexadecimal.
    pub(super) fn short(&self) -> &str {
        self.0.get(..16).unwrap_or_default()
    }
}

/// Whom a secret belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SecretOwner {
    pub(super) tenant: TenantId,
    #[serde(flatten)]
    pub(super) holder: Holder,
}

/// What a secret is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Holder {
    /// A device's token. The device's birth is in it, so that it never opens a later one of that id.
    Device {
        device: DeviceId,
        #[serde(with = "position")]
        born: Position,
        id: CredentialId,
    },
    /// An API token.
    Token { id: TokenId },
    /// A session of the dashboard.
    Web { user: UserId },
}

/// Checks a secret that the caller brings along.
pub(super) fn check_given(text: &str) -> Result<(), String> {
    let fits = (GIVEN_LENGTH_MIN..=GIVEN_LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        return Ok(());
    }
    Err(format!("a token has {GIVEN_LENGTH_MIN} to {GIVEN_LENGTH_MAX} printable ASCII characters"))
}

impl Hub {
    fn random_text<const LENGTH: usize>(&self) -> String {
        let bytes = self.random_bytes::<LENGTH>();
        // 32 letters divide 256 evenly: every letter is equally likely.
        let letter = |byte: u8| ALPHABET.get(usize::from(byte % 32)).copied().map_or('a', char::from);
        bytes.into_iter().map(letter).collect()
    }

    pub(super) fn new_secret(&self) -> Secret {
        Secret(self.random_text::<SECRET_LENGTH>())
    }

    /// An id that nothing has; letters and digits only, so every id type takes it.
    pub(super) fn new_id(&self) -> String {
        self.random_text::<ID_LENGTH>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2!".to_owned())), "Secret(…)");
    }

    #[test]
    fn a_given_token_is_printable_and_not_short() {
        assert!(check_given("12345678").is_ok());
        for bad in ["", "1234567", "with space", "ümlaut-text", &"x".repeat(129)] {
            assert!(check_given(bad).is_err(), "{bad}");
        }
    }
}
