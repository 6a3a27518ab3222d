//! What a listener grants to its connections.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::mqtt::Limits;

/// Shared by all connections of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// What may be decoded. `packet_size_max` is told to MQTT 5.0 clients.
    pub limits: Limits,
    /// From the first byte, or from nothing at all, to the end of CONNECT; then again to its answer.
    pub connect_timeout: Duration,
    /// Seconds. An MQTT 5.0 client that wants more, or none, is told this instead.
    pub keep_alive_max: u16,
    /// QoS 1 and 2 messages of a client that are taken at once. Above it, reading pauses; above
    /// twice as many, an MQTT 5.0 client is disconnected (0x93).
    pub receive_maximum: NonZeroU16,
    /// Topic aliases that a client may use; 0 means none.
    pub topic_alias_maximum: u16,
    /// Topic aliases that we use at most, whatever the client allows.
    pub outbound_aliases_max: u16,
    /// QoS 1 and 2 messages to a client that are in flight at most, whatever the client allows.
    pub send_maximum: u16,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            connect_timeout: Duration::from_secs(10),
            keep_alive_max: 1200,
            receive_maximum: const { NonZeroU16::new(1024).unwrap() },
            topic_alias_maximum: 32,
            outbound_aliases_max: 32,
            send_maximum: 1024,
        }
    }
}
