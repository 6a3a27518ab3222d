//! Who is it? One SHA-256 and two look-ups for those who show a token.

use std::sync::Arc;

use crate::access::Grants;
use crate::hub::Hub;
use crate::id::{CredentialId, DeviceId, TenantId};
use crate::principal::{Actor, CredentialRef, Principal};
use crate::storage::{Key, StorageError};

use super::device::Device;
use super::fact;
use super::password::{PasswordHash, Verdict};
use super::proof::{Proof, StoredCredential, common_name_key, credential_key};
use super::secret::{Holder, SecretHash, SecretOwner};
use super::signature::Signed;
use super::web_session::WebSessionRecord;

/// The longest name or secret that is looked up, in bytes.
const PRESENTED_LENGTH_MAX: usize = 512;
/// In how many tenants a device id's password is tried.
const PASSWORD_TENANTS_MAX: usize = 4;

/// What somebody shows to log in.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// User name and password of MQTT and its like: device id and token, device id and password, a
    /// device token and nothing, or anything and an API token.
    Pair {
        /// The user name.
        username: &'a str,
        /// The password; empty when there is none.
        password: &'a [u8],
    },
    /// User name and password of HTTP: device id and token or password, or anything and an API token.
    Basic {
        /// The user name.
        username: &'a str,
        /// The password.
        password: &'a [u8],
    },
    /// A token alone, of a device or an application.
    Token(&'a str),
    /// What was signed with a device's pre-shared key.
    Signed(&'a Signed<'a>),
    /// The name in a client certificate that the listener has verified.
    Certificate {
        /// The common name.
        common_name: &'a str,
    },
}

/// Why somebody was not recognised. What is to be told to them is the same for all but `Busy`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// It opens nothing.
    #[error("unknown or wrong credentials")]
    Unknown,
    /// It opened something once.
    #[error("the credential has expired")]
    Expired,
    /// Too many passwords are being checked.
    #[error("too many passwords are being checked, try again")]
    Busy,
    /// It may be a device's password: ask [`Hub::verify_password`] on a thread that may block.
    #[error("the password has to be verified")]
    NeedsHashing(PasswordCheck),
    /// The store could not tell, which is a denial.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A device's password that is to be verified.
#[derive(Clone)]
pub struct PasswordCheck {
    password: Box<[u8]>,
    candidates: Vec<Candidate>,
}

#[derive(Clone)]
struct Candidate {
    tenant: TenantId,
    device: Device,
    id: CredentialId,
    hash: PasswordHash,
}

impl std::fmt::Debug for PasswordCheck {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PasswordCheck(…)")
    }
}

impl Hub {
    /// Recognises somebody. Quick, and never hashes a password: that is left to
    /// [`Hub::verify_password`]. Revocation holds from the next call on.
    ///
    /// # Errors
    /// [`AuthenticateError`]; every one of them is a denial.
    pub fn authenticate(&self, presented: Presented<'_>) -> Result<Arc<Principal>, AuthenticateError> {
        match presented {
            Presented::Pair { username, password: [] } => {
                let principal = self.by_secret(username.as_bytes())?;
                // An API token is a password, never a name.
                if principal.device().is_some() { Ok(principal) } else { Err(AuthenticateError::Unknown) }
            }
            Presented::Pair { username, password } => {
                self.under_name(username, password, self.by_secret(password))
            }
            Presented::Basic { username, password } => {
                self.under_name(username, password, self.by_secret_again(password))
            }
            Presented::Token(token) => self.by_secret_again(token.as_bytes()),
            Presented::Signed(signed) => self.by_signature(signed),
            Presented::Certificate { common_name } => {
                check_length(common_name.as_bytes())?;
                self.by_index(&common_name_key(common_name)?)
            }
        }
    }

    /// Verifies a device's password, for tens of milliseconds: call it on a thread that may block.
    ///
    /// # Errors
    /// [`AuthenticateError`], never `NeedsHashing`.
    pub fn verify_password(&self, check: &PasswordCheck) -> Result<Arc<Principal>, AuthenticateError> {
        let passwords = &self.registry.passwords;
        for candidate in &check.candidates {
            match passwords.verify(&candidate.hash, &check.password) {
                Verdict::Busy => return Err(AuthenticateError::Busy),
                Verdict::Wrong => {}
                Verdict::Right => {
                    let Candidate { tenant, device, id, hash } = candidate;
                    let principal = self.principal_of(tenant, device, Some(id))?;
                    if !self.principal_holds(&principal)? {
                        return Err(AuthenticateError::Unknown);
                    }
                    passwords.remember(id, hash, &check.password);
                    return Ok(principal);
                }
            }
        }
        Err(AuthenticateError::Unknown)
    }

    /// A principal for a device that shows no credential of ours: a dialled one, or one that a
    /// dialect recognises by a link.
    ///
    /// # Errors
    /// [`AuthenticateError::Unknown`] when there is no such device.
    pub fn device_principal(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Arc<Principal>, AuthenticateError> {
        let device = self.device(tenant, device)?.ok_or(AuthenticateError::Unknown)?;
        self.principal_of(tenant, &device, None)
    }

    /// Whether a principal recognised earlier would still be recognised: to be asked after a
    /// connection is registered, since a revocation in between found nothing to close, and now and
    /// then for expiry.
    ///
    /// # Errors
    /// The store could not tell, which is a denial.
    pub fn principal_holds(&self, principal: &Principal) -> Result<bool, StorageError> {
        let tenant = &principal.tenant;
        let expires_at = principal.credential.as_ref().and_then(|credential| credential.expires_at);
        if self.tenant_state(tenant)?.is_none() || expires_at.is_some_and(|at| at <= self.now()) {
            return Ok(false);
        }
        Ok(match &principal.actor {
            Actor::Device { device, profile, .. } => {
                let is_same = self.device(tenant, device)?.is_some_and(|found| found.profile == *profile);
                is_same
                    && match &principal.credential {
                        Some(credential) => self.proof(tenant, device, &credential.id)?.is_some(),
                        None => true,
                    }
            }
            Actor::Application { token, role, .. } => {
                self.token_record(tenant, token)?.is_some_and(|found| found.role == *role)
            }
            Actor::User { user, role, .. } => {
                let shown = principal.credential.as_ref().map(|credential| &credential.id);
                self.user_record(tenant, user)?.is_some_and(|found| {
                    let mut open = found.sessions.iter().filter_map(WebSessionRecord::credential);
                    let is_open = shown.is_none_or(|shown| open.any(|session| session.id == *shown));
                    is_open && found.role == *role && !found.disabled
                })
            }
        })
    }

    /// As [`Hub::principal_holds`], for who asks again and again about the same one: `seen` is what the
    /// registry had changed when it held last. Costs nothing until something changes there.
    ///
    /// # Errors
    /// Those of [`Hub::principal_holds`].
    pub fn principal_holds_still(
        &self,
        principal: &Principal,
        seen: &mut Option<u64>,
    ) -> Result<bool, StorageError> {
        let changes = self.registry_changes.count();
        let expires_at = principal.credential.as_ref().and_then(|credential| credential.expires_at);
        if *seen == Some(changes) && expires_at.is_none_or(|at| at > self.now()) {
            return Ok(true);
        }
        let holds = self.principal_holds(principal)?;
        *seen = holds.then_some(changes);
        Ok(holds)
    }

    /// A device's secret opens under its own name alone; what is no secret may be a password.
    fn under_name(
        &self,
        username: &str,
        password: &[u8],
        found: Result<Arc<Principal>, AuthenticateError>,
    ) -> Result<Arc<Principal>, AuthenticateError> {
        match found {
            Ok(principal) => match principal.device() {
                Some(device) if device.as_str() != username => Err(AuthenticateError::Unknown),
                _ => Ok(principal),
            },
            Err(AuthenticateError::Unknown) => self.by_password(username, password),
            Err(error) => Err(error),
        }
    }

    /// For those who show their secret with every request, and not once for a connection.
    fn by_secret_again(&self, secret: &[u8]) -> Result<Arc<Principal>, AuthenticateError> {
        check_length(secret)?;
        let recognised = &self.registry.recognised;
        let hash = SecretHash::of(secret);
        let changes = self.registry_changes.count();
        if let Some(principal) = recognised.get(&hash, changes, self.now()) {
            return Ok(principal);
        }
        let principal = self.by_index(&hash.key()?)?;
        recognised.remember(hash, changes, &principal);
        Ok(principal)
    }

    fn by_secret(&self, secret: &[u8]) -> Result<Arc<Principal>, AuthenticateError> {
        check_length(secret)?;
        // Looked up by hash: how long it takes says nothing about the secrets there are.
        self.by_index(&SecretHash::of(secret).key()?)
    }

    pub(super) fn by_index(&self, index: &Key) -> Result<Arc<Principal>, AuthenticateError> {
        let found = fact::get::<SecretOwner>(&*self.store.table, index)?;
        let SecretOwner { tenant, holder } = found.ok_or(AuthenticateError::Unknown)?.value;
        match holder {
            Holder::Device { device, born, id } => {
                let device = self.device(&tenant, &device)?.filter(|device| device.born == born);
                let device = device.ok_or(AuthenticateError::Unknown)?;
                self.principal_of(&tenant, &device, Some(&id))
            }
            Holder::Token { id } => self.application(&tenant, &id),
            Holder::Web { .. } => Err(AuthenticateError::Unknown),
        }
    }

    /// Looks for a device of this id that has a password, in all tenants.
    fn by_password(&self, username: &str, password: &[u8]) -> Result<Arc<Principal>, AuthenticateError> {
        if DeviceId::parse(username).is_err() {
            return Err(AuthenticateError::Unknown);
        }
        let prefix = Key::of("passwords").level(username).prefix();
        let mut candidates = Vec::new();
        for (key, entry) in self.store.table.scan(&prefix, None, PASSWORD_TENANTS_MAX)? {
            let SecretOwner { tenant, holder } = fact::read(&key, &entry.value)?;
            let Holder::Device { device, born, id } = holder else { continue };
            let device = self.device(&tenant, &device)?.filter(|device| device.born == born);
            let proof = match &device {
                Some(device) => self.proof(&tenant, &device.id, &id)?,
                None => None,
            };
            if let (Some(device), Some(Proof::Password { hash })) = (device, proof) {
                if self.registry.passwords.is_verified(&id, &hash, password) {
                    return self.principal_of(&tenant, &device, Some(&id));
                }
                candidates.push(Candidate { tenant, device, id, hash });
            }
        }
        if candidates.is_empty() {
            return Err(AuthenticateError::Unknown);
        }
        Err(AuthenticateError::NeedsHashing(PasswordCheck { password: password.into(), candidates }))
    }

    pub(super) fn proof(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        id: &CredentialId,
    ) -> Result<Option<Proof>, StorageError> {
        let key = credential_key(tenant, device, id)?;
        Ok(fact::get::<StoredCredential>(&*self.store.table, &key)?.map(|found| found.value.proof))
    }

    pub(super) fn principal_of(
        &self,
        tenant: &TenantId,
        device: &Device,
        credential: Option<&CredentialId>,
    ) -> Result<Arc<Principal>, AuthenticateError> {
        let state = self.tenant_state(tenant)?.ok_or(AuthenticateError::Unknown)?;
        let profile = self.profile(tenant, &device.profile)?.ok_or(AuthenticateError::Unknown)?;
        // Grants that cannot be read grant nothing.
        let grants =
            Grants::new(&profile.grants, &device.id).map_err(|_damaged| AuthenticateError::Unknown)?;
        Ok(Arc::new(Principal {
            tenant: tenant.clone(),
            actor: Actor::Device {
                device: device.id.clone(),
                profile: device.profile.clone(),
                grants: grants.with_family(Arc::clone(&state.family)).with_dialect(profile.dialect()),
            },
            credential: credential.map(|id| CredentialRef { id: id.clone(), expires_at: None }),
        }))
    }
}

/// Longer than any credential: not worth a hash.
pub(super) fn check_length(shown: &[u8]) -> Result<(), AuthenticateError> {
    if (1..=PRESENTED_LENGTH_MAX).contains(&shown.len()) { Ok(()) } else { Err(AuthenticateError::Unknown) }
}
