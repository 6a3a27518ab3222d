//! What a connection costs that says nothing.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::{Figure, figure};
use crate::peer::{Peer, login};
use crate::proc::resident_bytes;
use crate::swarm::Swarm;
use crate::wire::Qos;

/// Long enough for a broker to give back what connecting took.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) fn run(peer: &Peer, connections: usize) -> Result<Vec<Figure>> {
    let mut swarm = Swarm::new(peer.mqtt())?;
    // The first connection makes the broker build what it builds once.
    swarm.connect(&[login("first".to_owned())])?;
    thread::sleep(SETTLE);
    let base = f64_of(resident_bytes(peer.pid())?);
    let clients = swarm.connect(&peer.logins("idle", connections))?;
    let wanted: Vec<_> = clients.map(|client| (client, vec![format!("idle/{client}")])).collect();
    swarm.subscribe(&wanted, Qos::AtMostOnce)?;
    let before = peer.cpu_time()?;
    thread::sleep(SETTLE);
    let busy = f64_of(peer.cpu_time()?.nanos_since(&before));
    let full = f64_of(resident_bytes(peer.pid())?);
    let count = f64_of(u64::try_from(connections)?);
    Ok(vec![
        figure("bytes/connection", (full - base).max(0.0) / count),
        figure("base KiB", base / 1024.0),
        figure("idle cpu ms/s", busy / 1e6 / SETTLE.as_secs_f64()),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "bytes and nanoseconds of one process fit 53 bits")]
fn f64_of(count: u64) -> f64 {
    count as f64
}
