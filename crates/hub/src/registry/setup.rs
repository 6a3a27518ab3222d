//! The first owner: made by whoever holds the token that the console shows at the first start.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::hub::Hub;
use crate::principal::{Principal, Role};
use crate::storage::StorageError;
use crate::time::Timestamp;

use super::secret::{Secret, SecretHash};
use super::tenant::default_tenant;
use super::user::{CreateUserError, NewUser, Reach};
use super::web_session::{SignInError, VerifiedUser, Visit};
use super::{lock, tenant_state::TenantState};

/// How long a set-up token may be used.
const SET_UP_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// The set-up token that is out, in memory only: a new start shows a new one.
#[derive(Debug, Default)]
pub(super) struct SetUp {
    token: Option<(SecretHash, Timestamp)>,
}

/// Why the first owner was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetUpError {
    /// The token is wrong, used or too old.
    #[error("the set-up token is wrong, used or too old; `roost token setup` shows a new one")]
    Token,
    /// There is an owner already.
    #[error("there is an owner already")]
    Done,
    /// Something about the owner is not as it must be; says what.
    #[error("{0}")]
    Invalid(String),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Hub {
    /// Whether tenant `default` has neither an owner nor an owner's token yet.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn setup_needed(&self) -> Result<bool, StorageError> {
        let tenant = default_tenant();
        let has_owner = self.user_records(&tenant)?.iter().any(|record| record.role == Role::Owner)
            || self.token_records(&tenant)?.iter().any(|record| record.role == Role::Owner);
        Ok(!has_owner)
    }

    /// Whether there is somebody whom devices and programs could be registered by. Before, doors
    /// other than the set-up page stay shut. Cheap once it is so.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        let has_owner = &self.registry.has_owner;
        if !has_owner.load(Ordering::Relaxed) && self.setup_needed() == Ok(false) {
            has_owner.store(true, Ordering::Relaxed);
        }
        has_owner.load(Ordering::Relaxed)
    }

    /// A new set-up token, in place of the one before; `None` when there is an owner.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn setup_token(&self) -> Result<Option<Secret>, StorageError> {
        if !self.setup_needed()? {
            return Ok(None);
        }
        let secret = self.new_secret();
        let hash = SecretHash::of(secret.reveal().as_bytes());
        lock(&self.registry.set_up).token = Some((hash, self.now().after(SET_UP_LIFETIME)));
        Ok(Some(secret))
    }

    /// Makes the first owner, who is the operator of the server, and signs them in. Works once. Not
    /// cancel safe.
    ///
    /// # Errors
    /// [`SetUpError`]; nobody was made.
    pub async fn set_up(
        &self,
        token: &str,
        owner: NewUser,
        visit: Visit,
    ) -> Result<(Secret, Arc<Principal>), SetUpError> {
        let tenant = default_tenant();
        let state = self.tenant_state(&tenant)?.ok_or(SetUpError::Done)?;
        let user = self.set_up_now(&state, token, NewUser { role: Role::Owner, ..owner })?;
        let verified = VerifiedUser { tenant, user };
        self.start_web_session(&verified, visit).await.map_err(|error| match error {
            SignInError::Storage(error) => SetUpError::Storage(error),
            SignInError::Wrong | SignInError::Busy => SetUpError::Token,
        })
    }

    fn set_up_now(
        &self,
        state: &TenantState,
        token: &str,
        owner: NewUser,
    ) -> Result<crate::id::UserId, SetUpError> {
        let _turn = state.turn();
        if !self.setup_needed()? {
            return Err(SetUpError::Done);
        }
        let mut set_up = lock(&self.registry.set_up);
        let shown = SecretHash::of(token.as_bytes());
        let now = self.now();
        let is_right = set_up
            .token
            .as_ref()
            .is_some_and(|(hash, until)| *until > now && bool::from(hash.as_bytes().ct_eq(shown.as_bytes())));
        if !is_right {
            return Err(SetUpError::Token);
        }
        let user =
            self.put_new_user(&default_tenant(), owner, Reach::Server).map_err(|error| match error {
                CreateUserError::Storage(error) => SetUpError::Storage(error),
                other => SetUpError::Invalid(other.to_string()),
            })?;
        set_up.token = None;
        Ok(user.id)
    }
}
