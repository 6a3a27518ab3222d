//! Who the owner of a session, or of a will, is at present.

use std::sync::Arc;

use crate::broker::Owner;
use crate::hub::Hub;
use crate::id::TenantId;
use crate::principal::Principal;

use super::web_session;

impl Hub {
    /// The owner with the rights it has now; `None` when it is gone, and also when the store
    /// cannot tell: who is not known may nothing.
    pub(crate) fn principal_of_owner(&self, tenant: &TenantId, owner: &Owner) -> Option<Arc<Principal>> {
        match owner {
            Owner::Device(device) => {
                let device = self.device(tenant, device).ok()??;
                self.principal_of(tenant, &device, None).ok()
            }
            Owner::Token(token) => self.application(tenant, token).ok(),
            Owner::User(user) => {
                let record = self.user_record(tenant, user).ok()??;
                (!record.disabled).then(|| web_session::person(tenant, &record, None))
            }
        }
    }
}
