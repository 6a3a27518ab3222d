//! How connections come and go: opening, taking over, ending and expiry of sessions.

use std::sync::Arc;
use std::time::Duration;

use crate::hub::Hub;
use crate::id::TenantId;
use crate::limit::Limit;
use crate::principal::{Principal, Whose};
use crate::storage::{Position, StorageError};
use crate::time::Timestamp;

use super::outbox::CloseReason;
use super::publish::PublishError;
use super::session::{Facts, Leave, Owner, Session, Shared, Who};
use super::tree::{Known, Subscriber, SubscriptionFlags};
use super::will::Will;
use super::{ConnectionNumber, Due, Takeovers, TenantBroker, stored};

/// What a client asks for when it connects.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Its id; `None` to be given one.
    pub client_id: Option<String>,
    /// Whether to begin afresh or to go on where it was.
    pub start: Start,
    /// How long the session outlives the connection; zero ends with it.
    pub expiry: Duration,
    /// What is said when it is gone.
    pub will: Option<Will>,
    /// How many QoS 1 and 2 messages may be on their way to it.
    pub receive_maximum: u16,
    /// The protocol it speaks, for people to read. Each session keeps it, hence the thin pointer.
    pub protocol: &'static &'static str,
    /// Where it is, for people to read.
    pub address: Option<Box<str>>,
}

/// Whether a client begins afresh (MQTT 5.0 section 3.1.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Any former session is forgotten.
    Clean,
    /// The former session goes on, when there is one.
    Resume,
}

/// Why a connection was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Somebody else's session has that client id.
    #[error("another user of this tenant has a session with this client id")]
    ClientIdTaken,
    /// The will's topic is not the client's to write.
    #[error("the will's topic is not allowed: {0}")]
    Will(PublishError),
    /// The tenant has as many sessions as it may.
    #[error("a tenant may have {0} sessions at most")]
    QuotaExceeded(usize),
    /// The tenant has as many connections as it may.
    #[error("a tenant may have {0} connections at most")]
    TooManyConnections(usize),
    /// The store could not take it.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A connection that was let in.
#[derive(Debug)]
pub struct Connected {
    /// Its hold on the session.
    pub session: Session,
    /// Whether a former session goes on.
    pub is_present: bool,
    /// How long the session is kept, which may be less than was asked for.
    pub expiry: Duration,
    /// CONNACK may be sent once the log is durable up to here.
    pub position: Option<Position>,
}

/// How long a will waits that found no room in the store.
const WILL_RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl Hub {
    /// Lets a client in, under its own id or one that is made up.
    ///
    /// # Errors
    /// [`ConnectError`] says why not.
    pub fn connect(
        self: &Arc<Self>,
        principal: &Arc<Principal>,
        options: ConnectOptions,
    ) -> Result<Connected, ConnectError> {
        if let Some(will) = &options.will {
            self.check_publish(principal, &will.message.topic).map_err(ConnectError::Will)?;
        }
        let tenant = self.broker.tenant(&principal.tenant);
        let client_id: Arc<str> = match &options.client_id {
            Some(id) => Arc::from(id.as_str()),
            None => Arc::from(format!("roost-{}", hex::encode(self.random_bytes::<8>()))),
        };
        let expiry = options.expiry.min(self.settings.session_expiry_max);
        let existing = tenant.sessions().get(&client_id).cloned();
        if let Some(shared) = &existing
            && !may_take_over(principal, shared)
        {
            return Err(ConnectError::ClientIdTaken);
        }
        let takeovers = match &existing {
            Some(shared) => self.count_takeover(shared, &options),
            None => Takeovers::default(),
        };
        let place = self.take_place(&tenant, existing.as_ref())?;
        let resumed = match existing {
            Some(shared) if options.start == Start::Resume && is_resumable(principal, &shared) => {
                self.take_over(&shared, Start::Resume);
                Some(shared)
            }
            Some(shared) => {
                self.take_over(&shared, Start::Clean);
                self.end_session(&shared)?;
                None
            }
            None => None,
        };
        let is_present = resumed.is_some();
        let shared = match resumed {
            Some(shared) => shared,
            None => self.new_session(&tenant, &client_id, (principal, takeovers))?,
        };
        let attached = self.attach(&shared, principal, expiry, options);
        let (connection, position) = attached.inspect_err(|_refused| self.stay_absent(&shared))?;
        if !self.principal_holds(principal)? {
            // Revoked since the log-in, when there was nothing to close yet.
            shared.close(CloseReason::NotAuthorized);
        }
        if let Some(device) = principal.device() {
            let facts = shared.facts();
            let (protocol, address) = (facts.protocol, facts.address.clone());
            drop(facts);
            self.presence_connected(&tenant.id, device, protocol, address.as_deref(), self.now());
        }
        if is_present {
            self.offer_commands_again(&shared);
        }
        place.keep();
        let session = Session {
            hub: Arc::clone(self),
            shared,
            principal: Arc::clone(principal),
            connection,
            unflushed: None,
            has_left: false,
            heard_second: 0,
        };
        Ok(Connected { session, is_present, expiry, position })
    }

    fn new_session(
        &self,
        tenant: &Arc<TenantBroker>,
        client_id: &Arc<str>,
        (principal, takeovers): (&Arc<Principal>, Takeovers),
    ) -> Result<Arc<Shared>, ConnectError> {
        let most = self.settings.sessions_max;
        if tenant.sessions().len() >= most {
            self.refusals.count(Limit::Sessions);
            return Err(ConnectError::QuotaExceeded(most));
        }
        let facts = Facts::new(Who::Known(Arc::clone(principal)), takeovers);
        let number = self.next_session_number()?;
        let shared = Arc::new(Shared::new(number, Arc::clone(tenant), Arc::clone(client_id), facts));
        tenant.sessions().insert(Arc::clone(client_id), Arc::clone(&shared));
        self.counters.sessions.increment();
        Ok(shared)
    }

    /// Makes the session this connection's.
    fn attach(
        &self,
        shared: &Arc<Shared>,
        principal: &Arc<Principal>,
        expiry: Duration,
        options: ConnectOptions,
    ) -> Result<(ConnectionNumber, Option<Position>), StorageError> {
        let connection = shared.take_over();
        let was_persistent = shared.is_persistent();
        let mut position = None;
        {
            let mut facts = shared.facts();
            facts.who = Who::Known(Arc::clone(principal));
            facts.set_expiry(expiry);
            facts.will = options.will.map(Box::new);
            facts.protocol = options.protocol;
            facts.address = options.address;
            facts.connected_at = self.now();
            facts.disconnected_at = None;
            if !expiry.is_zero() {
                position = Some(stored::put_session(self, shared, &facts)?);
                facts.is_stored = true;
            } else if std::mem::take(&mut facts.is_stored) {
                stored::delete_session(self, shared)?;
            }
            if let Some(will) = &facts.will {
                position = Some(stored::put_will(self, shared, &facts, will)?);
            }
        }
        if was_persistent == expiry.is_zero() {
            self.renew_subscriptions(shared)?;
        }
        let mut outbox = shared.outbox();
        outbox.rewind();
        outbox.is_connected = true;
        outbox.closing = None;
        outbox.window = options.receive_maximum.min(self.settings.in_flight_max);
        Ok((connection, position))
    }

    /// The session's client could not be let in: the session goes on without it, if it is kept at all.
    fn stay_absent(&self, shared: &Arc<Shared>) {
        let expiry = {
            let mut facts = shared.facts();
            facts.will = None;
            facts.disconnected_at = Some(self.now());
            facts.is_stored.then(|| facts.expiry())
        };
        match expiry {
            Some(expiry) => self.schedule_expiry(shared, expiry),
            // What could not be entered cannot fail to be deleted either.
            None => drop(self.end_session(shared)),
        }
    }

    /// Enters the session's subscriptions anew after it became, or ceased to be, persistent.
    fn renew_subscriptions(&self, shared: &Arc<Shared>) -> Result<(), StorageError> {
        let mut facts = shared.facts();
        let persistent = !facts.expiry().is_zero();
        for (subscribed, options) in &mut facts.subscriptions {
            options.flags = options.flags.with(SubscriptionFlags::PERSISTENT, persistent.into());
            let subscriber = Subscriber { session: Arc::clone(shared), options: *options };
            shared.tenant.tree().insert(subscribed, subscriber, Known::Replaces);
            if persistent {
                stored::put_subscription(self, shared.number, subscribed, *options)?;
            } else {
                stored::delete_subscription(self, shared.number, subscribed)?;
            }
        }
        Ok(())
    }

    /// Tells the present connection, if there is one, that it is the session's no longer.
    fn take_over(&self, shared: &Arc<Shared>, start: Start) {
        let (was_connected, waker) = {
            let mut outbox = shared.outbox();
            (std::mem::replace(&mut outbox.is_connected, false), outbox.waker.take())
        };
        shared.take_over();
        if let Some(waker) = waker {
            waker.wake();
        }
        if was_connected {
            // A delayed will waits for the session's end, which this is when it begins afresh.
            let is_sent = shared
                .facts()
                .will
                .as_ref()
                .is_some_and(|will| will.delay.is_zero() || start == Start::Clean);
            if is_sent {
                self.send_will(shared);
            }
            self.left(shared, "taken over");
        }
    }

    fn left(&self, shared: &Shared, reason: &str) {
        let owner = shared.facts().owner();
        if let Some(device) = owner.device() {
            self.presence_disconnected(&shared.tenant.id, device, reason, self.now());
        }
    }

    /// Ends a connection's hold on its session, unless another has it by now.
    pub(super) fn disconnect(
        hub: &Arc<Self>,
        shared: &Arc<Shared>,
        connection: ConnectionNumber,
        how: Leave,
        expiry: Option<Duration>,
    ) {
        if shared.connection() != connection {
            return;
        }
        let now = hub.now();
        shared.outbox().rewind();
        {
            let mut facts = shared.facts();
            facts.disconnected_at = Some(now);
            if let Some(expiry) = expiry {
                facts.set_expiry(expiry.min(hub.settings.session_expiry_max));
            }
        }
        hub.left(shared, how.as_str());
        if how == Leave::ServerStops {
            return;
        }
        // A failing store loses no more than the time at which the session's expiry began.
        drop(hub.settle_disconnect(shared, connection, how));
    }

    fn settle_disconnect(
        &self,
        shared: &Arc<Shared>,
        connection: ConnectionNumber,
        how: Leave,
    ) -> Result<(), StorageError> {
        let forgotten = if how == Leave::Normally { self.forget_will(shared) } else { Ok(()) };
        let (expiry, delay) = {
            let facts = shared.facts();
            (facts.expiry(), facts.will.as_ref().map(|will| will.delay))
        };
        if let Some(delay) = delay {
            // MQTT 5.0 section 3.1.3.2.2: no later than the end of the session.
            let delay = delay.min(expiry);
            if delay.is_zero() {
                self.send_will(shared);
            } else {
                self.schedule_after(delay, Due::WillIsSent(Arc::clone(shared), connection));
            }
        }
        if expiry.is_zero() {
            return self.end_session(shared).and(forgotten);
        }
        // It ends also where that cannot be written down.
        self.schedule_after(expiry, Due::SessionEnds(Arc::clone(shared), connection));
        let facts = shared.facts();
        stored::put_session(self, shared, &facts).map(drop).and(forgotten)
    }

    fn forget_will(&self, shared: &Shared) -> Result<(), StorageError> {
        if shared.facts().will.take().is_some() {
            stored::delete_will(self, shared)?;
        }
        Ok(())
    }

    /// Sends the will, if it may still be sent, and forgets it. Without room in the store it is tried
    /// again, unless its owner comes back first.
    pub(super) fn send_will(&self, shared: &Arc<Shared>) {
        let (will, principal, owner) = {
            let mut facts = shared.facts();
            (facts.will.take(), facts.principal().cloned(), facts.owner())
        };
        let Some(will) = will else { return };
        let principal = principal.or_else(|| self.principal_of_owner(&shared.tenant.id, &owner));
        let mut message = will.message.clone();
        message.time = self.now();
        if let (Some(expiry), Some(properties)) = (will.expiry, message.properties.as_mut()) {
            properties.expires_at = Some(message.time.after(expiry));
        }
        // Publishing asks `access` again: the right may have been taken away since.
        match principal.map(|principal| self.publish(&principal, message)) {
            Some(Ok(_published)) => {}
            Some(Err(PublishError::Storage(StorageError::Full))) => {
                shared.facts().will = Some(will);
                let due = Due::WillIsSent(Arc::clone(shared), shared.connection());
                self.schedule_after(WILL_RETRY_INTERVAL, due);
                return;
            }
            Some(Err(_)) | None => self.counters.publishes_refused_total.increment(),
        }
        drop(stored::delete_will(self, shared));
    }

    /// Forgets a session and all that waits for it.
    pub(super) fn end_session(&self, shared: &Arc<Shared>) -> Result<(), StorageError> {
        {
            let mut sessions = shared.tenant.sessions();
            if !sessions.get(&shared.client_id).is_some_and(|one| Arc::ptr_eq(one, shared)) {
                return Ok(());
            }
            sessions.remove(&shared.client_id);
        }
        self.counters.sessions.decrement();
        self.send_will(shared);
        let (subscriptions, is_stored) = {
            let mut facts = shared.facts();
            facts.set_expiry(Duration::ZERO);
            (std::mem::take(&mut facts.subscriptions), std::mem::take(&mut facts.is_stored))
        };
        for (subscribed, _) in &subscriptions {
            shared.tenant.tree().remove(subscribed, shared);
            self.counters.subscriptions.decrement();
        }
        // Before it is written down: a crash between may say a message twice, and loses none.
        self.pass_on(shared, &subscriptions)?;
        for (subscribed, options) in subscriptions {
            if options.flags.has(SubscriptionFlags::PERSISTENT) {
                stored::delete_subscription(self, shared.number, &subscribed)?;
            }
        }
        if is_stored {
            super::lock(&self.broker.ended).push(shared.number);
            stored::delete_session(self, shared)?;
        }
        Ok(())
    }

    /// Does what has fallen due: ends sessions, sends delayed wills.
    pub(crate) fn keep_appointments(&self) {
        for due in self.broker.take_due(self.ports.clock.now()) {
            match due {
                Due::SessionEnds(shared, connection) if shared.connection() == connection => {
                    drop(self.end_session(&shared));
                }
                Due::WillIsSent(shared, connection) if shared.connection() == connection => {
                    self.send_will(&shared);
                }
                Due::SessionEnds(..) | Due::WillIsSent(..) => {}
            }
        }
    }

    pub(super) fn schedule_expiry(&self, shared: &Arc<Shared>, wait: Duration) {
        self.schedule_after(wait, Due::SessionEnds(Arc::clone(shared), shared.connection()));
    }

    /// Closes at once the connections that `whose` means: a right of theirs is gone.
    pub(crate) fn close_sessions_of(&self, tenant: &TenantId, whose: &Whose) {
        self.tell_watches_of(tenant, whose);
        for shared in self.sessions_of(tenant, whose) {
            shared.close(CloseReason::NotAuthorized);
        }
    }

    /// Closes the connections that `whose` means and forgets the sessions with their wills: the
    /// owner is gone.
    pub(crate) fn drop_sessions_of(&self, tenant: &TenantId, whose: &Whose) {
        self.tell_watches_of(tenant, whose);
        for shared in self.sessions_of(tenant, whose) {
            shared.close(CloseReason::NotAuthorized);
            shared.facts().will = None;
            // What a failing store keeps has nobody left who could connect to it.
            drop(self.end_session(&shared));
        }
    }

    /// Who watches a device without a session looks again whether they still may.
    fn tell_watches_of(&self, tenant: &TenantId, whose: &Whose) {
        if let Whose::Device(device) | Whose::Credential(device, _) = whose {
            self.tell_change(tenant, device, None);
        }
    }

    fn sessions_of(&self, tenant: &TenantId, whose: &Whose) -> Vec<Arc<Shared>> {
        let tenant = self.broker.tenant(tenant);
        let sessions = tenant.sessions();
        let is_meant = |shared: &&Arc<Shared>| {
            let facts = shared.facts();
            match (facts.principal(), whose, &facts.owner()) {
                (Some(principal), _, _) => principal.is(whose),
                (None, Whose::Device(wanted), Owner::Device(device)) => wanted == device,
                (None, Whose::Token(wanted), Owner::Token(token)) => wanted == token,
                (None, Whose::User(wanted), Owner::User(user)) => wanted == user,
                (None, Whose::Everybody, _) => true,
                _ => false,
            }
        };
        sessions.values().filter(is_meant).cloned().collect()
    }

    /// Closes the connections whose credential has run out.
    pub(crate) fn close_expired(&self, now: Timestamp) {
        for tenant in self.broker.all_tenants() {
            let sessions: Vec<Arc<Shared>> = tenant.sessions().values().cloned().collect();
            for shared in sessions {
                let expires_at = shared.facts().principal().and_then(|one| one.expires_at());
                if expires_at.is_some_and(|time| time <= now) {
                    shared.close(CloseReason::NotAuthorized);
                }
            }
        }
    }

    /// Asks every connection to end.
    pub fn close_all(&self, reason: CloseReason) {
        for tenant in self.broker.all_tenants() {
            let sessions: Vec<Arc<Shared>> = tenant.sessions().values().cloned().collect();
            for shared in sessions {
                shared.close(reason);
            }
        }
    }
}

/// Only the same principal takes a session over; an application or a person may also use the
/// client id of another's absent session, which then begins afresh.
fn may_take_over(principal: &Principal, shared: &Shared) -> bool {
    let owner = shared.facts().owner();
    let same = Owner::of(principal) == owner;
    same || (principal.device().is_none() && owner.device().is_none() && !shared.outbox().is_connected)
}

fn is_resumable(principal: &Principal, shared: &Shared) -> bool {
    let facts = shared.facts();
    !facts.expiry().is_zero() && facts.owner() == Owner::of(principal)
}
