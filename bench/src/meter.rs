//! Broker and generator CPU between two moments.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::clock;
use crate::peer::Peer;
use crate::proc::CpuTime;

pub(crate) struct Meter {
    begun: Instant,
    broker: CpuTime,
    generator: CpuTime,
}

/// What a window took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) wall: Duration,
    pub(crate) broker: Duration,
    pub(crate) generator: Duration,
}

impl Meter {
    pub(crate) fn start(peer: &Peer) -> Result<Meter> {
        Ok(Meter {
            broker: peer.cpu_time()?,
            generator: CpuTime::read(std::process::id())?,
            begun: clock::now(),
        })
    }

    pub(crate) fn stop(&self, peer: &Peer) -> Result<Used> {
        let wall = self.begun.elapsed();
        let broker = peer.cpu_time()?.nanos_since(&self.broker);
        let generator = CpuTime::read(std::process::id())?.nanos_since(&self.generator);
        Ok(Used { wall, broker: Duration::from_nanos(broker), generator: Duration::from_nanos(generator) })
    }
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

    pub(crate) fn generator_percent(&self) -> f64 {
        100.0 * self.generator.as_secs_f64() / self.wall.as_secs_f64()
    }
}
