//! The cases: which there are, who takes part, with what configuration, and what each one gives.

mod coap;
mod flows;
mod http;
mod idle;
mod latency;
mod offline;
mod spot;
mod start;
mod stream;
mod telemetry;
mod websocket;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::peer::{Keeping, Peer, PeerKind, Programs};
use crate::wire::Qos;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    ManyToOne,
    FanOut,
    Pairs,
    Routing,
    Idle,
    Latency,
    Offline,
    Telemetry,
    Http,
    Stream,
    Spot,
    Websocket,
    Coap,
    Start,
}

impl Case {
    pub(crate) const ALL: [Case; 14] = [
        Case::ManyToOne,
        Case::FanOut,
        Case::Pairs,
        Case::Routing,
        Case::Idle,
        Case::Latency,
        Case::Offline,
        Case::Telemetry,
        Case::Http,
        Case::Stream,
        Case::Spot,
        Case::Websocket,
        Case::Coap,
        Case::Start,
    ];

    fn name(self) -> &'static str {
        match self {
            Case::ManyToOne => "many-to-one",
            Case::FanOut => "fan-out",
            Case::Pairs => "pairs",
            Case::Routing => "routing",
            Case::Idle => "idle",
            Case::Latency => "latency",
            Case::Offline => "offline",
            Case::Telemetry => "telemetry",
            Case::Http => "http",
            Case::Stream => "stream",
            Case::Spot => "spot",
            Case::Websocket => "websocket",
            Case::Coap => "coap",
            Case::Start => "start",
        }
    }

    /// The case once for each quality of service that it is run with.
    pub(crate) fn variants(self) -> Vec<Variant> {
        let levels: &[Qos] = match self {
            Case::ManyToOne | Case::FanOut | Case::Latency => &[Qos::AtMostOnce, Qos::AtLeastOnce],
            Case::Pairs => &[Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce],
            Case::Routing | Case::Idle => &[Qos::AtMostOnce],
            Case::Offline | Case::Telemetry | Case::Start => &[Qos::AtLeastOnce],
            // Not MQTT: what is answered is durable.
            Case::Http | Case::Stream | Case::Spot | Case::Websocket | Case::Coap => &[Qos::AtLeastOnce],
        };
        let variant = |qos: &Qos| Variant { case: self, qos: *qos };
        levels.iter().map(variant).collect()
    }
}

/// What the command line decides for all cases.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Length of a measured window.
    pub(crate) window: Duration,
    pub(crate) idle_connections: usize,
    pub(crate) stored_devices: usize,
    pub(crate) spots: usize,
}

/// One measured number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
}

pub(crate) fn figure(name: &'static str, value: f64) -> Figure {
    Figure { name, value }
}

/// One line of the benchmark.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) case: Case,
    pub(crate) qos: Qos,
}

impl Variant {
    pub(crate) fn name(self) -> String {
        match self.case {
            Case::Http | Case::Stream | Case::Spot | Case::Websocket | Case::Coap => {
                self.case.name().to_owned()
            }
            _ => format!("{} qos{}", self.case.name(), self.qos.bits()),
        }
    }

    /// Everything that somebody needs to know to do the same.
    pub(crate) fn configuration(self, settings: &Settings) -> String {
        let seconds = settings.window.as_secs_f64();
        match self.case {
            Case::ManyToOne | Case::FanOut | Case::Pairs | Case::Routing => {
                format!("{}, 128 B payload, {seconds} s", flows::describe(self.case))
            }
            Case::Idle => {
                format!("{} connections with a subscription each, nothing sent", settings.idle_connections)
            }
            Case::Latency => format!("{}, {seconds} s", latency::DESCRIPTION),
            Case::Offline => offline::DESCRIPTION.to_owned(),
            Case::Telemetry => format!("{}, {seconds} s", telemetry::DESCRIPTION),
            Case::Http => format!("{}, {seconds} s", http::DESCRIPTION),
            Case::Stream => format!("{}, {seconds} s", stream::DESCRIPTION),
            Case::Spot => format!("{} {}, {seconds} s", settings.spots, spot::DESCRIPTION),
            Case::Websocket => {
                format!("{} devices on /api/v1/ws, nothing sent", settings.idle_connections)
            }
            Case::Coap => format!("{}, {seconds} s", coap::DESCRIPTION),
            Case::Start => format!(
                "{} devices stored; kill -9 after {seconds} s of telemetry by 100 devices",
                settings.stored_devices
            ),
        }
    }

    /// Why a peer has no part in this case.
    pub(crate) fn reason_to_skip(self, kind: PeerKind) -> Option<&'static str> {
        match (self.case, kind) {
            (
                Case::Telemetry
                | Case::Http
                | Case::Stream
                | Case::Spot
                | Case::Websocket
                | Case::Coap
                | Case::Start,
                PeerKind::Mosquitto | PeerKind::Relay,
            ) => Some("has no devices"),
            (Case::Offline, PeerKind::Relay) => Some("has no sessions"),
            (Case::Routing, PeerKind::Relay) => Some("has no wildcards in the middle of a filter"),
            _ => None,
        }
    }

    /// Starts the peer afresh, measures it once and stops it.
    pub(crate) fn run(self, kind: PeerKind, programs: &Programs, settings: &Settings) -> Result<Vec<Figure>> {
        let keeping = match self.case {
            Case::Offline | Case::Start => Keeping::Sessions,
            _ => Keeping::Nothing,
        };
        let mut peer = Peer::start(kind, programs, keeping)?;
        let figures = match self.case {
            Case::ManyToOne | Case::FanOut | Case::Pairs | Case::Routing => {
                flows::run(&peer, self, settings.window)
            }
            Case::Idle => idle::run(&peer, settings.idle_connections),
            Case::Latency => latency::run(&peer, self.qos, settings.window),
            Case::Offline => offline::run(&peer),
            Case::Telemetry => telemetry::run(&peer, settings.window),
            Case::Http => http::run(&peer, settings.window),
            Case::Stream => stream::run(&peer, settings.window),
            Case::Spot => spot::run(&peer, settings.window, settings.spots),
            Case::Websocket => websocket::run(&peer, settings.idle_connections),
            Case::Coap => coap::run(&peer, settings.window, settings.idle_connections),
            Case::Start => start::run(&mut peer, settings),
        }?;
        peer.stop()?;
        if figures.iter().any(|figure| !figure.value.is_finite()) {
            bail!("a measured window saw nothing happen");
        }
        Ok(figures)
    }
}
