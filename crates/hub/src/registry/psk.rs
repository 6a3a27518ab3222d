//! Pre-shared keys, which a DTLS handshake needs in the clear.

use std::fmt;
use std::sync::Arc;

use crate::flight::FlightKind;
use crate::hub::Hub;
use crate::principal::Principal;

use super::authenticate::{AuthenticateError, check_length};
use super::proof::identity_key;
use super::seal::UnsealError;

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
        let secret = self.secret_of(&principal.tenant, device, &credential.id);
        let secret = secret.map_err(|error| match error {
            UnsealError::Storage(error) => AuthenticateError::Storage(error),
            UnsealError::OtherKey | UnsealError::Damaged => {
                let text = format_args!("DTLS with a pre-shared key: {error}");
                self.note(&principal.tenant, device, FlightKind::Refused, text, self.now());
                AuthenticateError::Unknown
            }
        });
        match secret? {
            Some(key) => Ok(Psk { principal, key }),
            None => Err(AuthenticateError::Unknown),
        }
    }
}
