//! Devices that speak CoAP: confirmable posts, each answered once durable, and what an observer costs.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

use super::{Figure, figure};
use crate::clock;
use crate::meter::Meter;
use crate::peer::Peer;
use crate::proc::resident_bytes;
use crate::rest::{Device, Rest};

pub(super) const DESCRIPTION: &str = "512 CoAP endpoints of 64 devices, 1 confirmable post in flight each, 2.04 once durable; then observers of me/commands";
const DEVICES: usize = 64;
const ENDPOINTS: usize = 512;
/// Observers are registered under so many devices, since each may have so few.
const OBSERVERS_PER_DEVICE: usize = 50;
const TURN_MAX: Duration = Duration::from_millis(100);
/// CoAP waits two to three seconds before it sends again; on loopback nothing is lost but under a flood.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const SILENCE_MAX: Duration = Duration::from_secs(20);
const EVENTS: usize = 1_024;
const DATAGRAM_MAX: usize = 2_048;
const POST: u8 = 2;
const GET: u8 = 1;
const CHANGED: u8 = 0x44;
const CONTENT: u8 = 0x45;
const SETTLE: Duration = Duration::from_secs(2);

pub(super) fn run(peer: &Peer, window: Duration, observers: usize) -> Result<Vec<Figure>> {
    let rest = Rest::new(peer.http()?);
    let observing = observers.div_ceil(OBSERVERS_PER_DEVICE);
    let devices = rest.create_devices(DEVICES.max(observing))?;
    let mut load = Load::new(peer.coap()?, &devices, ENDPOINTS)?;
    load.begin(post)?;
    load.turn_until(clock::now() + window / 4)?;
    let meter = Meter::start(peer)?;
    let before = load.answered;
    load.turn_until(clock::now() + window)?;
    let used = meter.stop(peer)?;
    let count = f64::from(load.answered - before);
    let per_observer = observe(peer, &devices, observers)?;
    Ok(vec![
        figure("cpu µs/msg", used.broker_micros_per(count)),
        figure("acknowledged msg/s", used.per_second(count)),
        figure("sent again", f64::from(load.again)),
        figure("bytes/observer", per_observer),
        figure("broker busy %", used.broker_percent()),
        figure("generator busy %", used.generator_percent()),
        figure("others busy %", used.others_percent()),
    ])
}

/// What the broker holds for each of so many observers, each with an address of its own.
fn observe(peer: &Peer, devices: &[Device], observers: usize) -> Result<f64> {
    thread::sleep(SETTLE);
    let base = resident_bytes(peer.pid())?;
    let mut load = Load::new(peer.coap()?, devices, observers)?;
    load.begin(register)?;
    let deadline = clock::now() + SILENCE_MAX;
    while usize::try_from(load.answered)? < observers {
        if clock::now() > deadline {
            bail!("{} of {observers} observers were registered", load.answered);
        }
        load.turn_until(clock::now() + Duration::from_millis(20))?;
    }
    thread::sleep(SETTLE);
    let held = resident_bytes(peer.pid())?.saturating_sub(base);
    Ok(Duration::from_nanos(held).as_secs_f64() * 1e9 / f64::from(u32::try_from(observers)?))
}

/// What an endpoint sends: one request under this id.
type Write = fn(&Device, u16) -> Vec<u8>;

struct Endpoint {
    socket: UdpSocket,
    device: Device,
    id: u16,
    sent_at: Option<Instant>,
}

/// Endpoints in a closed loop, or each with one request.
struct Load {
    poll: Poll,
    endpoints: Vec<Endpoint>,
    write: Write,
    answered: u32,
    again: u32,
}

impl Load {
    fn new(server: SocketAddr, devices: &[Device], endpoints: usize) -> Result<Load> {
        let poll = Poll::new()?;
        let mut made = Vec::with_capacity(endpoints);
        for (number, device) in devices.iter().cycle().take(endpoints).enumerate() {
            let mut socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            socket.connect(server)?;
            poll.registry().register(&mut socket, Token(number), Interest::READABLE)?;
            made.push(Endpoint { socket, device: device.clone(), id: 0, sent_at: None });
        }
        Ok(Load { poll, endpoints: made, write: post, answered: 0, again: 0 })
    }

    fn begin(&mut self, write: Write) -> Result<()> {
        self.write = write;
        (0..self.endpoints.len()).try_for_each(|number| {
            // A few at a time, so that the first burst does not overflow the socket of the other side.
            if number % 64 == 63 {
                self.turn_until(clock::now() + Duration::from_millis(2))?;
            }
            self.send(number)
        })
    }

    fn send(&mut self, number: usize) -> Result<()> {
        let endpoint = self.endpoints.get_mut(number).context("no such endpoint")?;
        endpoint.id = endpoint.id.wrapping_add(1);
        endpoint.sent_at = Some(clock::now());
        endpoint.socket.send(&(self.write)(&endpoint.device, endpoint.id))?;
        Ok(())
    }

    fn turn_until(&mut self, deadline: Instant) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut last = clock::now();
        loop {
            let now = clock::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return Ok(());
            }
            self.poll.poll(&mut events, Some(left.min(TURN_MAX)))?;
            for event in &events {
                last = now;
                self.receive(event.token().0)?;
            }
            if events.is_empty() {
                self.send_again(now)?;
                if now.duration_since(last) > SILENCE_MAX {
                    bail!("nothing was answered for {SILENCE_MAX:?}");
                }
            }
        }
    }

    fn receive(&mut self, number: usize) -> Result<()> {
        let mut datagram = [0; DATAGRAM_MAX];
        loop {
            let endpoint = self.endpoints.get_mut(number).context("no such endpoint")?;
            let length = match endpoint.socket.recv(&mut datagram) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let answer = datagram.get(..length).unwrap_or_default();
            let &[_, code, high, low, ..] = answer else { bail!("an answer of {length} bytes") };
            match code {
                0 => {}
                CHANGED | CONTENT if u16::from_be_bytes([high, low]) == endpoint.id => {
                    endpoint.sent_at = None;
                    self.answered += 1;
                    if code == CHANGED {
                        self.send(number)?;
                    }
                }
                CHANGED | CONTENT => {}
                _ => bail!("answered {}.{:02}", code >> 5, code & 31),
            }
        }
    }

    fn send_again(&mut self, now: Instant) -> Result<()> {
        for endpoint in &mut self.endpoints {
            if endpoint.sent_at.is_some_and(|at| now.duration_since(at) > AGAIN_AFTER) {
                endpoint.sent_at = Some(now);
                endpoint.socket.send(&(self.write)(&endpoint.device, endpoint.id))?;
                self.again += 1;
            }
        }
        Ok(())
    }
}

/// A confirmable POST of a reading to `me/telemetry`.
fn post(device: &Device, id: u16) -> Vec<u8> {
    let mut out = head(POST, id);
    out.extend(b"\xB2me\x09telemetry");
    token(device, &mut out);
    out.push(0xFF);
    out.extend(format!(r#"{{"temp":21.5,"n":{id}}}"#).into_bytes());
    out
}

/// A confirmable GET of `me/commands` that observes it.
fn register(device: &Device, id: u16) -> Vec<u8> {
    let mut out = head(GET, id);
    // Observe 0, then Uri-Path, five numbers on.
    out.extend(b"\x60\x52me\x08commands");
    token(device, &mut out);
    out
}

fn head(code: u8, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![0x42, code, high, low, high, low]
}

/// Uri-Query, four numbers after Uri-Path.
fn token(device: &Device, out: &mut Vec<u8>) {
    let query = format!("token={}", device.token);
    out.push(0x4D);
    out.push(u8::try_from(query.len().saturating_sub(13)).unwrap_or(u8::MAX));
    out.extend(query.into_bytes());
}
