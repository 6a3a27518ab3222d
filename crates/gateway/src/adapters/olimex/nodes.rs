//! The nodes that are connected, as other connections see them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_hub::id::{DeviceId, TenantId};
use tokio::sync::Notify;

/// How many takeovers of one device in a minute are followed; then the older connection stays.
const TAKEOVERS_MAX: usize = 5;
const TAKEOVERS_WITHIN: Duration = Duration::from_secs(60);

/// A connected node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) tenant: TenantId,
    pub(crate) device: DeviceId,
    /// Somebody wants the connection closed.
    pub(crate) closing: Notify,
}

/// All nodes that were connected since the start.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    seats: Mutex<HashMap<(TenantId, DeviceId), Seat>>,
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
        Arc::new(Node {
            tenant: TenantId::parse("t").unwrap(),
            device: DeviceId::parse("d").unwrap(),
            closing: Notify::new(),
        })
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
