//! What is known of each Spot between its requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_hub::id::{DeviceId, TenantId};
use roost_hub::principal::Principal;
use roost_wire::spot::Presences;

use super::downlink::{Downlink, Recipient};
use super::readings::Times;
use super::who::Registered;
use crate::shared::Shared;

/// A Spot that sent nothing for so long is offline: it missed about five requests.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// After how long what is known of a silent Spot is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);
/// How often we look who is silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The Spots that were heard of, by serial number.
#[derive(Debug, Default)]
pub(crate) struct Units {
    by_serial: Mutex<HashMap<Arc<str>, Arc<Unit>>>,
}

/// One Spot.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) tenant: TenantId,
    pub(super) device: DeviceId,
    state: Mutex<State>,
}

/// What changes with each request.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) principal: Option<Arc<Principal>>,
    is_online: bool,
    contact: Duration,
    /// Counts requests; commands leave with the newest.
    newest: u64,
    pub(super) presences: Presences,
    pub(super) times: Times,
    pub(super) downlink: Downlink,
}

impl Unit {
    fn new(shared: &Shared, tenant: &TenantId, device: &DeviceId) -> Self {
        let downlink = Downlink::resumed(Recipient { hub: &shared.hub, tenant, device }, shared.timers.now());
        let state = Mutex::new(State { downlink, ..State::default() });
        Self { tenant: tenant.clone(), device: device.clone(), state }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something came.
    pub(super) fn heard(&self, now: Duration) {
        self.state().contact = now;
    }

    /// Whether no later request has begun.
    pub(super) fn is_newest(&self, number: u64) -> bool {
        self.state().newest == number
    }
}

impl Units {
    fn by_serial(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Unit>>> {
        self.by_serial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request of a Spot begins, which makes it online; gives the request's number.
    pub(super) fn begin(&self, shared: &Shared, found: &Registered) -> Option<(Arc<Unit>, u64)> {
        let Registered { serial, principal, address } = found;
        let device = principal.device()?;
        let unit = {
            let mut units = self.by_serial();
            match units.get(serial).filter(|unit| unit.tenant == principal.tenant && unit.device == *device) {
                Some(unit) => Arc::clone(unit),
                None => {
                    let unit = Arc::new(Unit::new(shared, &principal.tenant, device));
                    if let Some(before) = units.insert(Arc::clone(serial), Arc::clone(&unit)) {
                        before.leave(shared, "its serial number is another device's now");
                    }
                    unit
                }
            }
        };
        let mut state = unit.state();
        state.newest += 1;
        state.contact = shared.timers.now();
        state.principal = Some(Arc::clone(principal));
        // A device that was deleted and made again is not online, whatever we knew of the first.
        if !state.is_online || !shared.hub.is_online(&unit.tenant, device) {
            state.is_online = true;
            let now = shared.hub.now();
            shared.hub.presence_connected(&unit.tenant, device, "Spot", address.as_deref(), now);
        }
        let number = state.newest;
        drop(state);
        Some((unit, number))
    }

    /// Notes who is silent, for ever.
    pub(crate) async fn run(&self, shared: &Shared) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = shared.timers.now();
            let units: Vec<_> = self.by_serial().values().cloned().collect();
            for unit in units {
                unit.look_after(shared, now);
            }
            self.by_serial().retain(|_, unit| {
                let state = unit.state();
                state.is_online || now.saturating_sub(state.contact) < FORGOTTEN_AFTER
            });
        }
    }
}

impl Unit {
    fn look_after(&self, shared: &Shared, now: Duration) {
        let is_silent = now.saturating_sub(self.state().contact) > SILENCE_MAX;
        if is_silent {
            self.leave(shared, "no request for 5 s");
        }
        super::stream::lapse(shared, self, now);
    }

    fn leave(&self, shared: &Shared, why: &str) {
        if std::mem::take(&mut self.state().is_online) {
            shared.hub.presence_disconnected(&self.tenant, &self.device, why, shared.hub.now());
        }
    }
}
