//! Durable telemetry of registered devices; only Roost has them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Figure, figure};
use crate::clock;
use crate::flow::packet_id;
use crate::inbound::Event;
use crate::meter::Meter;
use crate::peer::Peer;
use crate::proc::written_bytes;
use crate::rest::{Device, Rest};
use crate::swarm::{SILENCE_MAX, Swarm};
use crate::wire::{self, Login, Publish, Qos, Session};

pub(super) const DESCRIPTION: &str =
    "100 devices, 20 in flight each, {\"temp\":21.5,\"n\":…} to me/telemetry, acknowledged once durable";
pub(super) const DEVICES: usize = 100;
const WINDOW: u64 = 20;
const TURN_MAX: Duration = Duration::from_millis(100);
const DAY_MILLIS: i64 = 86_400_000;

pub(super) fn run(peer: &Peer, window: Duration) -> Result<Vec<Figure>> {
    let rest = Rest::new(peer.http()?);
    let devices = rest.create_devices(DEVICES)?;
    let mut load = Load::new(peer, &devices, Times::OfArrival)?;
    load.top_up_all()?;
    load.turn_until(clock::now() + window / 4)?;
    let meter = Meter::start(peer)?;
    let (acknowledged, payload, disk) = (load.count(), load.payload_bytes, written_bytes(peer.pid())?);
    load.turn_until(clock::now() + window)?;
    let used = meter.stop(peer)?;
    let count = f64::from(load.count() - acknowledged);
    let payload = f64::from(u32::try_from(load.payload_bytes - payload)?);
    let disk = Duration::from_nanos(written_bytes(peer.pid())? - disk).as_secs_f64() * 1e9;
    load.finish()?;
    let stored_percent = load.stored_percent(&rest, &devices)?;
    Ok(vec![
        figure("cpu µs/msg", used.broker_micros_per(count)),
        figure("acknowledged msg/s", used.per_second(count)),
        figure("payload B/msg", payload / count),
        figure("disk writes B/msg", disk / count),
        figure("data files MiB", f64::from(u32::try_from(peer.stored_bytes()? >> 10)?) / 1024.0),
        figure("found in history %", stored_percent),
        figure("broker busy %", used.broker_percent()),
        figure("generator busy %", used.generator_percent()),
        figure("others busy %", used.others_percent()),
    ])
}

/// Whose clock a reading has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Times {
    OfArrival,
    /// Message n is n milliseconds after this Unix time, so that no two of a device share a time.
    From(i64),
}

#[derive(Debug, Clone, Default)]
struct Sender {
    sent: u64,
    acknowledged: Vec<u64>,
}

/// Devices in a closed loop, and which of their messages were acknowledged.
pub(super) struct Load {
    swarm: Swarm,
    times: Times,
    senders: Vec<Sender>,
    payload_bytes: u64,
    packet: Vec<u8>,
    sending: Sending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    On,
    Off,
}

impl Load {
    pub(super) fn new(peer: &Peer, devices: &[Device], times: Times) -> Result<Load> {
        let login = |device: &Device| Login {
            client_id: device.id.clone(),
            username: device.id.clone(),
            password: device.token.clone(),
            session: Session::Clean,
        };
        let mut swarm = Swarm::new(peer.mqtt())?;
        swarm.connect(&devices.iter().map(login).collect::<Vec<_>>())?;
        Ok(Load {
            swarm,
            times,
            senders: vec![Sender::default(); devices.len()],
            payload_bytes: 0,
            packet: Vec::new(),
            sending: Sending::On,
        })
    }

    /// Messages acknowledged so far.
    pub(super) fn count(&self) -> u32 {
        let total: usize = self.senders.iter().map(|sender| sender.acknowledged.len()).sum();
        u32::try_from(total).unwrap_or(u32::MAX)
    }

    /// The acknowledged messages of a device, by their `n`.
    pub(super) fn acknowledged(&self, device: usize) -> &[u64] {
        self.senders.get(device).map_or(&[], |sender| &sender.acknowledged)
    }

    pub(super) fn top_up_all(&mut self) -> Result<()> {
        (0..self.senders.len()).try_for_each(|device| self.top_up(device))
    }

    fn top_up(&mut self, device: usize) -> Result<()> {
        while let Some(sender) = self.senders.get_mut(device) {
            let done = u64::try_from(sender.acknowledged.len())?;
            let number = sender.sent;
            if self.sending == Sending::Off || number - done >= WINDOW {
                break;
            }
            sender.sent += 1;
            let payload = match self.times {
                Times::OfArrival => format!(r#"{{"temp":21.5,"n":{number}}}"#),
                Times::From(first) => {
                    let ts = first + i64::try_from(number)?;
                    format!(r#"{{"ts":{ts},"values":{{"temp":21.5,"n":{number}}}}}"#)
                }
            };
            self.payload_bytes += u64::try_from(payload.len())?;
            self.packet.clear();
            let publish = Publish {
                qos: Qos::AtLeastOnce,
                packet_id: packet_id(number),
                topic: b"me/telemetry",
                payload: payload.as_bytes(),
            };
            wire::encode_publish(&publish, &mut self.packet)?;
            self.swarm.send(device, &self.packet)?;
        }
        Ok(())
    }

    pub(super) fn turn_until(&mut self, deadline: Instant) -> Result<()> {
        let mut arrivals = Vec::new();
        let mut last = clock::now();
        loop {
            let now = clock::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Ok(());
            }
            self.swarm.poll(left.min(TURN_MAX), &mut arrivals)?;
            if !arrivals.is_empty() {
                last = now;
            } else if now.duration_since(last) > SILENCE_MAX {
                bail!("nothing was acknowledged for {SILENCE_MAX:?}");
            }
            for arrival in arrivals.drain(..) {
                match arrival.event {
                    Event::Acknowledged(packet_id) => {
                        self.note(arrival.client, packet_id)?;
                        self.top_up(arrival.client)?;
                    }
                    Event::Closed => bail!("connection {} was closed", arrival.client),
                    Event::Connected | Event::Subscribed | Event::Received(_) => {}
                }
            }
        }
    }

    fn note(&mut self, device: usize, acknowledged: u16) -> Result<()> {
        let sender = self.senders.get_mut(device).context("no such device")?;
        // Only the last window can be in flight, and in it an id stands for one message.
        let oldest = sender.sent.saturating_sub(2 * WINDOW);
        let number = (oldest..sender.sent).find(|number| packet_id(*number) == acknowledged);
        sender.acknowledged.push(number.context("an unknown packet id was acknowledged")?);
        Ok(())
    }

    /// Sends no more and waits for what is in flight.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.sending = Sending::Off;
        let deadline = clock::now() + SILENCE_MAX;
        while self.senders.iter().any(|sender| sender.acknowledged.len() as u64 != sender.sent) {
            if clock::now() > deadline {
                bail!("some messages were never acknowledged");
            }
            self.turn_until(clock::now() + Duration::from_millis(5))?;
        }
        Ok(())
    }

    /// After the broker was killed: the acknowledgements that it had sent before, to the last.
    pub(super) fn read_to_the_end(&mut self) -> Result<()> {
        self.sending = Sending::Off;
        let mut arrivals = Vec::new();
        let mut open = self.senders.len();
        while open > 0 {
            self.swarm.poll(SILENCE_MAX, &mut arrivals)?;
            if arrivals.is_empty() {
                bail!("{open} connections of a killed program stayed open");
            }
            for arrival in arrivals.drain(..) {
                match arrival.event {
                    Event::Acknowledged(packet_id) => self.note(arrival.client, packet_id)?,
                    Event::Closed => open -= 1,
                    Event::Connected | Event::Subscribed | Event::Received(_) => {}
                }
            }
        }
        Ok(())
    }

    /// How much of what the first device had acknowledged is in its history. Readings of one key in one millisecond
    /// may be one point there, so this is a check for silence, not for loss: `start` checks for loss.
    fn stored_percent(&self, rest: &Rest, devices: &[Device]) -> Result<f64> {
        let device = devices.first().context("no device")?;
        let now = clock::unix_millis();
        let found = rest.values(&device.id, "n", now - DAY_MILLIS, now + DAY_MILLIS)?.len();
        if found == 0 {
            bail!("telemetry was acknowledged and none of it is in the history");
        }
        let wanted = u32::try_from(self.acknowledged(0).len())?;
        Ok(100.0 * f64::from(u32::try_from(found)?) / f64::from(wanted))
    }
}
