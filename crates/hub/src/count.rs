//! What is counted while it happens; `/metrics` shows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only rises (or, for gauges, rises and falls).
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes one away.
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// A gauge goes with what it shows, from `before` to `after`.
    pub fn move_by(&self, before: u64, after: u64) {
        // Wraps around, so that adding a difference below zero takes away.
        self.add(after.wrapping_sub(before));
    }

    /// The number now.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident : $kind:literal, $help:literal;)*) => {
        /// Everything that is counted. Names are those of `/metrics` after `roost_`.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Counters {
            /// Name, kind (`counter` or `gauge`), help and value of each.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
                vec![$((stringify!($name), $kind, $help, self.$name.value()),)*]
            }
        }
    };
}

counters! {
    /// Open connections of every protocol.
    connections: "gauge", "Open connections";
    /// Connections ever taken.
    connections_total: "counter", "Connections taken";
    /// Connections refused before they were anybody's.
    connections_refused_total: "counter", "Connections refused by a limit";
    /// Log-ins refused.
    logins_refused_total: "counter", "Log-ins refused";
    /// Sessions, connected or not.
    sessions: "gauge", "Sessions, connected or not";
    /// Subscriptions of all sessions.
    subscriptions: "gauge", "Subscriptions";
    /// Retained messages of all tenants.
    retained: "gauge", "Retained messages";
    /// Bytes of the retained messages of all tenants.
    retained_bytes: "gauge", "Bytes of retained messages, topics included";
    /// Messages published to the hub.
    messages_received_total: "counter", "Messages received";
    /// Messages put into outboxes.
    messages_delivered_total: "counter", "Messages delivered to sessions";
    /// QoS 0 messages dropped because the reader was slow.
    messages_dropped_slow_total: "counter", "QoS 0 messages dropped for slow readers";
    /// Messages refused because a session's queue was full.
    messages_dropped_queue_total: "counter", "Messages dropped because a session's queue was full";
    /// Messages whose time ran out while they waited.
    messages_expired_total: "counter", "Messages that expired while they waited";
    /// Messages larger than their receiver takes.
    messages_dropped_size_total: "counter", "Messages larger than their receiver takes";
    /// Messages written to the log.
    messages_recorded_total: "counter", "Messages written to the log";
    /// Publishes refused, whatever the reason.
    publishes_refused_total: "counter", "Publishes refused";
    /// QoS 1 and 2 messages acknowledged without a durable reader.
    messages_routed_only_total: "counter", "QoS 1 and 2 messages acknowledged once routed";
    /// Readings taken.
    readings_total: "counter", "Readings taken";
    /// Telemetry payloads that could not be read.
    telemetry_refused_total: "counter", "Telemetry payloads refused";
    /// Commands taken.
    commands_total: "counter", "Commands taken";
    /// Packets that broke their protocol.
    protocol_errors_total: "counter", "Connections closed for a protocol error";
    /// Positions of the log that could not be read at the start.
    damaged_positions_total: "counter", "Positions of the log that were damaged at the start";
    /// Connections whose task panicked; must stay 0.
    panics_total: "counter", "Connections that ended in a panic";
}
