//! Who may connect beside who is there: connections of a tenant, and clients that throw each other
//! out (M-29).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::flight::FlightKind;
use crate::hub::Hub;
use crate::limit::Limit;
use crate::principal::Principal;
use crate::time::Timestamp;

use super::TenantBroker;
use super::connect::{ConnectError, ConnectOptions};
use super::session::Shared;

/// How often a client id may be taken over in the long run: once in this time.
const TAKEOVER_EVERY: Duration = Duration::from_secs(1);
/// How many times in a row without waiting, as a device does whose line is bad.
const TAKEOVERS_AT_ONCE: u32 = 3;

/// When a client id may be taken over again: a token bucket, told by the time at which it is full.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Takeovers(Timestamp);

impl Takeovers {
    fn wait(self, now: Timestamp) -> Option<Duration> {
        let bearable = TAKEOVER_EVERY.saturating_mul(TAKEOVERS_AT_ONCE - 1);
        // A wall clock that was set back must not hold anybody up for long.
        let owed = self.0.since(now).min(bearable + TAKEOVER_EVERY);
        (owed > bearable).then(|| owed.saturating_sub(bearable))
    }

    fn count(self, now: Timestamp) -> Self {
        let latest = now.after(TAKEOVER_EVERY.saturating_mul(TAKEOVERS_AT_ONCE - 1));
        Self(self.0.clamp(now, latest).after(TAKEOVER_EVERY))
    }
}

/// A place among the connections of a tenant; given back unless it is kept.
pub(super) struct Place<'a>(Option<&'a TenantBroker>);

impl Place<'_> {
    /// From here on, the session gives it back.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(tenant) = self.0 {
            tenant.connections.leave();
        }
    }
}

/// Counts the connections of a tenant.
#[derive(Debug, Default)]
pub(crate) struct TenantConnections(AtomicUsize);

impl TenantConnections {
    /// A connection is gone.
    pub(super) fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hub {
    /// A place for one more connection. Who takes over another one's takes its place.
    pub(super) fn take_place<'a>(
        &self,
        tenant: &'a TenantBroker,
        existing: Option<&Arc<Shared>>,
    ) -> Result<Place<'a>, ConnectError> {
        let most = self.settings.tenant_connections_max;
        let leaving = usize::from(existing.is_some_and(|shared| shared.outbox().is_connected));
        let before = tenant.connections.0.fetch_add(1, Ordering::Relaxed);
        let place = Place(Some(tenant));
        if before >= most.saturating_add(leaving) {
            self.refusals.count(Limit::ConnectionsPerTenant);
            return Err(ConnectError::TooManyConnections(most));
        }
        Ok(place)
    }

    /// How long to wait before this client may take the place of another one that is connected;
    /// `None` when it may now. To be asked before [`Hub::connect`], which counts and never waits.
    #[must_use]
    pub fn takeover_wait(&self, principal: &Principal, client_id: &str) -> Option<Duration> {
        let tenant = self.broker.tenant(&principal.tenant);
        let existing = tenant.sessions().get(client_id).cloned()?;
        let is_connected = existing.outbox().is_connected;
        let wait = is_connected.then(|| existing.facts().takeovers.wait(self.now())).flatten();
        wait.inspect(|_| self.refusals.count(Limit::TakeoverRate))
    }

    /// Counts that a client takes the place of one that is connected.
    pub(super) fn count_takeover(&self, shared: &Shared, options: &ConnectOptions) -> Takeovers {
        let now = self.now();
        let is_connected = shared.outbox().is_connected;
        let mut facts = shared.facts();
        if !is_connected {
            return facts.takeovers;
        }
        let is_often = facts.takeovers.0 > now;
        facts.takeovers = facts.takeovers.count(now);
        let (takeovers, owner, older) = (facts.takeovers, facts.owner(), facts.address.clone());
        drop(facts);
        if let Some(device) = owner.device().filter(|_| is_often) {
            let named = |address: Option<&str>| address.unwrap_or("an unknown address").to_owned();
            let (older, newer) = (named(older.as_deref()), named(options.address.as_deref()));
            let client = &shared.client_id;
            let text = format_args!("duplicate client id {client:?}: {newer} takes over from {older} again");
            self.note(&shared.tenant.id, device, FlightKind::Refused, text, now);
        }
        takeovers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m_29_a_client_id_is_taken_over_three_times_at_once_and_then_once_a_second() {
        let mut takeovers = Takeovers::default();
        let mut taken = Vec::new();
        for tenth in 0..60 {
            let now = Timestamp(1_700_000_000_000 + tenth * 100);
            if takeovers.wait(now).is_none() {
                takeovers = takeovers.count(now);
                taken.push(tenth);
            }
        }
        assert_eq!(taken, [0, 1, 2, 10, 20, 30, 40, 50]);
    }
}
