//! How soon Roost is there again, after an ordered stop and after kill -9 under load, and whether all is there that
//! it had acknowledged.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};

use super::telemetry::{DEVICES, Load, Times};
use super::{Figure, Settings, figure};
use crate::clock;
use crate::peer::Peer;
use crate::rest::{Device, Rest};

/// Half a day: readings lie in the past however long the load runs.
const EARLIER_MILLIS: i64 = 43_200_000;

pub(super) fn run(peer: &mut Peer, settings: &Settings) -> Result<Vec<Figure>> {
    let first_start = peer.start_time();
    let begun = clock::now();
    let mut devices = Rest::new(peer.http()?).create_devices(settings.stored_devices)?;
    let create_time = begun.elapsed();
    peer.stop().context("stopping with the devices stored")?;
    peer.start_again()?;
    let second_start = peer.start_time();

    let from = clock::unix_millis() - EARLIER_MILLIS;
    devices.truncate(DEVICES);
    let mut load = Load::new(peer, &devices, Times::From(from))?;
    load.top_up_all()?;
    load.turn_until(clock::now() + settings.window)?;
    peer.kill()?;
    load.read_to_the_end()?;
    peer.start_again().context("starting after kill -9")?;
    let after_kill = peer.start_time();
    let lost = lost(&load, &devices, &Rest::new(peer.http()?), from)?;
    if lost > 0 {
        bail!("{lost} of {} acknowledged messages are gone after kill -9", load.count());
    }
    let created = f64::from(u32::try_from(settings.stored_devices)?);
    Ok(vec![
        figure("empty start ms", first_start.as_secs_f64() * 1e3),
        figure("start ms", second_start.as_secs_f64() * 1e3),
        figure("start after kill ms", after_kill.as_secs_f64() * 1e3),
        figure("acknowledged", f64::from(load.count())),
        figure("lost", 0.0),
        figure("devices created/s", created / create_time.as_secs_f64()),
    ])
}

/// Acknowledged messages whose `n` is not in the history.
fn lost(load: &Load, devices: &[Device], rest: &Rest, from: i64) -> Result<usize> {
    let mut lost = 0;
    for (number, device) in devices.iter().enumerate() {
        let values = rest.values(&device.id, "n", from, clock::unix_millis())?;
        let stored: HashSet<u64> = values.into_iter().map(f64::to_bits).collect();
        let is_lost = |n: &&u64| {
            let value = u32::try_from(**n).map_or(f64::NAN, f64::from);
            !stored.contains(&value.to_bits())
        };
        lost += load.acknowledged(number).iter().filter(is_lost).count();
    }
    Ok(lost)
}
