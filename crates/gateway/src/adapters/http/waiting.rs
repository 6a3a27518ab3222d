//! How many requests of a device may wait for commands at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use http::header::{self, HeaderValue};
use roost_hub::id::{DeviceId, TenantId};

use crate::problem::Problem;

/// The most long polls of one device at once; some may be of connections that died unnoticed.
const DEVICE_MAX: usize = 8;
/// When a device that was turned away may come again, in seconds.
const COME_AGAIN: u64 = 5;

type Counts = Arc<Mutex<HashMap<(TenantId, DeviceId), usize>>>;

/// Counts who waits.
#[derive(Debug, Default)]
pub(super) struct Waiting(Counts);

/// One place among those who wait; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    counts: Counts,
    whose: (TenantId, DeviceId),
}

fn lock(counts: &Counts) -> MutexGuard<'_, HashMap<(TenantId, DeviceId), usize>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    /// Takes a place.
    pub(super) fn enter(&self, tenant: &TenantId, device: &DeviceId) -> Result<Place, Problem> {
        let whose = (tenant.clone(), device.clone());
        let mut counts = lock(&self.0);
        let count = counts.entry(whose.clone()).or_default();
        if *count >= DEVICE_MAX {
            let detail = format!("{DEVICE_MAX} requests of this device wait already: close some.");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many", detail);
            return Err(problem.header(header::RETRY_AFTER, HeaderValue::from(COME_AGAIN)));
        }
        *count += 1;
        drop(counts);
        Ok(Place { counts: Arc::clone(&self.0), whose })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.whose);
            }
        }
    }
}
