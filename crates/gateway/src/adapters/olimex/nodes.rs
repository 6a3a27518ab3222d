//! The nodes that are connected, as other connections see them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_hub::id::{DeviceId, TenantId};
use roost_wire::olimex::{Event, Identification};
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, broadcast};

/// How many takeovers of one device in a minute are followed; then the older connection stays.
const TAKEOVERS_MAX: usize = 5;
const TAKEOVERS_WITHIN: Duration = Duration::from_secs(60);

/// How many events a page may be behind before it loses the oldest.
const EVENTS_MAX: usize = 1_024;
/// For how many resources of a node the last event is kept.
const STATE_MAX: usize = 64;

/// A connected node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(super) tenant: TenantId,
    pub(super) device: DeviceId,
    address: SocketAddr,
    /// Somebody wants the connection closed.
    pub(super) closing: Notify,
    told: Mutex<Told>,
}

/// What a node told of itself.
#[derive(Debug, Default)]
struct Told {
    name: Value,
    token: Value,
    about: Value,
    devices: Value,
    /// The last event of each resource, as pages get it.
    state: BTreeMap<String, Arc<str>>,
}

/// An event as pages get it.
#[derive(Clone, Debug)]
pub(super) struct PageEvent {
    pub(super) tenant: TenantId,
    pub(super) text: Arc<str>,
}

impl Node {
    pub(super) fn new(tenant: &TenantId, device: &DeviceId, address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            tenant: tenant.clone(),
            device: device.clone(),
            address,
            closing: Notify::new(),
            told: Mutex::default(),
        })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn identify(&self, identification: &Identification) {
        let mut told = self.told();
        told.name = Value::from(identification.name.as_str());
        told.token = Value::from(identification.token.as_str());
    }

    /// The number by which scripts name it: the same as long as the device has its id.
    pub(super) fn number(&self) -> u32 {
        let bytes = self.tenant.as_str().bytes().chain([0]).chain(self.device.as_str().bytes());
        bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)) >> 1
    }

    /// Whether a page means this one: by its token, its name, or the device's id.
    pub(super) fn is_called(&self, name: &str) -> bool {
        let told = self.told();
        self.device.as_str() == name || told.token == name || told.name == name
    }

    /// As pages and scripts see it.
    pub(super) fn shown(&self) -> Map<String, Value> {
        let told = self.told();
        let shown = json!({
            "id": self.number(),
            "IP": self.address.ip().to_string(),
            "Port": self.address.port(),
            "Token": if told.token.is_null() { Value::from(self.device.as_str()) } else { told.token.clone() },
            "Name": if told.name.is_null() { Value::from(self.device.as_str()) } else { told.name.clone() },
            "About": told.about,
        });
        shown.as_object().cloned().unwrap_or_default()
    }

    /// The devices that were found on it.
    pub(super) fn devices(&self) -> Value {
        match &self.told().devices {
            Value::Null => json!([]),
            devices => devices.clone(),
        }
    }

    /// The last event of each resource.
    pub(super) fn state(&self) -> Vec<Arc<str>> {
        self.told().state.values().cloned().collect()
    }

    /// Notes what the event tells of the node; gives the event as pages get it.
    fn tell(&self, event: &Event) -> Arc<str> {
        let member = |name: &str| event.data().and_then(|data| data.get(name)).cloned();
        match event.url() {
            Some("/config/about") => self.told().about = member("About").unwrap_or_default(),
            Some("/devices") => {
                let found = |device: &Value| device.get("Found") == Some(&Value::from(1));
                if let Some(Value::Array(mut devices)) = member("Devices") {
                    devices.retain(found);
                    self.told().devices = Value::Array(devices);
                }
            }
            _ => {}
        }
        let mut shown = event.clone().into_value();
        if let Some(members) = shown.as_object_mut() {
            members.insert("EventNode".to_owned(), Value::Object(self.shown()));
        }
        let text: Arc<str> = shown.to_string().into();
        if let Some(url) = event.url() {
            let mut told = self.told();
            if told.state.len() < STATE_MAX || told.state.contains_key(url) {
                told.state.insert(url.to_owned(), Arc::clone(&text));
            }
        }
        text
    }
}

/// All nodes that were connected since the start.
#[derive(Debug)]
pub(crate) struct Nodes {
    seats: Mutex<HashMap<(TenantId, DeviceId), Seat>>,
    events: broadcast::Sender<PageEvent>,
}

impl Default for Nodes {
    fn default() -> Self {
        Self { seats: Mutex::default(), events: broadcast::Sender::new(EVENTS_MAX) }
    }
}

/// A device's place; stays when the node leaves, so that flapping is seen.
#[derive(Debug, Default)]
struct Seat {
    node: Option<Arc<Node>>,
    takeovers: VecDeque<Duration>,
}

impl Nodes {
    fn seats(&self) -> MutexGuard<'_, HashMap<(TenantId, DeviceId), Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connected nodes of a tenant.
    pub(super) fn of(&self, tenant: &TenantId) -> Vec<Arc<Node>> {
        let seats = self.seats();
        let nodes = seats.values().filter_map(|seat| seat.node.as_ref());
        nodes.filter(|node| node.tenant == *tenant).cloned().collect()
    }

    /// Follows the events of all nodes from now on.
    pub(super) fn follow(&self) -> broadcast::Receiver<PageEvent> {
        self.events.subscribe()
    }

    /// Passes an event of a node to the pages that follow.
    pub(super) fn tell(&self, node: &Node, event: &Event) {
        let text = node.tell(event);
        // Fails when nobody follows.
        drop(self.events.send(PageEvent { tenant: node.tenant.clone(), text }));
    }

    /// Seats a node, in the place of the one before; `false` when two take each other's place so
    /// often that the older one is to stay.
    pub(super) fn enter(&self, node: &Arc<Node>, now: Duration) -> bool {
        let mut seats = self.seats();
        let seat = seats.entry((node.tenant.clone(), node.device.clone())).or_default();
        seat.takeovers.retain(|at| now.saturating_sub(*at) < TAKEOVERS_WITHIN);
        if seat.node.is_some() {
            if seat.takeovers.len() >= TAKEOVERS_MAX {
                return false;
            }
            seat.takeovers.push_back(now);
        }
        seat.node = Some(Arc::clone(node));
        true
    }

    /// The node's connection ended. Nothing happens when another one has its place by now.
    pub(super) fn leave(&self, node: &Arc<Node>) {
        let mut seats = self.seats();
        let name = (node.tenant.clone(), node.device.clone());
        if let Some(seat) = seats.get_mut(&name)
            && seat.node.as_ref().is_some_and(|seated| Arc::ptr_eq(seated, node))
        {
            seat.node = None;
            if seat.takeovers.is_empty() {
                seats.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Arc<Node> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        Node::new(&TenantId::parse("t").unwrap(), &DeviceId::parse("d").unwrap(), address)
    }

    #[test]
    fn the_newest_connection_wins_until_two_flap() {
        let nodes = Nodes::default();
        let at = Duration::from_secs;
        for second in 0..6 {
            assert!(nodes.enter(&node(), at(second)), "{second}");
        }
        assert!(!nodes.enter(&node(), at(6)));
        assert!(nodes.enter(&node(), at(62)));
    }

    #[test]
    fn who_left_is_not_taken_over() {
        let nodes = Nodes::default();
        for second in 0..20 {
            let node = node();
            assert!(nodes.enter(&node, Duration::from_secs(second)));
            nodes.leave(&node);
        }
        assert!(nodes.seats().is_empty());
    }
}
