//! Commands on their way to devices behind a radio network, by a call to the network's own API.
//!
//! Where that is, and the key for it, the network says in the headers of its call-backs. Both are kept
//! in memory and nowhere else: after a restart a command waits for the device's next call-back. For each
//! gateway (one network of one tenant) one call is made at a time, so that commands keep their order and
//! a network that is slow holds up nobody else.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};
use roost_hub::Hub;
use roost_hub::flight::FlightKind;
use roost_hub::id::{CommandId, DeviceId, TenantId};
use roost_hub::mailbox::{Command, Receipt};
use roost_hub::speech::{ToSay, Unsaid};
use roost_hub::storage::StorageError;
use roost_wire::dialect;
use roost_wire::radio::{self, Downlink, Operator};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};

use crate::egress::{Answer, ConnectError, InvalidUrl, Target};
use crate::shared::Shared;

/// Of how many devices we know where their network is. Beyond, their commands wait for room.
const ROUTES_MAX: usize = 100_000;
/// How many networks are called at once.
const CALLS_MAX: usize = 64;
/// How many ids of queued downlinks are remembered, for networks that give ids of their own.
const QUEUED_MAX: usize = 10_000;
/// The longest key of an API, in bytes.
const KEY_LENGTH_MAX: usize = 2_048;
/// Where downlinks are taken: The Things Stack says it by itself, for ChirpStack somebody writes it there.
const PUSH: HeaderName = HeaderName::from_static("x-downlink-push");
/// The key for that.
const KEY: HeaderName = HeaderName::from_static("x-downlink-apikey");
/// Where ChirpStack's REST proxy takes what it hands on as `authorization`.
const CHIRPSTACK_AUTHORIZATION: HeaderName = HeaderName::from_static("grpc-metadata-authorization");

/// A device, in a tenant.
type Place = (TenantId, DeviceId);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Downlinks {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Debug, Default)]
struct State {
    routes: HashMap<Place, Arc<Route>>,
    /// What somebody shall look after.
    due: BTreeSet<Place>,
    /// Ids that a network gave.
    queued: HashMap<(Place, String), CommandId>,
}

/// Where a device's network takes downlinks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    operator: Operator,
    /// Who stands for the network here.
    gateway: DeviceId,
    /// What the network calls the device.
    name: String,
    push: String,
    /// `Bearer …`, marked as a secret.
    key: HeaderValue,
}

impl Route {
    /// Reads what a call-back says beside its body; `None` where it says nothing, or nothing that can
    /// be a key.
    pub(crate) fn of(
        operator: Operator,
        headers: &HeaderMap,
        (gateway, name): (&DeviceId, &str),
    ) -> Option<Self> {
        if operator == Operator::Sigfox {
            return None;
        }
        let push = headers.get(PUSH)?.to_str().ok()?.to_owned();
        let key = headers.get(KEY)?.to_str().ok().filter(|key| key.len() <= KEY_LENGTH_MAX)?;
        let mut key = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
        key.set_sensitive(true);
        Some(Self { operator, gateway: gateway.clone(), name: name.to_owned(), push, key })
    }

    fn target(&self) -> Result<Target, InvalidUrl> {
        let target = Target::parse(&self.push)?;
        match self.operator {
            Operator::ChirpStack => target.join(&format!("/api/devices/{}/queue", self.name)),
            Operator::ThingsStack | Operator::Sigfox => Ok(target),
        }
    }

    fn request(&self, body: String) -> Request<Bytes> {
        let authorization = match self.operator {
            Operator::ChirpStack => CHIRPSTACK_AUTHORIZATION,
            Operator::ThingsStack | Operator::Sigfox => AUTHORIZATION,
        };
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(authorization, self.key.clone());
        request
    }
}

impl Downlinks {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device was heard of, and this is where its network is: what waits for it may leave now.
    ///
    /// # Errors
    /// The store could not tell which devices there are.
    pub(crate) fn learn(
        &self,
        hub: &Hub,
        (tenant, device): (&TenantId, &DeviceId),
        route: Route,
    ) -> Result<(), StorageError> {
        {
            let mut state = self.state();
            let has_room = state.routes.len() < ROUTES_MAX;
            let place = (tenant.clone(), device.clone());
            match state.routes.get_mut(&place) {
                Some(known) if **known == route => {}
                Some(known) => *known = Arc::new(route),
                None if has_room => drop(state.routes.insert(place, Arc::new(route))),
                None => return Ok(()),
            }
        }
        hub.speak_to(tenant, device)
    }

    /// Takes what is ours of what is to be said, and gives the rest.
    pub(crate) fn pick(&self, unsaid: Vec<Unsaid>) -> Vec<Unsaid> {
        let mut state = self.state();
        if state.routes.is_empty() {
            return unsaid;
        }
        let mut rest = Vec::new();
        for one in unsaid {
            let place = (one.tenant.clone(), one.device.clone());
            match state.routes.contains_key(&place) {
                true if one.what == ToSay::Commands => drop(state.due.insert(place)),
                true => {}
                false => rest.push(one),
            }
        }
        if !state.due.is_empty() {
            self.more.notify_one();
        }
        rest
    }

    /// The command that a network means by an id.
    pub(crate) fn find(&self, hub: &Hub, place: (&TenantId, &DeviceId), said: &str) -> Option<CommandId> {
        let open = hub.unanswered_commands(place.0, place.1);
        let named = |id: &&CommandId| id.as_str() == said || radio::queue_item(id.as_str()) == said;
        if let Some(id) = open.iter().find(named) {
            return Some(id.clone());
        }
        let key = ((place.0.clone(), place.1.clone()), said.to_owned());
        let given = self.state().queued.get(&key).cloned();
        given.filter(|id| open.contains(id))
    }

    fn remember(&self, place: Place, given: String, command: &CommandId) {
        let mut state = self.state();
        if state.queued.len() >= QUEUED_MAX {
            state.queued.clear();
        }
        state.queued.insert((place, given), command.clone());
    }

    /// What is due of networks that are not called just now.
    fn next(&self, busy: &HashMap<Id, (TenantId, DeviceId)>) -> Option<(Place, Arc<Route>)> {
        let mut state = self.state();
        let is_free = |place: &&Place| {
            let route = state.routes.get(*place);
            let is_busy = |route: &Arc<Route>| {
                busy.values().any(|(tenant, gateway)| *tenant == place.0 && *gateway == route.gateway)
            };
            !route.is_some_and(is_busy)
        };
        let place = state.due.iter().find(is_free)?.clone();
        state.due.remove(&place);
        let route = Arc::clone(state.routes.get(&place)?);
        Some((place, route))
    }

    /// Calls networks, for ever. Cancel safe: a call that is cut off leaves its command in doubt, or
    /// `sent` when the server ends.
    pub(crate) async fn run(&self, shared: &Arc<Shared>) {
        let mut calls = JoinSet::new();
        let mut busy = HashMap::new();
        loop {
            while calls.len() < CALLS_MAX
                && let Some((place, route)) = self.next(&busy)
            {
                let network = (place.0.clone(), route.gateway.clone());
                let call = deliver(Arc::clone(shared), place, route);
                busy.insert(calls.spawn(call).id(), network);
            }
            tokio::select! {
                () = self.more.notified() => {}
                Some(ended) = calls.join_next_with_id() => {
                    let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                    busy.remove(&id);
                }
            }
        }
    }
}

/// Sends what waits for a device, the oldest first, until the network cannot be reached.
async fn deliver(shared: Arc<Shared>, (tenant, device): Place, route: Arc<Route>) {
    let hub = &shared.hub;
    let calling = Calling { shared: &shared, tenant: &tenant, route: &route };
    for command in hub.waiting_commands(&tenant, &device, hub.now()) {
        match calling.send(&command).await {
            Ok(Went::On) => {}
            Ok(Went::Nowhere) => return,
            Err(error) => {
                let text = format_args!("downlink of command {}: {error}", command.id);
                return hub.note(&tenant, &device, FlightKind::Error, text, hub.now());
            }
        }
    }
}

/// Whether the next command is to be tried.
enum Went {
    On,
    Nowhere,
}

struct Calling<'a> {
    shared: &'a Shared,
    tenant: &'a TenantId,
    route: &'a Route,
}

impl Calling<'_> {
    async fn send(&self, command: &Command) -> Result<Went, StorageError> {
        let said = dialect::Command { id: command.id.as_str(), name: &command.name, params: &command.params };
        let worded =
            Downlink::of(&said).and_then(|downlink| downlink.encode(self.route.operator, &self.route.name));
        let (body, target) = match (worded, self.route.target()) {
            (Ok(body), Ok(target)) => (body, target),
            (Err(unsayable), _) => return self.fail(command, unsayable),
            (_, Err(invalid)) => return self.fail(command, format_args!("{}: {invalid}", self.operator())),
        };
        let call = match self.shared.egress.connect(target).await {
            Ok(call) => call,
            Err(error @ ConnectError::Forbidden) => {
                return self.fail(command, format_args!("{}: {error}", self.operator()));
            }
            Err(error) => {
                // Nothing has left: it waits for the next call-back.
                let hub = &self.shared.hub;
                let text = format_args!("command {} waits: {}: {error}", command.id, self.operator());
                hub.note(self.tenant, &command.device, FlightKind::Error, text, hub.now());
                return Ok(Went::Nowhere);
            }
        };
        let hub = &self.shared.hub;
        let Some(position) = hub.mark_sent(self.tenant, &command.device, &command.id, Receipt::None)? else {
            return Ok(Went::On);
        };
        hub.durable(position).await?;
        match call.send(self.route.request(body)).await {
            Ok(answer) => self.answered(command, &answer),
            Err(error) => {
                let why = format!("{}: {error}", self.operator());
                hub.mark_in_doubt(self.tenant, &command.device, &command.id, &why)?;
                Ok(Went::Nowhere)
            }
        }
    }

    fn answered(&self, command: &Command, answer: &Answer) -> Result<Went, StorageError> {
        if !answer.status.is_success() {
            let reason = radio::reason(&answer.body).map(|reason| format!(": {reason}")).unwrap_or_default();
            let status = answer.status.as_u16();
            return self.fail(command, format_args!("{} answered {status}{reason}", self.operator()));
        }
        if self.route.operator == Operator::ChirpStack
            && let Some(given) = radio::chirpstack_queued(&answer.body)
            && given != radio::queue_item(command.id.as_str())
        {
            let place = (self.tenant.clone(), command.device.clone());
            self.shared.downlinks.remember(place, given, &command.id);
        }
        Ok(Went::On)
    }

    fn operator(&self) -> &'static str {
        match self.route.operator {
            Operator::Sigfox => "Sigfox",
            Operator::ThingsStack => "The Things Stack",
            Operator::ChirpStack => "ChirpStack",
        }
    }

    fn fail(&self, command: &Command, why: impl fmt::Display) -> Result<Went, StorageError> {
        let result = json!({ "ok": false, "error": why.to_string() }).to_string();
        let (hub, id) = (&self.shared.hub, command.id.as_str());
        match hub.take_result(self.tenant, &command.device, id, result.as_bytes(), hub.now()) {
            Err(roost_hub::mailbox::TakeResultError::Storage(error)) => Err(error),
            // Somebody was quicker to end it.
            Ok(_) | Err(_) => Ok(Went::On),
        }
    }
}
