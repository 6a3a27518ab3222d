//! What goes when a device goes.

use super::{Contact, key};
use crate::Hub;
use crate::id::{DeviceId, TenantId};
use crate::storage::StorageError;

impl Hub {
    /// Removes everything that was remembered of a device besides its registration: twin,
    /// documents, commands, flight recorder, presence and its retained `status` and `twin/desired`.
    ///
    /// # Errors
    /// What the store says; calling again removes the rest.
    pub(crate) fn forget_device_state(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<(), StorageError> {
        let now = self.now();
        let was_seen = self.forget_presence(tenant, device)?;
        self.forget_commands(tenant, device)?;
        let had_twin = self.forget_twin(tenant, device)?;
        self.forget_documents(tenant, device)?;
        for (topic, was_said) in [("status", was_seen), ("twin/desired", had_twin)] {
            if was_said {
                self.publish_retained(tenant, device, topic, ("", now))?;
            }
        }
        self.forget_flight(tenant, device)
    }

    /// Tells whether there was something to forget.
    fn forget_presence(&self, tenant: &TenantId, device: &DeviceId) -> Result<bool, StorageError> {
        let saved = self.store.table.get(&key("presence", tenant, device))?.is_some();
        let mut shard = self.presence.contacts.shard(device);
        let was_seen = saved || shard.get(tenant, device).is_some();
        if was_seen {
            // Seen never: the next checkpoint removes what was saved.
            shard.insert(tenant, device, Contact::default());
        }
        drop(shard);
        let fact = key("online", tenant, device);
        if self.store.table.get(&fact)?.is_some() {
            self.put_fact(&fact, None)?;
            return Ok(true);
        }
        Ok(was_seen)
    }
}
