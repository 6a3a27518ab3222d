//! Who was recognised by which token lately: whoever shows one with every reading is looked up once,
//! until anything in the registry changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::principal::Principal;
use crate::time::Timestamp;

use super::lock;
use super::secret::SecretHash;

/// How many are remembered; then all are forgotten, and those who come back are looked up again.
const REMEMBERED_MAX: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recognised {
    by_secret: Mutex<HashMap<SecretHash, Known>>,
}

#[derive(Debug)]
struct Known {
    /// The registry's changes before it was looked up.
    changes: u64,
    principal: Arc<Principal>,
}

impl Recognised {
    /// Who it was, if the registry has not changed since and the credential has not run out.
    pub(super) fn get(&self, secret: &SecretHash, changes: u64, now: Timestamp) -> Option<Arc<Principal>> {
        let known = lock(&self.by_secret);
        let Known { principal, .. } = known.get(secret).filter(|known| known.changes == changes)?;
        let expires_at = principal.credential.as_ref().and_then(|credential| credential.expires_at);
        expires_at.is_none_or(|at| at > now).then(|| Arc::clone(principal))
    }

    /// `changes` is from before the look-up.
    pub(super) fn remember(&self, secret: SecretHash, changes: u64, principal: &Arc<Principal>) {
        let mut known = lock(&self.by_secret);
        if known.len() >= REMEMBERED_MAX && !known.contains_key(&secret) {
            known.clear();
        }
        known.insert(secret, Known { changes, principal: Arc::clone(principal) });
    }
}
