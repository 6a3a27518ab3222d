//! Messages for somebody who is away: how fast they are taken, and how fast they are handed over on the return.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{Figure, figure};
use crate::clock;
use crate::flow::{Flow, Shape, Topics};
use crate::inbound::Event;
use crate::meter::Meter;
use crate::peer::{Peer, login};
use crate::swarm::{SILENCE_MAX, Swarm};
use crate::wire::{Login, Qos, Session};

pub(super) const DESCRIPTION: &str = "50,000 messages of 128 B from 100 publishers, 20 in flight each, to 1 offline \
     persistent session, which then returns (mosquitto: persistence on, autosave as shipped; roost: on disk before PUBACK)";
const PUBLISHERS: usize = 100;
/// Below 65,535: mosquitto without an in-flight limit has a packet id for each.
const MESSAGES: u32 = 50_000;

pub(super) fn run(peer: &Peer) -> Result<Vec<Figure>> {
    let sleeper = Login { session: Session::Persistent, ..login("sleeper".to_owned()) };
    let mut before = Swarm::new(peer.mqtt())?;
    before.connect(std::slice::from_ref(&sleeper))?;
    before.subscribe(&[(0, vec!["bench/#".to_owned()])], Qos::AtLeastOnce)?;
    before.disconnect(0)?;

    let mut publishers = Swarm::new(peer.mqtt())?;
    publishers.connect(&peer.logins("publisher", PUBLISHERS))?;
    let shape = Shape { qos: Qos::AtLeastOnce, window: 20, deliveries: 0 };
    let topics = (0..PUBLISHERS).map(|number| format!("bench/{number}")).collect();
    let mut flow = Flow::new(&mut publishers, shape, Topics::Own(topics), PUBLISHERS);
    let stored = flow.run_count(peer, u64::from(MESSAGES))?.used;

    let meter = Meter::start(peer)?;
    let mut after = Swarm::new(peer.mqtt())?;
    after.connect_without_waiting(&sleeper)?;
    drain(&mut after)?;
    let drained = meter.stop(peer)?;
    let count = f64::from(MESSAGES);
    Ok(vec![
        figure("store cpu µs/msg", stored.broker_micros_per(count)),
        figure("stored msg/s", stored.per_second(count)),
        figure("drain cpu µs/msg", drained.broker_micros_per(count)),
        figure("drained msg/s", drained.per_second(count)),
        figure("others busy %", stored.others_percent().max(drained.others_percent())),
    ])
}

fn drain(swarm: &mut Swarm) -> Result<()> {
    let mut arrivals = Vec::new();
    let mut received = 0;
    let mut last = clock::now();
    while received < MESSAGES {
        swarm.poll(Duration::from_secs(1), &mut arrivals)?;
        if !arrivals.is_empty() {
            last = clock::now();
        } else if last.elapsed() > SILENCE_MAX {
            bail!("{received} of {MESSAGES} messages came after the return, then nothing");
        }
        for arrival in arrivals.drain(..) {
            match arrival.event {
                Event::Received(_) => received += 1,
                Event::Closed => bail!("the broker closed the returned session after {received} messages"),
                Event::Connected | Event::Subscribed | Event::Acknowledged(_) => {}
            }
        }
    }
    Ok(())
}
