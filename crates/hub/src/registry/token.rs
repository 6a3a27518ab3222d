//! API tokens: how applications log in.

use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::id::{CredentialId, TenantId, TokenId};
use crate::principal::{Actor, CredentialRef, Principal, Role, Whose};
use crate::storage::{Expected, Key, StorageError};
use crate::time::Timestamp;

use super::authenticate::AuthenticateError;
use super::device::NAME_LENGTH_MAX;
use super::secret::{Holder, Secret, SecretHash, SecretOwner, check_given};
use super::tenant::default_tenant;
use super::{fact, lock};

/// How many shared principals are known before those without a connection are forgotten.
const APPLICATIONS_MAX: usize = 1_024;

/// The most API tokens of a tenant.
const TOKENS_MAX: usize = 1_000;
/// The id of the token that the setting `admin_token` makes.
const ADMIN_TOKEN: &str = "admin";

/// An API token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Its name for people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whether it may also do what concerns the whole server.
    pub operator: bool,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

/// An API token to be made. The caller sees to it that nobody gives more than they have.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name for people.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Whether it may also do what concerns the whole server.
    pub operator: bool,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

/// Why a token was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTokenError {
    /// Something about it is not as it must be; says what.
    #[error("{0}")]
    Invalid(String),
    /// The tenant has as many as it may have.
    #[error("a tenant has at most {0} tokens")]
    TooMany(usize),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a token was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTokenError {
    /// There is no such token.
    #[error("there is no such token")]
    Unknown,
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A token as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TokenRecord {
    id: TokenId,
    name: Arc<str>,
    pub(super) role: Role,
    operator: bool,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    pub(super) hash: SecretHash,
}

impl From<&TokenRecord> for Token {
    fn from(record: &TokenRecord) -> Self {
        Self {
            id: record.id.clone(),
            name: record.name.as_ref().to_owned(),
            role: record.role,
            operator: record.operator,
            created_at: record.created_at,
            expires_at: record.expires_at,
        }
    }
}

fn token_key(tenant: &TenantId, token: &TokenId) -> Result<Key, StorageError> {
    fact::key(Key::of("tokens").level(tenant.as_str()).level(token.as_str()))
}

impl Hub {
    /// Makes an API token; its secret is shown this once. Not cancel safe.
    ///
    /// # Errors
    /// [`CreateTokenError`]; nothing was made.
    pub async fn create_token(
        &self,
        tenant: &TenantId,
        new: NewToken,
    ) -> Result<(Token, Secret), CreateTokenError> {
        let made = self.create_token_now(tenant, new)?;
        self.durable(self.store.log.end()).await?;
        Ok(made)
    }

    pub(super) fn create_token_now(
        &self,
        tenant: &TenantId,
        new: NewToken,
    ) -> Result<(Token, Secret), CreateTokenError> {
        let invalid = CreateTokenError::Invalid;
        if !(1..=NAME_LENGTH_MAX).contains(&new.name.len()) {
            return Err(invalid(format!("a token's name has 1 to {NAME_LENGTH_MAX} bytes")));
        }
        let state =
            self.tenant_state(tenant)?.ok_or_else(|| invalid("there is no such tenant".to_owned()))?;
        let _turn = state.turn();
        if self.token_records(tenant)?.len() >= TOKENS_MAX {
            return Err(CreateTokenError::TooMany(TOKENS_MAX));
        }
        let id = TokenId::parse(&self.new_id()).map_err(|error| invalid(error.to_string()))?;
        let secret = self.new_secret();
        let token = self.put_token(tenant, id, new, &secret)?;
        Ok((token, secret))
    }

    /// Writes the token, then the entry that makes it work. The caller has the tenant's turn.
    fn put_token(
        &self,
        tenant: &TenantId,
        id: TokenId,
        new: NewToken,
        secret: &Secret,
    ) -> Result<Token, StorageError> {
        let hash = SecretHash::of(secret.reveal().as_bytes());
        let record = TokenRecord {
            id: id.clone(),
            name: Arc::from(new.name),
            role: new.role,
            operator: new.operator,
            created_at: self.now(),
            expires_at: new.expires_at,
            hash: hash.clone(),
        };
        let table = &*self.store.table;
        fact::set(table, &token_key(tenant, &id)?, &record)?;
        let owner = SecretOwner { tenant: tenant.clone(), holder: Holder::Token { id } };
        fact::put(table, &hash.key()?, &owner, Expected::Absent).map_err(fact::storage)?;
        Ok((&record).into())
    }

    /// The tenant's API tokens, in the order of their ids.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn tokens(&self, tenant: &TenantId) -> Result<Vec<Token>, StorageError> {
        Ok(self.token_records(tenant)?.iter().map(Token::from).collect())
    }

    pub(super) fn token_records(&self, tenant: &TenantId) -> Result<Vec<TokenRecord>, StorageError> {
        let prefix = Key::of("tokens").level(tenant.as_str()).prefix();
        Ok(fact::all(&*self.store.table, &prefix)?.into_iter().map(|(_, record)| record).collect())
    }

    pub(super) fn token_record(
        &self,
        tenant: &TenantId,
        token: &TokenId,
    ) -> Result<Option<TokenRecord>, StorageError> {
        Ok(fact::get(&*self.store.table, &token_key(tenant, token)?)?.map(|found| found.value))
    }

    /// Deletes an API token: it opens nothing any more, and what it opened is closed. Not cancel
    /// safe.
    ///
    /// # Errors
    /// [`DeleteTokenError`].
    pub async fn delete_token(&self, tenant: &TenantId, token: &TokenId) -> Result<(), DeleteTokenError> {
        self.delete_token_now(tenant, token)?;
        self.drop_sessions_of(tenant, &Whose::Token(token.clone()));
        Ok(self.durable(self.store.log.end()).await?)
    }

    fn delete_token_now(&self, tenant: &TenantId, token: &TokenId) -> Result<(), DeleteTokenError> {
        let state = self.tenant_state(tenant)?.ok_or(DeleteTokenError::Unknown)?;
        let _turn = state.turn();
        let record = self.token_record(tenant, token)?.ok_or(DeleteTokenError::Unknown)?;
        Ok(self.erase_token(tenant, &record)?)
    }

    pub(super) fn erase_token(&self, tenant: &TenantId, record: &TokenRecord) -> Result<(), StorageError> {
        fact::delete(&*self.store.table, &record.hash.key()?)?;
        fact::delete(&*self.store.table, &token_key(tenant, &record.id)?)?;
        Ok(())
    }

    /// Makes the setting `admin_token` an owner's and operator's token of tenant `default`. One from
    /// an earlier start with another text ends.
    ///
    /// # Errors
    /// [`CreateTokenError::Invalid`] when the text is none for a token, or is another token's.
    pub async fn ensure_admin_token(&self, text: &str) -> Result<(), CreateTokenError> {
        if self.ensure_admin_token_now(text)? {
            self.durable(self.store.log.end()).await?;
        }
        Ok(())
    }

    fn ensure_admin_token_now(&self, text: &str) -> Result<bool, CreateTokenError> {
        let invalid = CreateTokenError::Invalid;
        check_given(text).map_err(invalid)?;
        let tenant = default_tenant();
        let id = TokenId::parse(ADMIN_TOKEN).map_err(|error| invalid(error.to_string()))?;
        let state =
            self.tenant_state(&tenant)?.ok_or_else(|| invalid("there is no such tenant".to_owned()))?;
        let _turn = state.turn();
        let hash = SecretHash::of(text.as_bytes());
        let owner = fact::get::<SecretOwner>(&*self.store.table, &hash.key()?)?.map(|found| found.value);
        let wanted = SecretOwner { tenant: tenant.clone(), holder: Holder::Token { id: id.clone() } };
        let before = self.token_record(&tenant, &id)?;
        match (owner, before) {
            (Some(owner), Some(_)) if owner == wanted => return Ok(false),
            (Some(owner), _) if owner != wanted => {
                return Err(invalid("the text is another credential's already".to_owned()));
            }
            (_, Some(before)) => self.erase_token(&tenant, &before)?,
            (Some(_), None) => drop(fact::delete(&*self.store.table, &hash.key()?)?),
            (None, None) => {}
        }
        let new =
            NewToken { name: "admin_token".to_owned(), role: Role::Owner, operator: true, expires_at: None };
        self.put_token(&tenant, id, new, &Secret::new(text.to_owned()))?;
        Ok(true)
    }

    /// The principal of a token that was shown.
    pub(super) fn application(
        &self,
        tenant: &TenantId,
        token: &TokenId,
    ) -> Result<Arc<Principal>, AuthenticateError> {
        let record = self.token_record(tenant, token)?.ok_or(AuthenticateError::Unknown)?;
        if record.expires_at.is_some_and(|at| at <= self.now()) {
            return Err(AuthenticateError::Expired);
        }
        if self.tenant_state(tenant)?.is_none() {
            return Err(AuthenticateError::Unknown);
        }
        let is_same = |known: &Arc<Principal>| {
            known.expires_at() == record.expires_at
                && matches!(&known.actor, Actor::Application { name, role, operator, .. }
                    if *name == record.name && *role == record.role && *operator == record.operator)
        };
        let mut applications = lock(&self.registry.applications);
        let key = (tenant.clone(), token.clone());
        if let Some(known) = applications.get(&key).and_then(Weak::upgrade).filter(is_same) {
            return Ok(known);
        }
        let id = CredentialId::parse(token.as_str()).map_err(|_invalid| AuthenticateError::Unknown)?;
        let principal = Arc::new(Principal {
            tenant: tenant.clone(),
            credential: Some(CredentialRef { id, expires_at: record.expires_at }),
            actor: Actor::Application {
                token: token.clone(),
                name: record.name,
                role: record.role,
                operator: record.operator,
            },
        });
        if applications.len() >= APPLICATIONS_MAX {
            applications.retain(|_, known| known.strong_count() > 0);
        }
        applications.insert(key, Arc::downgrade(&principal));
        Ok(principal)
    }
}
