//! The registry: tenants, devices and their credentials, profiles, API tokens, users.
//!
//! Everything here is a fact in a table, changed by one caller at a time per tenant, and durable
//! before the verb returns.

mod authenticate;
mod create_device;
mod credential;
mod delete_device;
mod device;
mod device_query;
pub(crate) mod fact;
mod family;
pub(crate) mod link;
mod owner;
mod password;
mod profile;
mod proof;
mod psk;
mod recognised;
mod seal;
mod secret;
mod setup;
mod signature;
mod tenant;
mod tenant_state;
mod throttle;
mod token;
mod update_device;
mod update_user;
mod user;
mod web_session;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::id::{TenantId, TokenId};
use crate::principal::Principal;

pub use authenticate::{AuthenticateError, PasswordCheck, Presented};
pub use create_device::{CreateDeviceError, NewDevice};
pub use credential::{AddCredentialError, Credential, CredentialKind, NewCredential, RevokeCredentialError};
pub use delete_device::DeleteDeviceError;
pub use device::Device;
pub(crate) use device::check_labels;
pub use device_query::{DevicePage, DeviceQuery};
pub use password::{HashPasswordError, PasswordHash};
pub use profile::{DIALECT_PROFILES, Profile, PutProfileError};
pub use psk::Psk;
pub use seal::{SealKey, Sealed, UnsealError};
pub use secret::Secret;
pub use setup::SetUpError;
pub use signature::Signed;
pub use tenant::{CreateTenantError, DEFAULT_TENANT, DeleteTenantError, Tenant, default_tenant};
pub use throttle::{RetryAfter, Throttle};
pub use token::{CreateTokenError, DeleteTokenError, NewToken, Token};
pub use update_device::{DeviceUpdate, UpdateDeviceError};
pub use update_user::{DeleteUserError, UpdateUserError, UserUpdate};
pub use user::{CreateUserError, NewUser, User};
pub use web_session::{SignInError, VerifiedUser, Visit, WEB_SESSION_LIFETIME, WebSession};

use password::Passwords;
use recognised::Recognised;
use setup::SetUp;
use tenant_state::TenantState;

/// What the registry keeps in memory beside its tables.
#[derive(Debug, Default)]
pub struct Registry {
    tenants: Mutex<HashMap<TenantId, Arc<TenantState>>>,
    passwords: Passwords,
    recognised: Recognised,
    /// Who has a connection with an API token: many connections of one application share it.
    applications: Mutex<HashMap<(TenantId, TokenId), Weak<Principal>>>,
    set_up: Mutex<SetUp>,
    /// Whether an owner was ever seen.
    has_owner: AtomicBool,
    /// Failed log-ins, by identity and by address.
    pub throttle: Throttle,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
