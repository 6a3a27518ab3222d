//! Who signed this? A device may prove that it has its pre-shared key without showing it.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::hub::Hub;
use crate::principal::Principal;
use crate::time::Timestamp;

use super::authenticate::AuthenticateError;

/// The length of the blocks that SHA-256 works on, in bytes.
const BLOCK_LENGTH: usize = 64;

/// What a device signed with its pre-shared key, by HMAC-SHA256 (RFC 2104).
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// Names under which the key may be kept; the first that there is counts.
    pub identities: [&'a str; 2],
    /// Whose key it must be.
    pub device: &'a str,
    /// The dialect that the device's profile must name.
    pub dialect: &'a str,
    /// What was signed.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
    /// Until when it holds, as the message says.
    pub expires_at: Timestamp,
}

impl Hub {
    /// What it opens ends when the signature does.
    pub(super) fn by_signature(&self, signed: &Signed<'_>) -> Result<Arc<Principal>, AuthenticateError> {
        for identity in signed.identities {
            let psk = match self.psk(identity) {
                Ok(psk) => psk,
                Err(AuthenticateError::Unknown) => continue,
                Err(error) => return Err(error),
            };
            let principal = &*psk.principal;
            let is_meant = principal.device().is_some_and(|device| device.as_str() == signed.device)
                && principal.dialect() == Some(signed.dialect);
            let is_right: bool = hmac(&psk.key, signed.message).ct_eq(signed.signature).into();
            if !is_meant || !is_right {
                return Err(AuthenticateError::Unknown);
            }
            if signed.expires_at <= self.now() {
                return Err(AuthenticateError::Expired);
            }
            let mut principal = principal.clone();
            if let Some(credential) = &mut principal.credential {
                credential.expires_at = Some(signed.expires_at);
            }
            return Ok(Arc::new(principal));
        }
        Err(AuthenticateError::Unknown)
    }
}

/// RFC 2104 with SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_LENGTH];
    let hashed;
    let key = if key.len() > BLOCK_LENGTH {
        hashed = Sha256::digest(key);
        hashed.as_slice()
    } else {
        key
    };
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_gives_what_rfc_4231_says() {
        for (key, message, expected) in [
            (
                vec![0x0b; 20],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex::encode(hmac(&key, message)), expected);
        }
    }
}
