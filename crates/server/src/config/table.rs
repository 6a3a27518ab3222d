//! Every setting there is, once. Flags, environment, file keys, the annotated file, the reference
//! in `docs/configuration.md` and `config show` are all made from this table.

/// What a setting's value may be, and how a person is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A path; empty for none.
    Path,
    /// `HOST:PORT`, or `off`.
    Door,
    /// Any text; empty for none.
    Text,
    /// A text that is shown to nobody; empty for none.
    Secret,
    /// A whole number within bounds.
    Count { min: u64, max: u64 },
    /// A number of bytes within bounds, such as `1MiB`.
    Bytes { min: u64, max: u64 },
    /// A duration, such as `7d`.
    Duration,
    /// Address ranges, divided by commas; empty for none.
    Networks,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A filter of log lines by level.
    LogLevel,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// The key, dotted where it stands in a table of the file.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// As it would be written; empty for none.
    pub(crate) default: &'static str,
    /// One line for people.
    pub(crate) text: &'static str,
}

const fn setting(name: &'static str, kind: Kind, default: &'static str, text: &'static str) -> Setting {
    Setting { name, kind, default, text }
}

const fn count(name: &'static str, max: u64, default: &'static str, text: &'static str) -> Setting {
    Setting { name, kind: Kind::Count { min: 1, max }, default, text }
}

const BILLION: u64 = 1_000_000_000;
const GIBIBYTE: u64 = 1 << 30;

/// All settings: those without a table of the file first, then table by table.
#[rustfmt::skip]
pub(crate) const SETTINGS: &[Setting] = &[
    setting("data", Kind::Path, "./roost-data", "The directory of the embedded store; one process owns it"),
    setting("http", Kind::Door, "0.0.0.0:8080", "REST, live feeds, dashboard, MQTT over WebSocket, /metrics, health"),
    setting("https", Kind::Door, "off", "The same over TLS; 0.0.0.0:8443 once tls.cert is set"),
    setting("mqtt", Kind::Door, "0.0.0.0:1883", "MQTT 3.1.1 and 5.0"),
    setting("mqtts", Kind::Door, "off", "The same over TLS; 0.0.0.0:8883 once tls.cert is set"),
    setting("coap", Kind::Door, "0.0.0.0:5683", "CoAP over UDP; at 0.0.0.0 over IPv6 as well"),
    setting("coaps", Kind::Door, "0.0.0.0:5684", "CoAP over DTLS 1.2, with pre-shared keys, and with certificates once `tls.cert` is set"),
    setting("sql", Kind::Text, "", "URL of a roost-sql that answers POST /sql (not in this version yet)"),
    setting("nats", Kind::Text, "", "NATS URLs: a cluster in place of the embedded store (not in this version yet)"),
    setting("admin_token", Kind::Secret, "", "At the first start, an owner's API token with this text in tenant default"),
    setting("retention", Kind::Text, "forever", "How long history is kept (this version keeps it for ever)"),
    setting("threads", Kind::Count { min: 0, max: 1_024 }, "0", "Threads that serve connections; 0 for one per processor"),
    setting("sys_interval", Kind::Duration, "10s", "How often the operator's subscribers of $SYS/# are told what is counted"),
    setting("tls.cert", Kind::Path, "", "PEM file of the certificate chain; opens https and mqtts"),
    setting("tls.key", Kind::Path, "", "PEM file of its private key"),
    setting("tls.client_ca", Kind::Path, "", "PEM file of the authority whose client certificates devices may show"),
    setting("secrets.key_file", Kind::Path, "", "File with the key that seals pre-shared keys; unset, secrets.key in the data directory. Made at the first start"),
    setting("dial.allow", Kind::Networks, "", "Address ranges beyond the public internet that tenants may have called, such as a radio network's API: 10.0.0.0/8,::1/128"),
    setting("spot.tenant", Kind::Text, "default", "The tenant in whose inbox Spot readers wait that nobody registered"),
    setting("spot.capture", Kind::Choice(&["on", "off"]), "off", "Whether what Spots send in protocol buffers, a form nobody published, is kept as events instead of refused"),
    setting("cors.origins", Kind::Text, "", "Web pages of other hosts that may use the API with a token: origins divided by commas, or * for all"),
    setting("telemetry.query", Kind::Choice(&["on", "off"]), "on", "Whether GET /api/v1/me/telemetry?temp=21.5 writes readings"),
    setting("log.level", Kind::LogLevel, "info", "What is logged: error, warn, info, debug or trace, also per module"),
    setting("log.format", Kind::Choice(&["text", "json"]), "text", "How log lines look on standard error"),
    setting("log.keep", Kind::Duration, "24h", "How long what was recorded can be replayed; 0s for no longer than needed"),
    setting("log.keep_bytes", Kind::Bytes { min: 0, max: 1 << 50 }, "1GiB", "The most of the data directory's log for that; never more than half of what is free"),
    count("limits.connections", BILLION, "1000000", "Connections at once, of all protocols; fewer where ulimit -n allows fewer"),
    count("limits.connections_per_tenant", BILLION, "1000000", "Connections of a tenant at once, MQTT and live WebSockets"),
    count("limits.connections_per_address", BILLION, "1000", "Connections at once from one address, trusted ones exempt"),
    count("limits.connect_rate", BILLION, "50", "New connections in a second from one address, trusted ones exempt"),
    setting("limits.trusted", Kind::Networks, "127.0.0.0/8,::1/128", "Address ranges that are exempt from limits by address"),
    count("limits.malformed", 1_000_000, "20", "Malformed packets from one device or address (one is forgotten every 5 s) before it is shut out; trusted ones exempt"),
    setting("limits.shut_out", Kind::Duration, "60s", "For how long who misbehaves is shut out; 0s for never"),
    setting("limits.login_timeout", Kind::Duration, "10s", "For how long somebody may be connected without having logged in"),
    setting("limits.packet_bytes", Kind::Bytes { min: 1_024, max: 256 * 1024 * 1024 - 1 }, "1MiB", "The largest MQTT packet"),
    count("limits.topic_bytes", 1_024, "1024", "Bytes of a topic or filter"),
    count("limits.topic_levels", 128, "128", "Levels of a topic or filter"),
    setting("limits.publish_rate", Kind::Count { min: 0, max: BILLION }, "200000", "Messages in a second from one device, all its connections together; 0 for any number"),
    setting("limits.publish_bytes", Kind::Bytes { min: 0, max: 1 << 40 }, "256MiB", "Payload in a second from one device, all its connections together; 0 for any amount"),
    setting("limits.body_bytes", Kind::Bytes { min: 1_024, max: GIBIBYTE }, "1MiB", "The largest body of an HTTP request that is no stream"),
    count("limits.session_messages", BILLION, "100000", "Messages that wait for one session"),
    setting("limits.session_bytes", Kind::Bytes { min: 1_024, max: 1 << 40 }, "256MiB", "Payload that waits for one session"),
    setting("limits.session_full", Kind::Choice(&["refuse-new", "drop-oldest"]), "refuse-new", "What gives way when a session has that many waiting"),
    setting("limits.session_expiry", Kind::Duration, "7d", "For how long a session is kept for an absent client"),
    count("limits.sessions", BILLION, "1000000", "Sessions of a tenant, connected or not"),
    count("limits.subscriptions", BILLION, "10000", "Subscriptions of a session"),
    count("limits.retained", BILLION, "1000000", "Retained messages of a tenant"),
    setting("limits.retained_bytes", Kind::Bytes { min: 1_024, max: 1 << 40 }, "256MiB", "Bytes of the retained messages of a tenant, topics included"),
    count("limits.in_flight", 65_535, "1000", "QoS 1 and 2 messages on their way to one client, whatever its receive maximum"),
    count("limits.receive_maximum", 32_767, "1000", "QoS 1 and 2 messages of one client on their way to us"),
    count("limits.devices", BILLION, "1000000", "Devices of a tenant"),
    count("limits.commands", BILLION, "1000", "Commands that wait for one device"),
    count("limits.keys", BILLION, "1000", "Telemetry keys of one device"),
];

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

impl Setting {
    /// The name in the environment: `tls.cert` is `ROOST_TLS_CERT`.
    pub(crate) fn variable(&self) -> String {
        format!("ROOST_{}", self.name.replace('.', "_").to_uppercase())
    }

    /// The table of the file and the key in it.
    pub(crate) fn place(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or(("", self.name))
    }
}

/// The known name that a person may have meant.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &&str| distance(wrong, name) <= 2 || name.rsplit('.').next() == Some(wrong);
    known.filter(near).min_by_key(|name| distance(wrong, name))
}

/// How many letters one has to add, remove or change to get from one text to the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut left = index + 1;
        let mut next = vec![left];
        for (above, (diagonal, wanted)) in row.iter().skip(1).zip(row.iter().zip(other.chars())) {
            left = (above + 1).min(left + 1).min(diagonal + usize::from(letter != wanted));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_setting_has_one_name_and_one_variable() {
        let names: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        let variables: BTreeSet<_> = SETTINGS.iter().map(Setting::variable).collect();
        assert_eq!((names.len(), variables.len()), (SETTINGS.len(), SETTINGS.len()));
    }

    #[test]
    fn settings_of_a_table_stand_together() {
        let mut tables: Vec<_> = SETTINGS.iter().map(|setting| setting.place().0).collect();
        tables.dedup();
        let different: BTreeSet<_> = tables.iter().collect();
        assert_eq!(tables.len(), different.len(), "{tables:?}");
        assert_eq!(tables.first(), Some(&""));
    }

    #[test]
    fn a_slip_of_the_pen_finds_the_name_that_was_meant() {
        let names = || SETTINGS.iter().map(|setting| setting.name);
        assert_eq!(nearest("mqt", names()), Some("mqtt"));
        assert_eq!(nearest("htpp", names()), Some("http"));
        assert_eq!(nearest("cert", names()), Some("tls.cert"));
        assert_eq!(nearest("marmalade", names()), None);
    }
}
