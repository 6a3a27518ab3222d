//! What an operator may set about doors and connections.

use std::time::Duration;

use roost_hub::id::TenantId;
use roost_hub::registry::default_tenant;
use roost_wire::mqtt::ConnectionOptions;

use crate::http::Origins;
use crate::network::Network;

/// Whether readings may stand in the query of a GET.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TelemetryByQuery {
    /// They may.
    #[default]
    On,
    /// They may not: what stands in a URL ends up in the logs of others.
    Off,
}

/// What becomes of what a Spot sends in protocol buffers, a form that was never published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpotCapture {
    /// It is refused.
    #[default]
    Off,
    /// It is kept as it came, for people who find out what it says.
    On,
}

/// Bounds and deadlines of all doors.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The most connections at once, of all protocols.
    pub connections_max: usize,
    /// Addresses that are exempt from what is counted by address.
    pub trusted: Vec<Network>,
    /// The most connections at once from one address.
    pub connections_per_address_max: u32,
    /// New connections in a second from one address.
    pub connects_per_second_max: u32,
    /// For how long somebody may be connected without having said who they are.
    pub login_timeout: Duration,
    /// How exact the deadlines of connections are.
    pub tick: Duration,
    /// What MQTT clients are granted.
    pub mqtt: ConnectionOptions,
    /// The most PINGREQ of a client between two looks at its deadline (M-63).
    pub pings_max: u32,
    /// How often a WebSocket of JSON is pinged; two pings without an answer end it (W-16).
    pub live_ping_every: Duration,
    /// The largest body of an HTTP request that is no stream, in bytes.
    pub body_length_max: usize,
    /// For how long a stream of telemetry over HTTP may be silent.
    pub stream_idle_max: Duration,
    /// In whose inbox a Spot waits that nobody registered.
    pub spot_tenant: TenantId,
    /// Whether what Spots send in protocol buffers is kept.
    pub spot_capture: SpotCapture,
    /// Pages of which hosts may use the HTTP API from a browser.
    pub origins: Origins,
    /// Whether `GET /api/v1/me/telemetry?temp=21.5` writes readings.
    pub telemetry_by_query: TelemetryByQuery,
    /// What tenants may have called beyond the public internet.
    pub dial_allow: Vec<Network>,
    /// How long an open connection may take to end when the server stops.
    pub shutdown_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connections_max: 1_000_000,
            trusted: Network::loopback(),
            connections_per_address_max: 1_000,
            connects_per_second_max: 50,
            login_timeout: Duration::from_secs(10),
            tick: Duration::from_millis(500),
            mqtt: ConnectionOptions {
                receive_maximum: const { std::num::NonZeroU16::new(1_000).unwrap() },
                topic_alias_maximum: 16,
                outbound_aliases_max: 16,
                send_maximum: 1_000,
                ..ConnectionOptions::default()
            },
            pings_max: 10_000,
            live_ping_every: Duration::from_secs(20),
            body_length_max: 1024 * 1024,
            stream_idle_max: Duration::from_secs(60),
            spot_tenant: default_tenant(),
            spot_capture: SpotCapture::Off,
            origins: Origins::Own,
            telemetry_by_query: TelemetryByQuery::On,
            dial_allow: Vec::new(),
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}
