//! How often each limit was met, and how many connections each door has: `/metrics` shows both.

use crate::count::Counter;

/// A limit that somebody ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Connections of all protocols.
    Connections,
    /// Connections of a tenant.
    ConnectionsPerTenant,
    /// Connections from an address.
    ConnectionsPerAddress,
    /// New connections in a second from an address.
    ConnectRate,
    /// An address or a device that is shut out for a while.
    ShutOut,
    /// Time without having said who one is.
    LoginTimeout,
    /// Failed log-ins of an identity or from an address.
    FailedLogins,
    /// New connections that take over the same client id.
    TakeoverRate,
    /// The size of an MQTT packet.
    PacketBytes,
    /// The size of an HTTP body.
    BodyBytes,
    /// Bytes or levels of a topic or filter.
    Topic,
    /// Sessions of a tenant.
    Sessions,
    /// Subscriptions of a session.
    Subscriptions,
    /// Retained messages of a tenant.
    Retained,
    /// Bytes of the retained messages of a tenant.
    RetainedBytes,
    /// Messages or bytes in a second from a device.
    PublishRate,
    /// QoS 1 and 2 messages of a client that wait for us.
    ReceiveMaximum,
}

impl Limit {
    /// All, with the names that `/metrics` has for them.
    const ALL: [(Self, &'static str); 17] = [
        (Self::Connections, "connections"),
        (Self::ConnectionsPerTenant, "connections_per_tenant"),
        (Self::ConnectionsPerAddress, "connections_per_address"),
        (Self::ConnectRate, "connect_rate"),
        (Self::ShutOut, "shut_out"),
        (Self::LoginTimeout, "login_timeout"),
        (Self::FailedLogins, "failed_logins"),
        (Self::TakeoverRate, "takeover_rate"),
        (Self::PacketBytes, "packet_bytes"),
        (Self::BodyBytes, "body_bytes"),
        (Self::Topic, "topic"),
        (Self::Sessions, "sessions"),
        (Self::Subscriptions, "subscriptions"),
        (Self::Retained, "retained"),
        (Self::RetainedBytes, "retained_bytes"),
        (Self::PublishRate, "publish_rate"),
        (Self::ReceiveMaximum, "receive_maximum"),
    ];
}

/// What a connection came through, or became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// MQTT over TCP.
    Mqtt,
    /// MQTT over TLS.
    Mqtts,
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// A WebSocket, with or without TLS, MQTT or JSON.
    WebSocket,
}

impl Door {
    /// All, with the names that `/metrics` has for them.
    const ALL: [(Self, &'static str); 5] = [
        (Self::Mqtt, "mqtt"),
        (Self::Mqtts, "mqtts"),
        (Self::Http, "http"),
        (Self::Https, "https"),
        (Self::WebSocket, "websocket"),
    ];
}

/// Counts how often each limit was met.
#[derive(Debug, Default)]
pub struct Refusals([Counter; Limit::ALL.len()]);

impl Refusals {
    /// Somebody was refused, or slowed down, by this limit.
    pub fn count(&self, limit: Limit) {
        if let Some(counter) = self.0.get(limit as usize) {
            counter.increment();
        }
    }

    /// How often that was.
    #[must_use]
    pub fn of(&self, limit: Limit) -> u64 {
        self.0.get(limit as usize).map_or(0, Counter::value)
    }

    /// The name and the count of each.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Limit::ALL.into_iter().map(|(limit, name)| (name, self.of(limit)))
    }
}

/// Counts the open connections by door.
#[derive(Debug, Default)]
pub struct OpenDoors([Counter; Door::ALL.len()]);

impl OpenDoors {
    /// The connections of this door.
    #[must_use]
    pub fn of(&self, door: Door) -> Option<&Counter> {
        self.0.get(door as usize)
    }

    /// The name and the number of each.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Door::ALL.into_iter().map(|(door, name)| (name, self.of(door).map_or(0, Counter::value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_and_every_door_has_a_counter_of_its_own() {
        for (place, (limit, _)) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, place);
        }
        for (place, (door, _)) in Door::ALL.into_iter().enumerate() {
            assert_eq!(door as usize, place);
        }
        let refusals = Refusals::default();
        refusals.count(Limit::Retained);
        let counted: Vec<_> = refusals.all().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("retained", 1)]);
    }
}
