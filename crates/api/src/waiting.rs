//! How many requests may wait at once: live feeds and long polls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_hub::principal::Principal;

use crate::problem::Problem;

/// The most requests of a tenant that wait at once.
const TENANT_MAX: usize = 1_000;
/// The most requests of one device, token or person that wait at once.
const CALLER_MAX: usize = 64;
/// When somebody who was turned away may come again.
const COME_AGAIN: Duration = Duration::from_secs(5);

type Counts = Arc<Mutex<HashMap<String, usize>>>;

/// Counts who waits.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Counts);

/// One place among those who wait; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    counts: Counts,
    names: [String; 2],
}

fn lock(counts: &Counts) -> MutexGuard<'_, HashMap<String, usize>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    /// Takes a place.
    pub(crate) fn enter(&self, principal: &Principal) -> Result<Place, Problem> {
        let mut counts = lock(&self.0);
        // A tenant's name has no `/`, so that no caller is counted as a tenant.
        let names = [principal.tenant.as_str().to_owned(), principal.label()];
        for (name, max) in names.iter().zip([TENANT_MAX, CALLER_MAX]) {
            if counts.get(name).is_some_and(|count| *count >= max) {
                let detail = format!("{max} requests of {name} wait already; close some, then try again.");
                return Err(Problem::too_many(detail, COME_AGAIN));
            }
        }
        for name in &names {
            *counts.entry(name.clone()).or_default() += 1;
        }
        drop(counts);
        Ok(Place { counts: Arc::clone(&self.0), names })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        for name in &self.names {
            if let Some(count) = counts.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(name);
                }
            }
        }
    }
}
