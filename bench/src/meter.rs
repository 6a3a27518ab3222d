//! Broker and generator CPU between two moments.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::clock;
use crate::peer::Peer;
use crate::proc::{CpuTime, core_busy_nanos};

pub(crate) struct Meter {
    begun: Instant,
    broker: CpuTime,
    generator: CpuTime,
    /// What anybody used of the two cores, in nanoseconds.
    cores: u64,
}

/// What a window took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) wall: Duration,
    pub(crate) broker: Duration,
    pub(crate) generator: Duration,
    /// What was used of the two cores by neither: noise.
    pub(crate) others: Duration,
}

impl Meter {
    pub(crate) fn start(peer: &Peer) -> Result<Meter> {
        Ok(Meter {
            broker: peer.cpu_time()?,
            generator: CpuTime::read(std::process::id())?,
            cores: busy(peer)?,
            begun: clock::now(),
        })
    }

    pub(crate) fn stop(&self, peer: &Peer) -> Result<Used> {
        let wall = self.begun.elapsed();
        let broker = peer.cpu_time()?.nanos_since(&self.broker);
        let generator = CpuTime::read(std::process::id())?.nanos_since(&self.generator);
        let others = busy(peer)?.saturating_sub(self.cores + broker + generator);
        Ok(Used {
            wall,
            broker: Duration::from_nanos(broker),
            generator: Duration::from_nanos(generator),
            others: Duration::from_nanos(others),
        })
    }
}

fn busy(peer: &Peer) -> Result<u64> {
    let cores = peer.cores();
    Ok(core_busy_nanos(cores.broker)? + core_busy_nanos(cores.generator)?)
}

impl Used {
    pub(crate) fn broker_micros_per(&self, count: f64) -> f64 {
        self.broker.as_secs_f64() * 1e6 / count
    }

    pub(crate) fn per_second(&self, count: f64) -> f64 {
        count / self.wall.as_secs_f64()
    }

    pub(crate) fn broker_percent(&self) -> f64 {
        100.0 * self.broker.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// Of one core.
    pub(crate) fn others_percent(&self) -> f64 {
        100.0 * self.others.as_secs_f64() / self.wall.as_secs_f64()
    }

    pub(crate) fn generator_percent(&self) -> f64 {
        100.0 * self.generator.as_secs_f64() / self.wall.as_secs_f64()
    }
}
