//! How long a message takes at a rate that no broker here is at its limit with. The loop is open: a message is due at
//! its time whether or not earlier ones arrived, and its latency counts from then, so a stall is paid for in full.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Figure, figure};
use crate::clock;
use crate::flow::{PAYLOAD_LENGTH, packet_id};
use crate::inbound::Event;
use crate::meter::Meter;
use crate::peer::Peer;
use crate::stamp::{Stamp, blank_payload};
use crate::stats::percentile;
use crate::swarm::{Arrival, Swarm};
use crate::wire::{self, Publish, Qos};

pub(super) const DESCRIPTION: &str =
    "20,000 msg/s open loop, 100 publishers each to its own subscriber, 128 B payload";
const PAIRS: u64 = 100;
const GAP_NANOS: u64 = 50_000;
/// How long after the last message an arrival is still waited for.
const LAST_WAIT_NANOS: u64 = 5_000_000_000;
/// How many overdue messages are sent before the sockets are read again.
const BURST_MAX: u64 = 16;

pub(super) fn run(peer: &Peer, qos: Qos, window: Duration) -> Result<Vec<Figure>> {
    let pairs = usize::try_from(PAIRS)?;
    let mut swarm = Swarm::new(peer.mqtt())?;
    swarm.connect(&peer.logins("publisher", pairs))?;
    let subscribers = swarm.connect(&peer.logins("subscriber", pairs))?;
    let wanted: Vec<_> =
        subscribers.enumerate().map(|(pair, client)| (client, vec![format!("bench/{pair}")])).collect();
    swarm.subscribe(&wanted, qos)?;
    let mut pace = Pace {
        swarm,
        qos,
        sent: 0,
        received: 0,
        packet: Vec::new(),
        payload: blank_payload(PAYLOAD_LENGTH),
        arrivals: Vec::new(),
        latencies: Vec::new(),
        delays: Vec::new(),
    };
    // The warm-up's messages are all home before the window begins.
    pace.run(window / 4)?;
    pace.latencies.clear();
    pace.delays.clear();
    let meter = Meter::start(peer)?;
    let before = pace.sent;
    pace.run(window)?;
    let used = meter.stop(peer)?;
    let sent = f64::from(u32::try_from(pace.sent - before)?);
    pace.latencies.sort_unstable();
    pace.delays.sort_unstable();
    let micros = |sorted: &[u64], per_mille| -> Result<f64> {
        let nanos = percentile(sorted, per_mille).context("nothing arrived")?;
        Ok(Duration::from_nanos(nanos).as_secs_f64() * 1e6)
    };
    Ok(vec![
        figure("p50 µs", micros(&pace.latencies, 500)?),
        figure("p99 µs", micros(&pace.latencies, 990)?),
        figure("p99.9 µs", micros(&pace.latencies, 999)?),
        figure("max µs", micros(&pace.latencies, 1000)?),
        figure("sent late p99 µs", micros(&pace.delays, 990)?),
        figure("cpu µs/msg", used.broker_micros_per(sent)),
        figure("others busy %", used.others_percent()),
    ])
}

struct Pace {
    swarm: Swarm,
    qos: Qos,
    sent: u64,
    received: u64,
    packet: Vec<u8>,
    payload: Vec<u8>,
    arrivals: Vec<Arrival>,
    latencies: Vec<u64>,
    /// How late each message was sent: what of its latency is the generator's own.
    delays: Vec<u64>,
}

impl Pace {
    fn run(&mut self, length: Duration) -> Result<()> {
        let first = clock::nanos();
        let count = u64::try_from(length.as_nanos())? / GAP_NANOS;
        let mut next = 0;
        while next < count {
            let now = clock::nanos();
            let due = (now.saturating_sub(first) / GAP_NANOS).min(count);
            let burst_end = due.min(next + BURST_MAX);
            while next < burst_end {
                self.publish(first + next * GAP_NANOS)?;
                next += 1;
            }
            self.poll()?;
        }
        let deadline = clock::nanos() + LAST_WAIT_NANOS;
        while self.received < self.sent {
            if clock::nanos() > deadline {
                bail!("{} of {} messages never arrived", self.sent - self.received, self.sent);
            }
            self.poll()?;
        }
        Ok(())
    }

    fn publish(&mut self, due: u64) -> Result<()> {
        let publisher = self.sent % PAIRS;
        let topic = format!("bench/{publisher}");
        let stamp = Stamp { source: u32::try_from(publisher)?, nanos: due };
        stamp.write(&mut self.payload);
        self.packet.clear();
        let publish = Publish {
            qos: self.qos,
            packet_id: packet_id(self.sent / PAIRS),
            topic: topic.as_bytes(),
            payload: &self.payload,
        };
        wire::encode_publish(&publish, &mut self.packet)?;
        self.swarm.send(usize::try_from(publisher)?, &self.packet)?;
        self.delays.push(clock::nanos().saturating_sub(due));
        self.sent += 1;
        Ok(())
    }

    /// Without waiting: the generator has a core of its own, and sleeping would add its wake-up to each latency.
    fn poll(&mut self) -> Result<()> {
        self.swarm.poll(Duration::ZERO, &mut self.arrivals)?;
        for arrival in self.arrivals.drain(..) {
            match arrival.event {
                Event::Received(stamp) => {
                    self.received += 1;
                    self.latencies.push(arrival.nanos.saturating_sub(stamp.nanos));
                }
                Event::Closed => bail!("the broker closed connection {}", arrival.client),
                Event::Connected | Event::Subscribed | Event::Acknowledged(_) => {}
            }
        }
        Ok(())
    }
}
