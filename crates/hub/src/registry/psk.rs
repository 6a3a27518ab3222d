//! Pre-shared keys, which a DTLS handshake needs in the clear.

use std::fmt;
use std::sync::Arc;

use crate::hub::Hub;
use crate::principal::Principal;

use super::authenticate::{AuthenticateError, check_length};
use super::proof::{Proof, identity_key};

/// A pre-shared key, for the DTLS listener.
#[derive(Clone)]
pub struct Psk {
    /// The device whose key it is.
    pub principal: Arc<Principal>,
    /// The key.
    pub key: Vec<u8>,
}

impl fmt::Debug for Psk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Psk").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl Hub {
    /// The pre-shared key of an identity, for a DTLS handshake.
    ///
    /// # Errors
    /// [`AuthenticateError`]; every one of them is a denial.
    pub fn psk(&self, identity: &str) -> Result<Psk, AuthenticateError> {
        check_length(identity.as_bytes())?;
        let principal = self.by_index(&identity_key(identity)?)?;
        let (Some(device), Some(credential)) = (principal.device(), &principal.credential) else {
            return Err(AuthenticateError::Unknown);
        };
        match self.proof(&principal.tenant, device, &credential.id)? {
            Some(Proof::Psk { key_hex, .. }) => {
                let key = hex::decode(key_hex).map_err(|_damaged| AuthenticateError::Unknown)?;
                Ok(Psk { principal, key })
            }
            _ => Err(AuthenticateError::Unknown),
        }
    }
}
