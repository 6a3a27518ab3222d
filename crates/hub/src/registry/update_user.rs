//! How a person is changed, or goes.

use crate::hub::Hub;
use crate::id::{CredentialId, TenantId, UserId};
use crate::principal::{Role, Whose};
use crate::storage::StorageError;

use super::device::NAME_LENGTH_MAX;
use super::fact;
use super::password::PasswordHash;
use super::user::{User, UserRecord, user_key};

/// What is to be different about a person; `None` leaves as it is.
#[derive(Clone, Debug, Default)]
pub struct UserUpdate {
    /// A new name.
    pub name: Option<String>,
    /// Another role.
    pub role: Option<Role>,
    /// A new password; ends their web sessions.
    pub password: Option<PasswordHash>,
    /// The web session that a new password does not end: the one in which it was changed.
    pub stays: Option<CredentialId>,
    /// Whether they are shut out; ends their web sessions when they are.
    pub disabled: Option<bool>,
}

/// Why a person was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateUserError {
    /// There is nobody of this id.
    #[error("there is no such user")]
    Unknown,
    /// It would leave the tenant without an owner.
    #[error("a tenant keeps at least one owner who can sign in")]
    LastOwner,
    /// Something is not as it must be; says what.
    #[error("{0}")]
    Invalid(String),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a person was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteUserError {
    /// There is nobody of this id.
    #[error("there is no such user")]
    Unknown,
    /// It would leave the tenant without an owner.
    #[error("a tenant keeps at least one owner who can sign in")]
    LastOwner,
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Hub {
    /// Changes a person. Another role, password or shutting them out closes what they have open. Not
    /// cancel safe.
    ///
    /// # Errors
    /// [`UpdateUserError`]; nothing was changed.
    pub async fn update_user(
        &self,
        tenant: &TenantId,
        user: &UserId,
        update: UserUpdate,
    ) -> Result<User, UpdateUserError> {
        let rights_change = update.role.is_some() || update.password.is_some() || update.disabled.is_some();
        let updated = self.update_user_now(tenant, user, update)?;
        if rights_change {
            self.close_sessions_of(tenant, &Whose::User(user.clone()));
        }
        self.durable(self.store.log.end()).await?;
        Ok(updated)
    }

    fn update_user_now(
        &self,
        tenant: &TenantId,
        user: &UserId,
        update: UserUpdate,
    ) -> Result<User, UpdateUserError> {
        let state = self.tenant_state(tenant)?.ok_or(UpdateUserError::Unknown)?;
        let _turn = state.turn();
        let mut record = self.user_record(tenant, user)?.ok_or(UpdateUserError::Unknown)?;
        let signs_out = update.password.is_some() || update.disabled == Some(true);
        let stays = update.stays.filter(|_| update.disabled != Some(true));
        if let Some(name) = update.name {
            if !(1..=NAME_LENGTH_MAX).contains(&name.len()) {
                return Err(UpdateUserError::Invalid(format!("a name has 1 to {NAME_LENGTH_MAX} bytes")));
            }
            record.name = name;
        }
        record.role = update.role.unwrap_or(record.role);
        record.disabled = update.disabled.unwrap_or(record.disabled);
        record.password = update.password.unwrap_or(record.password);
        if (record.role < Role::Owner || record.disabled) && self.is_last_owner(tenant, user)? {
            return Err(UpdateUserError::LastOwner);
        }
        let (kept, ended) = std::mem::take(&mut record.sessions)
            .into_iter()
            .partition::<Vec<_>, _>(|session| !signs_out || (stays.is_some() && session.id() == stays));
        record.sessions = kept;
        let table = &*self.store.table;
        // A web session holds only while the user's record names it: this one write ends them.
        fact::set(table, &user_key(tenant, user)?, &record)?;
        for session in ended {
            fact::delete(table, &session.hash.key()?)?;
        }
        Ok((&record).into())
    }

    /// Deletes a person and closes what they have open. Not cancel safe.
    ///
    /// # Errors
    /// [`DeleteUserError`].
    pub async fn delete_user(&self, tenant: &TenantId, user: &UserId) -> Result<(), DeleteUserError> {
        let state = self.tenant_state(tenant)?.ok_or(DeleteUserError::Unknown)?;
        {
            let _turn = state.turn();
            let record = self.user_record(tenant, user)?.ok_or(DeleteUserError::Unknown)?;
            if self.is_last_owner(tenant, user)? {
                return Err(DeleteUserError::LastOwner);
            }
            self.erase_user(tenant, &record)?;
        }
        self.drop_sessions_of(tenant, &Whose::User(user.clone()));
        Ok(self.durable(self.store.log.end()).await?)
    }

    fn is_last_owner(&self, tenant: &TenantId, user: &UserId) -> Result<bool, StorageError> {
        let is_owner = |record: &UserRecord| record.role == Role::Owner && !record.disabled;
        let owners: Vec<_> = self.user_records(tenant)?.into_iter().filter(is_owner).collect();
        Ok(matches!(owners.as_slice(), [only] if only.id == *user))
    }
}
