//! People who sign in at the dashboard.

use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::id::{TenantId, UserId};
use crate::principal::Role;
use crate::storage::{Expected, Key, PutError, StorageError};
use crate::time::Timestamp;

use super::device::NAME_LENGTH_MAX;
use super::fact;
use super::password::PasswordHash;
use super::web_session::WebSessionRecord;

/// The most users of a tenant.
const USERS_MAX: usize = 1_000;
/// The longest address (RFC 5321 section 4.5.3.1.3), in bytes.
const EMAIL_LENGTH_MAX: usize = 254;

/// A person, without their password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their address, in lower case; one in the whole server.
    pub email: String,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they may also do what concerns the whole server.
    pub operator: bool,
    /// Whether they are shut out for now.
    pub disabled: bool,
    /// Since when.
    pub created_at: Timestamp,
}

/// A person to be added. The caller sees to it that nobody gives more than they have.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Their address.
    pub email: String,
    /// Their name; the address when it is left out.
    pub name: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Their password, from [`Hub::hash_password`].
    pub password: PasswordHash,
}

/// Why a person was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateUserError {
    /// Somebody has the address already.
    #[error("the address is in use already")]
    Exists,
    /// Something about them is not as it must be; says what.
    #[error("{0}")]
    Invalid(String),
    /// The tenant has as many as it may have.
    #[error("a tenant has at most {0} users")]
    TooMany(usize),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A person as they are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct UserRecord {
    pub(super) id: UserId,
    email: String,
    pub(super) name: String,
    pub(super) role: Role,
    #[serde(default)]
    pub(super) operator: bool,
    #[serde(default)]
    pub(super) disabled: bool,
    created_at: Timestamp,
    pub(super) password: PasswordHash,
    #[serde(default)]
    pub(super) sessions: Vec<WebSessionRecord>,
}

/// How far a person's role reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Their tenant.
    Tenant,
    /// The whole server.
    Server,
}

/// Where an address leads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EmailOwner {
    pub(super) tenant: TenantId,
    pub(super) user: UserId,
}

impl From<&UserRecord> for User {
    fn from(record: &UserRecord) -> Self {
        Self {
            id: record.id.clone(),
            email: record.email.clone(),
            name: record.name.clone(),
            role: record.role,
            operator: record.operator,
            disabled: record.disabled,
            created_at: record.created_at,
        }
    }
}

pub(super) fn user_key(tenant: &TenantId, user: &UserId) -> Result<Key, StorageError> {
    fact::key(Key::of("users").level(tenant.as_str()).level(user.as_str()))
}

/// The entry of an address; `None` for a text that is no address.
pub(super) fn email_key(email: &str) -> Option<Key> {
    let email = email.trim().to_lowercase();
    let fits = (3..=EMAIL_LENGTH_MAX).contains(&email.len())
        && email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
        && !email.contains(|letter: char| letter.is_whitespace() || letter.is_control());
    if fits { Key::of("emails").level(&email).key().ok() } else { None }
}

impl Hub {
    /// The person; `None` when there is nobody of this id in the tenant.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn user(&self, tenant: &TenantId, user: &UserId) -> Result<Option<User>, StorageError> {
        Ok(self.user_record(tenant, user)?.map(|record| (&record).into()))
    }

    /// The tenant's people, in the order of their ids.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn users(&self, tenant: &TenantId) -> Result<Vec<User>, StorageError> {
        Ok(self.user_records(tenant)?.iter().map(User::from).collect())
    }

    pub(super) fn user_record(
        &self,
        tenant: &TenantId,
        user: &UserId,
    ) -> Result<Option<UserRecord>, StorageError> {
        Ok(fact::get(&*self.store.table, &user_key(tenant, user)?)?.map(|found| found.value))
    }

    pub(super) fn user_records(&self, tenant: &TenantId) -> Result<Vec<UserRecord>, StorageError> {
        let prefix = Key::of("users").level(tenant.as_str()).prefix();
        Ok(fact::all(&*self.store.table, &prefix)?.into_iter().map(|(_, record)| record).collect())
    }

    /// Adds a person. Not cancel safe.
    ///
    /// # Errors
    /// [`CreateUserError`]; nobody was added.
    pub async fn create_user(&self, tenant: &TenantId, new: NewUser) -> Result<User, CreateUserError> {
        let no_tenant = || CreateUserError::Invalid("there is no such tenant".to_owned());
        let state = self.tenant_state(tenant)?.ok_or_else(no_tenant)?;
        let user = {
            let _turn = state.turn();
            self.put_new_user(tenant, new, Reach::Tenant)?
        };
        self.durable(self.store.log.end()).await?;
        Ok(user)
    }

    /// The caller has the tenant's turn.
    pub(super) fn put_new_user(
        &self,
        tenant: &TenantId,
        new: NewUser,
        reach: Reach,
    ) -> Result<User, CreateUserError> {
        let invalid = CreateUserError::Invalid;
        let email = new.email.trim().to_lowercase();
        let email_key = email_key(&email).ok_or_else(|| invalid("that is no e-mail address".to_owned()))?;
        let name = new.name.unwrap_or_else(|| email.clone());
        if !(1..=NAME_LENGTH_MAX).contains(&name.len()) {
            return Err(invalid(format!("a name has 1 to {NAME_LENGTH_MAX} bytes")));
        }
        if self.user_records(tenant)?.len() >= USERS_MAX {
            return Err(CreateUserError::TooMany(USERS_MAX));
        }
        let id = UserId::parse(&self.new_id()).map_err(|error| invalid(error.to_string()))?;
        let owner = EmailOwner { tenant: tenant.clone(), user: id.clone() };
        let table = &*self.store.table;
        // An address whose user was never written, after a crash in between, is free.
        let before = fact::get::<EmailOwner>(table, &email_key)?;
        let expected = match before {
            None => Expected::Absent,
            Some(found) if self.user_record(&found.value.tenant, &found.value.user)?.is_some() => {
                return Err(CreateUserError::Exists);
            }
            Some(found) => Expected::Revision(found.revision),
        };
        fact::put(table, &email_key, &owner, expected).map_err(|error| match error {
            PutError::Conflict(_) => CreateUserError::Exists,
            PutError::Storage(error) => CreateUserError::Storage(error),
        })?;
        let record = UserRecord {
            id: id.clone(),
            email,
            name,
            role: new.role,
            operator: reach == Reach::Server,
            disabled: false,
            created_at: self.now(),
            password: new.password,
            sessions: Vec::new(),
        };
        fact::set(table, &user_key(tenant, &id)?, &record)?;
        Ok((&record).into())
    }

    pub(super) fn erase_user(&self, tenant: &TenantId, record: &UserRecord) -> Result<(), StorageError> {
        let table = &*self.store.table;
        fact::delete(table, &user_key(tenant, &record.id)?)?;
        for session in &record.sessions {
            fact::delete(table, &session.hash.key()?)?;
        }
        if let Some(key) = email_key(&record.email) {
            fact::delete(table, &key)?;
        }
        Ok(())
    }
}
