//! What a JSON WebSocket costs that says nothing.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Figure, figure};
use crate::clock;
use crate::peer::Peer;
use crate::proc::resident_bytes;
use crate::rest::Rest;
use crate::sockets::{Sockets, Talk};

const SETTLE: Duration = Duration::from_secs(2);
const UPGRADE_MAX: Duration = Duration::from_secs(30);
const AT_ONCE: usize = 50;
const TURN_MAX: Duration = Duration::from_millis(100);

pub(super) fn run(peer: &Peer, connections: usize) -> Result<Vec<Figure>> {
    let rest = Rest::new(peer.http()?);
    let devices = rest.create_devices(connections)?;
    let mut sockets = Sockets::open(peer.http()?, connections)?;
    let mut upgrades = Upgrades { upgraded: 0 };
    let mut base = 0;
    for (number, device) in devices.iter().enumerate() {
        sockets.send(number, request(&device.token).as_bytes())?;
        if number == 0 {
            // The first makes the server build what it builds once.
            upgrades.reach(1, &mut sockets)?;
            thread::sleep(SETTLE);
            base = resident_bytes(peer.pid())?;
        }
        if number % AT_ONCE == 0 {
            upgrades.reach(number + 1, &mut sockets)?;
        }
    }
    upgrades.reach(connections, &mut sockets)?;
    let before = peer.cpu_time()?;
    thread::sleep(SETTLE);
    let busy = Duration::from_nanos(peer.cpu_time()?.nanos_since(&before));
    let held = resident_bytes(peer.pid())?.saturating_sub(base);
    let count = f64::from(u32::try_from(connections)?);
    Ok(vec![
        figure("bytes/connection", Duration::from_nanos(held).as_secs_f64() * 1e9 / count),
        figure("base KiB", Duration::from_nanos(base).as_secs_f64() * 1e9 / 1024.0),
        figure("idle cpu ms/s", busy.as_secs_f64() * 1e3 / SETTLE.as_secs_f64()),
    ])
}

struct Upgrades {
    upgraded: usize,
}

impl Upgrades {
    fn reach(&mut self, count: usize, sockets: &mut Sockets) -> Result<()> {
        let deadline = clock::now() + UPGRADE_MAX;
        while self.upgraded < count {
            if clock::now() > deadline {
                bail!("{} of {count} connections were upgraded", self.upgraded);
            }
            sockets.turn(TURN_MAX, self)?;
        }
        Ok(())
    }
}

impl Talk for Upgrades {
    fn hear(&mut self, _number: usize, bytes: &[u8], _out: &mut Vec<u8>) -> Result<()> {
        let text = String::from_utf8_lossy(bytes);
        let status = text.split(' ').nth(1).context("an answer without a status")?;
        if status != "101" {
            bail!("an upgrade was answered: {text}");
        }
        self.upgraded += 1;
        Ok(())
    }
}

fn request(token: &str) -> String {
    format!(
        "GET /api/v1/ws HTTP/1.1\r\nHost: roost\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}
