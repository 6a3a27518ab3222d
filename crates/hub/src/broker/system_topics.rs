//! `$SYS/…`: what is counted, said to the operator's subscribers now and then.

use std::time::Duration;

use crate::hub::Hub;
use crate::message::Message;
use crate::registry::default_tenant;
use crate::topic::Topic;

/// What other brokers call it, for the tools that read theirs.
const KNOWN_ELSEWHERE: &[(&str, &str)] = &[
    ("sessions", "clients/total"),
    ("subscriptions", "subscriptions/count"),
    ("retained", "retained messages/count"),
    ("messages_received_total", "messages/received"),
    ("messages_delivered_total", "messages/sent"),
];

impl Hub {
    /// Publishes each counter as `$SYS/broker/{name}`, and the usual ones also by the names that other
    /// brokers gave them. Nothing of it is kept or retained; only the operator may subscribe.
    pub fn publish_system_topics(&self, version: &str, uptime: Duration) {
        let say = |name: &str, value: String| {
            let Ok(topic) = Topic::parse(&format!("$SYS/broker/{name}")) else { return };
            // Without anything durable to it, it cannot fail.
            drop(self.publish_own(&default_tenant(), Message::new(topic, value.into_bytes(), self.now())));
        };
        say("version", format!("roost {version}"));
        say("uptime", format!("{} seconds", uptime.as_secs()));
        let sessions = self.broker.all_tenants();
        let connected: usize = sessions
            .iter()
            .map(|tenant| tenant.sessions().values().filter(|shared| shared.outbox().is_connected).count())
            .sum();
        say("clients/connected", connected.to_string());
        for (name, _, _, value) in self.counters.all() {
            say(name, value.to_string());
            for (_, other) in KNOWN_ELSEWHERE.iter().filter(|(ours, _)| *ours == name) {
                say(other, value.to_string());
            }
        }
    }
}
