//! The closed loop of most cases: publishers that are never more than a window ahead of their acknowledgements and of
//! what the subscribers have of their messages. So nothing piles up, nothing is dropped, and every loss is noticed.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::clock;
use crate::inbound::Event;
use crate::meter::{Meter, Used};
use crate::peer::Peer;
use crate::stamp::{Stamp, blank_payload};
use crate::swarm::{SILENCE_MAX, Swarm};
use crate::wire::{self, Publish, Qos};

pub(crate) const PAYLOAD_LENGTH: usize = 128;
/// A round of polling is short, so that the end of a window is seen.
const TURN_MAX: Duration = Duration::from_millis(100);

/// What every publisher keeps to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) qos: Qos,
    /// Messages in flight, per publisher.
    pub(crate) window: u64,
    /// How many subscribers get each message; 0 when none is there to see.
    pub(crate) deliveries: u64,
}

/// What the publishers publish to.
#[derive(Debug)]
pub(crate) enum Topics {
    /// Publisher n to the n-th topic.
    Own(Vec<String>),
    /// Each message to any of these.
    Random(Vec<String>, Shuffle),
}

/// Xorshift64: the same topics in the same order for every peer.
#[derive(Debug)]
pub(crate) struct Shuffle(pub(crate) u64);

impl Shuffle {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Publisher {
    sent: u64,
    acknowledged: u64,
    received: u64,
}

/// What happened in a measured window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// Messages delivered to subscribers, each once per subscriber; without subscribers, messages acknowledged.
    pub(crate) completions: u64,
    pub(crate) used: Used,
}

/// The publishers are the swarm's first clients.
pub(crate) struct Flow<'a> {
    swarm: &'a mut Swarm,
    shape: Shape,
    topics: Topics,
    publishers: Vec<Publisher>,
    completions: u64,
    sent: u64,
    sent_max: u64,
    packet: Vec<u8>,
    payload: Vec<u8>,
}

impl<'a> Flow<'a> {
    pub(crate) fn new(swarm: &'a mut Swarm, shape: Shape, topics: Topics, publishers: usize) -> Self {
        Flow {
            swarm,
            shape,
            topics,
            publishers: vec![Publisher::default(); publishers],
            completions: 0,
            sent: 0,
            sent_max: u64::MAX,
            packet: Vec::new(),
            payload: blank_payload(PAYLOAD_LENGTH),
        }
    }

    /// Warms up, measures, and then sees every message home.
    pub(crate) fn run_for(&mut self, peer: &Peer, measured: Duration) -> Result<Measured> {
        self.top_up_all()?;
        self.turn_until(clock::now() + measured / 4)?;
        let meter = Meter::start(peer)?;
        let before = self.completions;
        self.turn_until(clock::now() + measured)?;
        let completions = self.completions - before;
        let used = meter.stop(peer)?;
        self.sent_max = self.sent;
        self.finish()?;
        Ok(Measured { completions, used })
    }

    /// Measures so many messages from the first to the last.
    pub(crate) fn run_count(&mut self, peer: &Peer, messages: u64) -> Result<Measured> {
        self.sent_max = messages;
        let meter = Meter::start(peer)?;
        self.top_up_all()?;
        self.finish()?;
        Ok(Measured { completions: self.completions, used: meter.stop(peer)? })
    }

    fn turn_until(&mut self, deadline: std::time::Instant) -> Result<()> {
        let mut arrivals = Vec::new();
        let mut last_arrival = clock::now();
        loop {
            let now = clock::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Ok(());
            }
            if now.duration_since(last_arrival) > SILENCE_MAX {
                bail!("the broker said nothing for {SILENCE_MAX:?} with messages in flight");
            }
            self.swarm.poll(left.min(TURN_MAX), &mut arrivals)?;
            if !arrivals.is_empty() {
                last_arrival = now;
            }
            for arrival in arrivals.drain(..) {
                self.handle(arrival.client, arrival.event)?;
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        let mut before = (u64::MAX, u64::MAX);
        let mut silent_since = clock::now();
        while !self.is_finished() {
            if before == (self.sent, self.completions) && silent_since.elapsed() > SILENCE_MAX {
                let missing: u64 = self.publishers.iter().map(|one| self.in_flight(*one)).sum();
                bail!("{missing} messages never arrived or were never acknowledged");
            }
            if before != (self.sent, self.completions) {
                before = (self.sent, self.completions);
                silent_since = clock::now();
            }
            self.turn_until(clock::now() + Duration::from_millis(2))?;
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.sent >= self.sent_max && self.publishers.iter().all(|one| self.in_flight(*one) == 0)
    }

    fn in_flight(&self, publisher: Publisher) -> u64 {
        let delivered = publisher.received.checked_div(self.shape.deliveries);
        let acknowledged = (self.shape.qos != Qos::AtMostOnce).then_some(publisher.acknowledged);
        let done = delivered.into_iter().chain(acknowledged).min();
        publisher.sent - done.unwrap_or(publisher.sent).min(publisher.sent)
    }

    fn handle(&mut self, client: usize, event: Event) -> Result<()> {
        let publisher = match event {
            Event::Acknowledged(_) => client,
            Event::Received(stamp) => usize::try_from(stamp.source)?,
            Event::Closed => bail!("the broker closed connection {client}"),
            Event::Connected | Event::Subscribed => return Ok(()),
        };
        let Some(found) = self.publishers.get_mut(publisher) else {
            bail!("a message of an unknown publisher {publisher} arrived");
        };
        let is_delivery = matches!(event, Event::Received(_));
        if is_delivery {
            found.received += 1;
        } else {
            found.acknowledged += 1;
        }
        if is_delivery || self.shape.deliveries == 0 {
            self.completions += 1;
        }
        self.top_up(publisher)
    }

    fn top_up_all(&mut self) -> Result<()> {
        (0..self.publishers.len()).try_for_each(|publisher| self.top_up(publisher))
    }

    fn top_up(&mut self, publisher: usize) -> Result<()> {
        while let Some(found) = self.publishers.get(publisher).copied() {
            if self.sent >= self.sent_max || self.in_flight(found) >= self.shape.window {
                break;
            }
            self.publish(publisher, found.sent)?;
            self.sent += 1;
            if let Some(found) = self.publishers.get_mut(publisher) {
                found.sent += 1;
            }
        }
        Ok(())
    }

    fn publish(&mut self, publisher: usize, sequence: u64) -> Result<()> {
        let topic = match &mut self.topics {
            Topics::Own(topics) => topics.get(publisher),
            Topics::Random(topics, shuffle) => {
                let pick = shuffle.next() % u64::try_from(topics.len())?.max(1);
                topics.get(usize::try_from(pick)?)
            }
        };
        let stamp = Stamp { source: u32::try_from(publisher)?, nanos: 0 };
        stamp.write(&mut self.payload);
        self.packet.clear();
        let publish = Publish {
            qos: self.shape.qos,
            packet_id: packet_id(sequence),
            topic: topic.map_or(b"", |topic| topic.as_bytes()),
            payload: &self.payload,
        };
        wire::encode_publish(&publish, &mut self.packet)?;
        self.swarm.send(publisher, &self.packet)
    }
}

/// 1 to 65,535 and round again: a window is far smaller, so none is in use twice.
pub(crate) fn packet_id(sequence: u64) -> u16 {
    u16::try_from(sequence % u64::from(u16::MAX)).unwrap_or_default() + 1
}

#[cfg(test)]
mod tests {
    use super::packet_id;

    #[test]
    fn a_packet_id_is_never_zero() {
        assert_eq!(packet_id(0), 1);
        assert_eq!(packet_id(65_534), 65_535);
        assert_eq!(packet_id(65_535), 1);
    }
}
