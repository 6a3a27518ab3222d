//! Signing in at the dashboard with address and password, and the session that follows.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::id::{CredentialId, TenantId, UserId};
use crate::principal::{Actor, CredentialRef, Principal};
use crate::storage::{Expected, StorageError};
use crate::time::Timestamp;

use super::authenticate::AuthenticateError;
use super::fact;
use super::password::Verdict;
use super::secret::{Holder, Secret, SecretHash, SecretOwner};
use super::user::{EmailOwner, UserRecord, email_key, user_key};

/// How long one stays signed in.
pub const WEB_SESSION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// The most sessions of one person; the oldest ends for a new one.
const WEB_SESSIONS_MAX: usize = 20;

/// Why somebody was not signed in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// No such address, or not its password, or shut out: which of them is not told.
    #[error("wrong e-mail address or password")]
    Wrong,
    /// Too many passwords are being checked.
    #[error("too many passwords are being checked, try again")]
    Busy,
    /// The store could not, which is a denial.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Somebody whose password was right just now.
#[derive(Clone, Debug)]
pub struct VerifiedUser {
    pub(super) tenant: TenantId,
    pub(super) user: UserId,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WebSessionRecord {
    pub(super) hash: SecretHash,
    expires_at: Timestamp,
}

impl WebSessionRecord {
    /// By what somebody was recognised who showed its cookie: the id is a part of the hash, enough to tell
    /// a person's sessions apart and nothing to sign in with.
    pub(super) fn credential(&self) -> Option<CredentialRef> {
        let id = CredentialId::parse(self.hash.short()).ok()?;
        Some(CredentialRef { id, expires_at: Some(self.expires_at) })
    }
}

impl Hub {
    /// Checks address and password, for tens of milliseconds: call it on a thread that may block. An
    /// unknown address takes as long as a wrong password.
    ///
    /// # Errors
    /// [`SignInError`].
    pub fn verify_user(&self, email: &str, password: &str) -> Result<VerifiedUser, SignInError> {
        let found = match self.user_by_email(email)? {
            Some((tenant, record)) if !record.disabled => Some((tenant, record)),
            _ => None,
        };
        let nobody = self.nobodys_password();
        let kept = found.as_ref().map_or(&*nobody, |(_, record)| &record.password);
        match (self.registry.passwords.verify(kept, password.as_bytes()), found) {
            (Verdict::Busy, _) => Err(SignInError::Busy),
            (Verdict::Right, Some((tenant, record))) => Ok(VerifiedUser { tenant, user: record.id }),
            _ => Err(SignInError::Wrong),
        }
    }

    fn user_by_email(&self, email: &str) -> Result<Option<(TenantId, UserRecord)>, StorageError> {
        let Some(key) = email_key(email) else { return Ok(None) };
        let Some(owner) = fact::get::<EmailOwner>(&*self.store.table, &key)? else { return Ok(None) };
        let EmailOwner { tenant, user } = owner.value;
        if self.tenant_state(&tenant)?.is_none() {
            return Ok(None);
        }
        Ok(self.user_record(&tenant, &user)?.map(|record| (tenant, record)))
    }

    /// Starts a web session; the secret goes into a cookie. Not cancel safe.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] when the person is gone or shut out meanwhile.
    pub async fn start_web_session(
        &self,
        verified: &VerifiedUser,
    ) -> Result<(Secret, Arc<Principal>), SignInError> {
        let started = self.start_web_session_now(verified)?;
        self.durable(self.store.log.end()).await?;
        Ok(started)
    }

    fn start_web_session_now(
        &self,
        verified: &VerifiedUser,
    ) -> Result<(Secret, Arc<Principal>), SignInError> {
        let VerifiedUser { tenant, user } = verified;
        let state = self.tenant_state(tenant)?.ok_or(SignInError::Wrong)?;
        let _turn = state.turn();
        let found = self.user_record(tenant, user)?.filter(|record| !record.disabled);
        let mut record = found.ok_or(SignInError::Wrong)?;
        let now = self.now();
        let secret = self.new_secret();
        let hash = SecretHash::of(secret.reveal().as_bytes());
        let (mut kept, mut ended): (Vec<_>, Vec<_>) =
            record.sessions.into_iter().partition(|session| session.expires_at > now);
        let surplus = (kept.len() + 1).saturating_sub(WEB_SESSIONS_MAX);
        ended.extend(kept.drain(..surplus));
        let session = WebSessionRecord { hash: hash.clone(), expires_at: now.after(WEB_SESSION_LIFETIME) };
        let shown = session.credential();
        kept.push(session);
        record.sessions = kept;
        let table = &*self.store.table;
        let owner = SecretOwner { tenant: tenant.clone(), holder: Holder::Web { user: user.clone() } };
        fact::put(table, &hash.key()?, &owner, Expected::Absent).map_err(fact::storage)?;
        fact::set(table, &user_key(tenant, user)?, &record)?;
        for session in ended {
            fact::delete(table, &session.hash.key()?)?;
        }
        Ok((secret, person(tenant, &record, shown)))
    }

    /// Whose web session it is.
    ///
    /// # Errors
    /// [`AuthenticateError`]; every one of them is a denial.
    pub fn web_session(&self, secret: &str) -> Result<Arc<Principal>, AuthenticateError> {
        let hash = SecretHash::of(secret.as_bytes());
        let (tenant, record) = self.web_session_owner(&hash)?.ok_or(AuthenticateError::Unknown)?;
        let session = record.sessions.iter().find(|session| session.hash == hash);
        let session = session.ok_or(AuthenticateError::Unknown)?;
        if record.disabled || self.tenant_state(&tenant)?.is_none() {
            return Err(AuthenticateError::Unknown);
        }
        if session.expires_at <= self.now() {
            return Err(AuthenticateError::Expired);
        }
        Ok(person(&tenant, &record, session.credential()))
    }

    fn web_session_owner(&self, hash: &SecretHash) -> Result<Option<(TenantId, UserRecord)>, StorageError> {
        let Some(found) = fact::get::<SecretOwner>(&*self.store.table, &hash.key()?)? else {
            return Ok(None);
        };
        let SecretOwner { tenant, holder: Holder::Web { user } } = found.value else { return Ok(None) };
        Ok(self.user_record(&tenant, &user)?.map(|record| (tenant, record)))
    }

    /// Ends a web session; one that is over already is fine. Not cancel safe.
    ///
    /// # Errors
    /// The store could not.
    pub async fn sign_out(&self, secret: &str) -> Result<(), StorageError> {
        let hash = SecretHash::of(secret.as_bytes());
        let Some((tenant, record)) = self.web_session_owner(&hash)? else { return Ok(()) };
        if let Some(state) = self.tenant_state(&tenant)? {
            let _turn = state.turn();
            if let Some(mut record) = self.user_record(&tenant, &record.id)? {
                record.sessions.retain(|session| session.hash != hash);
                fact::set(&*self.store.table, &user_key(&tenant, &record.id)?, &record)?;
            }
            fact::delete(&*self.store.table, &hash.key()?)?;
        }
        self.durable(self.store.log.end()).await
    }
}

pub(super) fn person(
    tenant: &TenantId,
    record: &UserRecord,
    credential: Option<CredentialRef>,
) -> Arc<Principal> {
    let actor = Actor::User { user: record.id.clone(), role: record.role, operator: record.operator };
    Arc::new(Principal { tenant: tenant.clone(), actor, credential })
}
