//! Tenants: made with an owner's token, deleted with everything that is theirs. The id of a deleted
//! one is never used again.

use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::id::TenantId;
use crate::principal::{Role, Whose};
use crate::storage::{Expected, Key, PutError, StorageError};
use crate::time::Timestamp;

use super::device::NAME_LENGTH_MAX;
use super::fact::{self, Fact};
use super::link::Linked;
use super::secret::Secret;
use super::token::{CreateTokenError, NewToken};

/// The tenant that is there from the first start.
pub const DEFAULT_TENANT: &str = "default";

/// The id of the tenant that is there from the first start.
#[must_use]
pub fn default_tenant() -> TenantId {
    TenantId::parse(DEFAULT_TENANT).expect("the default tenant's id is an id")
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name for people.
    pub name: String,
    /// Since when; zero for `default`, which was always there.
    pub created_at: Timestamp,
}

/// Why a tenant was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTenantError {
    /// There is one of this id, or was one.
    #[error("the id is in use, or was before")]
    Exists,
    /// Something about it is not as it must be; says what.
    #[error("{0}")]
    Invalid(String),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a tenant was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTenantError {
    /// There is none of this id.
    #[error("there is no such tenant")]
    Unknown,
    /// It is `default`, which stays.
    #[error("the tenant `default` cannot be deleted")]
    Default,
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TenantRecord {
    id: TenantId,
    name: String,
    created_at: Timestamp,
    /// Set for good when it is deleted.
    deleted_at: Option<Timestamp>,
    /// Whether everything of it is gone.
    #[serde(default)]
    is_erased: bool,
}

fn tenant_key(tenant: &TenantId) -> Result<Key, StorageError> {
    fact::key(Key::of("tenants").level(tenant.as_str()))
}

impl TenantRecord {
    fn live(self) -> Option<Tenant> {
        self.deleted_at.is_none().then_some(Tenant {
            id: self.id,
            name: self.name,
            created_at: self.created_at,
        })
    }
}

fn the_default() -> Tenant {
    Tenant { id: default_tenant(), name: DEFAULT_TENANT.to_owned(), created_at: Timestamp(0) }
}

impl Hub {
    /// The tenant; `None` when there is none of this id, or no longer.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn tenant(&self, tenant: &TenantId) -> Result<Option<Tenant>, StorageError> {
        if tenant.as_str() == DEFAULT_TENANT {
            return Ok(Some(the_default()));
        }
        let found = fact::get::<TenantRecord>(&*self.store.table, &tenant_key(tenant)?)?;
        Ok(found.and_then(|fact| fact.value.live()))
    }

    /// All tenants, `default` first.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn tenants(&self) -> Result<Vec<Tenant>, StorageError> {
        let mut tenants = vec![the_default()];
        fact::each(&*self.store.table, "tenants/", |_key, record: TenantRecord| {
            tenants.extend(record.live());
            Ok(())
        })?;
        Ok(tenants)
    }

    /// Makes a tenant with an owner's token, which is shown this once. Not cancel safe.
    ///
    /// # Errors
    /// [`CreateTenantError`].
    pub async fn create_tenant(
        &self,
        id: TenantId,
        name: Option<String>,
    ) -> Result<(Tenant, Secret), CreateTenantError> {
        let made = self.create_tenant_now(id, name)?;
        self.durable(self.store.log.end()).await?;
        Ok(made)
    }

    fn create_tenant_now(
        &self,
        id: TenantId,
        name: Option<String>,
    ) -> Result<(Tenant, Secret), CreateTenantError> {
        let name = name.unwrap_or_else(|| id.as_str().to_owned());
        if name.len() > NAME_LENGTH_MAX {
            return Err(CreateTenantError::Invalid(format!("a name has at most {NAME_LENGTH_MAX} bytes")));
        }
        if id.as_str() == DEFAULT_TENANT {
            return Err(CreateTenantError::Exists);
        }
        let created_at = self.now();
        let record = TenantRecord {
            id: id.clone(),
            name: name.clone(),
            created_at,
            deleted_at: None,
            is_erased: false,
        };
        fact::put(&*self.store.table, &tenant_key(&id)?, &record, Expected::Absent).map_err(|error| {
            match error {
                PutError::Conflict(_) => CreateTenantError::Exists,
                PutError::Storage(error) => CreateTenantError::Storage(error),
            }
        })?;
        let token =
            NewToken { name: "owner".to_owned(), role: Role::Owner, operator: false, expires_at: None };
        let (_, secret) = self.create_token_now(&id, token).map_err(|error| match error {
            CreateTokenError::Storage(error) => CreateTenantError::Storage(error),
            other => CreateTenantError::Invalid(other.to_string()),
        })?;
        Ok((Tenant { id, name, created_at }, secret))
    }

    /// Deletes a tenant: nobody of it is recognised any more, its connections are closed, and what
    /// the registry holds of it is removed. Not cancel safe; what an interrupted call leaves is
    /// removed by [`Hub::erase_deleted_tenants`].
    ///
    /// # Errors
    /// [`DeleteTenantError`].
    pub async fn delete_tenant(&self, tenant: &TenantId) -> Result<(), DeleteTenantError> {
        if tenant.as_str() == DEFAULT_TENANT {
            return Err(DeleteTenantError::Default);
        }
        let key = tenant_key(tenant)?;
        let state = self.tenant_state(tenant)?.ok_or(DeleteTenantError::Unknown)?;
        {
            let _turn = state.turn();
            let found = fact::get::<TenantRecord>(&*self.store.table, &key)?;
            let Fact { value, revision } = found.ok_or(DeleteTenantError::Unknown)?;
            let deleted = TenantRecord { deleted_at: Some(self.now()), ..value };
            fact::put(&*self.store.table, &key, &deleted, Expected::Revision(revision))
                .map_err(fact::storage)?;
            state.mark_deleted();
        }
        self.drop_sessions_of(tenant, &Whose::Everybody);
        self.forget_retained(tenant);
        self.durable(self.store.log.end()).await?;
        Ok(self.erase_tenant(tenant).await?)
    }

    /// Removes what is left of deleted tenants; to be called at the start.
    ///
    /// # Errors
    /// The store could not.
    pub async fn erase_deleted_tenants(&self) -> Result<(), StorageError> {
        for (_, record) in fact::all::<TenantRecord>(&*self.store.table, "tenants/")? {
            if record.deleted_at.is_some() && !record.is_erased {
                self.erase_tenant(&record.id).await?;
            }
        }
        Ok(())
    }

    async fn erase_tenant(&self, tenant: &TenantId) -> Result<(), StorageError> {
        let table = &*self.store.table;
        for token in self.token_records(tenant)? {
            self.erase_token(tenant, &token)?;
        }
        for user in self.user_records(tenant)? {
            self.erase_user(tenant, &user)?;
        }
        let prefix = Key::of("devices").level(tenant.as_str()).prefix();
        loop {
            let page = table.scan(&prefix, None, fact::SCAN_PAGE)?;
            let is_last = page.len() < fact::SCAN_PAGE;
            for (key, entry) in page {
                let device: super::Device = fact::read(&key, &entry.value)?;
                self.index_links(tenant, &device.id, (&device).into(), Linked::default())?;
                self.erase_device(tenant, &device.id)?;
                fact::delete(table, &key)?;
            }
            // A store takes so many changes at a time.
            self.durable(self.store.log.end()).await?;
            if is_last {
                break;
            }
        }
        for name in ["children", "profiles", "inbox", "inbox-rules"] {
            let prefix = Key::of(name).level(tenant.as_str()).prefix();
            for (key, _) in fact::all::<serde::de::IgnoredAny>(table, &prefix)? {
                fact::delete(table, &key)?;
            }
        }
        let key = tenant_key(tenant)?;
        if let Some(found) = fact::get::<TenantRecord>(table, &key)? {
            fact::set(table, &key, &TenantRecord { is_erased: true, ..found.value })?;
        }
        self.durable(self.store.log.end()).await
    }
}
