//! Signing in at the dashboard with address and password, and the session that follows.

use std::net::IpAddr;
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

/// How much is kept of what a browser says that it is, in bytes.
const BROWSER_LENGTH_MAX: usize = 200;

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

/// From where somebody signs in, so that they know their sessions again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Visit {
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// What the browser says that it is; the first 200 bytes are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser: Option<String>,
}

/// A place where somebody is signed in.
#[derive(Clone, Debug)]
pub struct WebSession {
    /// By what it is named; nothing to sign in with.
    pub id: CredentialId,
    /// When it began; unknown of those from before this was noted.
    pub started_at: Option<Timestamp>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// From where.
    pub visit: Visit,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WebSessionRecord {
    pub(super) hash: SecretHash,
    expires_at: Timestamp,
    #[serde(default)]
    started_at: Option<Timestamp>,
    #[serde(flatten)]
    visit: Visit,
}

impl WebSessionRecord {
    /// By what somebody was recognised who showed its cookie: the id is a part of the hash, enough to tell
    /// a person's sessions apart and nothing to sign in with.
    pub(super) fn credential(&self) -> Option<CredentialRef> {
        Some(CredentialRef { id: self.id()?, expires_at: Some(self.expires_at) })
    }

    pub(super) fn id(&self) -> Option<CredentialId> {
        CredentialId::parse(self.hash.short()).ok()
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

    /// Whether this is the password of somebody who is signed in already. It takes as long as
    /// [`Hub::verify_user`] and is asked for before it is changed.
    ///
    /// # Errors
    /// [`SignInError`].
    pub fn verify_password_of(
        &self,
        tenant: &TenantId,
        user: &UserId,
        password: &str,
    ) -> Result<(), SignInError> {
        let record = self.user_record(tenant, user)?.ok_or(SignInError::Wrong)?;
        match self.registry.passwords.verify(&record.password, password.as_bytes()) {
            Verdict::Right => Ok(()),
            Verdict::Wrong => Err(SignInError::Wrong),
            Verdict::Busy => Err(SignInError::Busy),
        }
    }

    /// Starts a web session; the secret goes into a cookie. Not cancel safe.
    ///
    /// # Errors
    /// [`SignInError::Wrong`] when the person is gone or shut out meanwhile.
    pub async fn start_web_session(
        &self,
        verified: &VerifiedUser,
        visit: Visit,
    ) -> Result<(Secret, Arc<Principal>), SignInError> {
        let started = self.start_web_session_now(verified, visit)?;
        self.durable(self.store.log.end()).await?;
        Ok(started)
    }

    fn start_web_session_now(
        &self,
        verified: &VerifiedUser,
        mut visit: Visit,
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
        if let Some(browser) = &mut visit.browser {
            browser.truncate(browser.floor_char_boundary(BROWSER_LENGTH_MAX));
        }
        let session = WebSessionRecord {
            hash: hash.clone(),
            expires_at: now.after(WEB_SESSION_LIFETIME),
            started_at: Some(now),
            visit,
        };
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

    /// Where the person is signed in, in the order in which they signed in.
    ///
    /// # Errors
    /// The store could not.
    pub fn web_sessions(&self, tenant: &TenantId, user: &UserId) -> Result<Vec<WebSession>, StorageError> {
        let Some(record) = self.user_record(tenant, user)? else { return Ok(Vec::new()) };
        let now = self.now();
        let shown = |session: WebSessionRecord| {
            let (id, WebSessionRecord { started_at, expires_at, visit, .. }) = (session.id()?, session);
            (expires_at > now).then_some(WebSession { id, started_at, expires_at, visit })
        };
        Ok(record.sessions.into_iter().filter_map(shown).collect())
    }

    /// Ends one of the person's web sessions. `false` when they have none of this id. Not cancel safe.
    ///
    /// # Errors
    /// The store could not.
    pub async fn end_web_session(
        &self,
        tenant: &TenantId,
        user: &UserId,
        id: &CredentialId,
    ) -> Result<bool, StorageError> {
        let is_meant = |session: &WebSessionRecord| session.id().as_ref() == Some(id);
        let has_ended = self.end_web_session_now(tenant, user, is_meant)?;
        self.durable(self.store.log.end()).await?;
        Ok(has_ended)
    }

    /// Ends the web session of a cookie; one that is over already is fine. Not cancel safe.
    ///
    /// # Errors
    /// The store could not.
    pub async fn sign_out(&self, secret: &str) -> Result<(), StorageError> {
        let hash = SecretHash::of(secret.as_bytes());
        let Some((tenant, record)) = self.web_session_owner(&hash)? else { return Ok(()) };
        self.end_web_session_now(&tenant, &record.id, |session| session.hash == hash)?;
        self.durable(self.store.log.end()).await
    }

    fn end_web_session_now(
        &self,
        tenant: &TenantId,
        user: &UserId,
        is_meant: impl Fn(&WebSessionRecord) -> bool,
    ) -> Result<bool, StorageError> {
        let Some(state) = self.tenant_state(tenant)? else { return Ok(false) };
        let _turn = state.turn();
        let Some(mut record) = self.user_record(tenant, user)? else { return Ok(false) };
        let Some(place) = record.sessions.iter().position(is_meant) else { return Ok(false) };
        let ended = record.sessions.remove(place);
        let table = &*self.store.table;
        // A web session holds only while the user's record names it: this one write ends it.
        fact::set(table, &user_key(tenant, user)?, &record)?;
        fact::delete(table, &ended.hash.key()?)?;
        Ok(true)
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
