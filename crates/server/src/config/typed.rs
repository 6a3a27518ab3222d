//! The configuration as the server uses it.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roost_gateway::http::Origins;
use roost_gateway::{Network, SpotCapture, TelemetryByQuery};
use roost_hub::SessionFull;
use roost_hub::id::TenantId;
use roost_hub::registry::Secret;

use super::given::{ConfigError, Given};
use super::value;

/// What cannot be said of a door that is closed.
const NOT_YET: &str = "not in this version yet; leave it out";

/// The addresses to listen at; `None` for a closed door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doors {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) mqtt: Option<SocketAddr>,
    pub(crate) mqtts: Option<SocketAddr>,
    pub(crate) coap: Option<SocketAddr>,
    pub(crate) coaps: Option<SocketAddr>,
}

/// Certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_ca: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What of the log is kept for those who subscribe from the past on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) time: Duration,
    pub(crate) bytes: u64,
}

/// Bounds of doors and connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) connections_per_address: u32,
    pub(crate) connect_rate: u32,
    pub(crate) trusted: Vec<Network>,
    pub(crate) login_timeout: Duration,
    pub(crate) receive_maximum: NonZeroU16,
    pub(crate) packet_bytes: u32,
    pub(crate) body_bytes: usize,
}

/// The configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) doors: Doors,
    pub(crate) tls: Option<Tls>,
    pub(crate) admin_token: Option<Secret>,
    /// Where the key lies that seals secrets; `None` for the data directory.
    pub(crate) seal_key_file: Option<PathBuf>,
    pub(crate) retention: String,
    /// In whose inbox a Spot waits that nobody registered.
    pub(crate) spot_tenant: TenantId,
    pub(crate) spot_capture: SpotCapture,
    /// Pages of which hosts may use the API.
    pub(crate) origins: Origins,
    pub(crate) telemetry_by_query: TelemetryByQuery,
    /// `None` for one per processor.
    pub(crate) threads: Option<usize>,
    pub(crate) sys_interval: Duration,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) keep: Keep,
    pub(crate) limits: Limits,
    pub(crate) hub: roost_hub::Settings,
    /// What tenants may have called beyond the public internet.
    pub(crate) dial_allow: Vec<Network>,
}

impl Config {
    /// Reads the values, whose texts are known to be of their kinds, and checks paths.
    ///
    /// # Errors
    /// A path cannot be used, or two settings do not go together, or something is not there yet.
    pub(crate) fn new(given: &Given) -> Result<Self, ConfigError> {
        for name in ["nats", "sql"] {
            if !given.text(name).is_empty() {
                return Err(given.refuse(name, NOT_YET));
            }
        }
        if given.text("retention") != "forever" {
            return Err(given.refuse("retention", "this version keeps history for ever; write forever"));
        }
        if duration(given, "limits.login_timeout").is_zero() {
            return Err(given.refuse("limits.login_timeout", "nobody could log in; write 10s"));
        }
        if given.text("data").is_empty() {
            return Err(given.refuse("data", "write the path of a directory"));
        }
        let data = PathBuf::from(given.text("data"));
        if data.exists() && !data.is_dir() {
            return Err(given.refuse("data", "not a directory; name another path"));
        }
        let tls = tls(given)?;
        let doors = doors(given, tls.as_ref())?;
        let spot_tenant = TenantId::parse(given.text("spot.tenant")).map_err(|_no_id| {
            given.refuse("spot.tenant", "no id of a tenant; write default, or another tenant's id")
        })?;
        let origins = Origins::parse(given.text("cors.origins")).map_err(|error| {
            given.refuse("cors.origins", &format!("{error}; write origins divided by commas, or *"))
        })?;
        let telemetry_by_query = match given.text("telemetry.query") {
            "off" => TelemetryByQuery::Off,
            _ => TelemetryByQuery::On,
        };
        let admin_token = Some(given.text("admin_token")).filter(|text| !text.is_empty());
        Ok(Self {
            data,
            doors,
            tls,
            admin_token: admin_token.map(|text| Secret::new(text.to_owned())),
            retention: given.text("retention").to_owned(),
            seal_key_file: path(given, "secrets.key_file"),
            spot_tenant,
            spot_capture: if given.text("spot.capture") == "on" { SpotCapture::On } else { SpotCapture::Off },
            origins,
            telemetry_by_query,
            threads: Some(number(given, "threads")).filter(|threads| *threads > 0),
            sys_interval: duration(given, "sys_interval").max(Duration::from_secs(1)),
            log_level: given.text("log.level").to_owned(),
            log_format: if given.text("log.format") == "json" { LogFormat::Json } else { LogFormat::Text },
            keep: Keep {
                time: value::duration(given.text("log.keep")).unwrap_or_default(),
                bytes: number(given, "log.keep_bytes"),
            },
            limits: Limits {
                connections: number(given, "limits.connections"),
                connections_per_address: number(given, "limits.connections_per_address"),
                connect_rate: number(given, "limits.connect_rate"),
                trusted: value::networks(given.text("limits.trusted")).unwrap_or_default(),
                login_timeout: duration(given, "limits.login_timeout"),
                receive_maximum: NonZeroU16::new(number(given, "limits.receive_maximum"))
                    .unwrap_or(NonZeroU16::MIN),
                packet_bytes: number(given, "limits.packet_bytes"),
                body_bytes: number(given, "limits.body_bytes"),
            },
            hub: hub_settings(given),
            dial_allow: value::networks(given.text("dial.allow")).unwrap_or_default(),
        })
    }
}

/// The number of a setting whose kind has bounds that fit `T`.
fn number<T: TryFrom<u64> + Default>(given: &Given, name: &str) -> T {
    let text = given.text(name);
    value::bytes(text).and_then(|number| T::try_from(number).ok()).unwrap_or_default()
}

/// The duration of a setting that is one.
fn duration(given: &Given, name: &str) -> Duration {
    value::duration(given.text(name)).unwrap_or_default()
}

fn hub_settings(given: &Given) -> roost_hub::Settings {
    roost_hub::Settings {
        session_messages_max: number(given, "limits.session_messages"),
        session_bytes_max: number(given, "limits.session_bytes"),
        session_full: match given.text("limits.session_full") {
            "drop-oldest" => SessionFull::DropOldest,
            _ => SessionFull::RefuseNew,
        },
        session_expiry_max: duration(given, "limits.session_expiry"),
        sessions_max: number(given, "limits.sessions"),
        subscriptions_max: number(given, "limits.subscriptions"),
        retained_max: number(given, "limits.retained"),
        tenant_connections_max: number(given, "limits.connections_per_tenant"),
        retained_bytes_max: number(given, "limits.retained_bytes"),
        topic_length_max: number(given, "limits.topic_bytes"),
        topic_levels_max: number(given, "limits.topic_levels"),
        publish_rate_max: number(given, "limits.publish_rate"),
        publish_bytes_max: number(given, "limits.publish_bytes"),
        malformed_max: number(given, "limits.malformed"),
        shut_out: duration(given, "limits.shut_out"),
        in_flight_max: number(given, "limits.in_flight"),
        devices_max: number(given, "limits.devices"),
        commands_max: number(given, "limits.commands"),
        keys_max: number(given, "limits.keys"),
        ..roost_hub::Settings::default()
    }
}

fn doors(given: &Given, tls: Option<&Tls>) -> Result<Doors, ConfigError> {
    let open = |name| value::door(given.text(name)).flatten();
    let with_tls = |name, port| match (tls, given.is_set(name)) {
        (None, true) if open(name).is_some() => {
            Err(given.refuse(name, "needs a certificate; set tls.cert and tls.key, or write off"))
        }
        (Some(_), false) => Ok(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))),
        _ => Ok(open(name)),
    };
    Ok(Doors {
        http: open("http"),
        https: with_tls("https", 8443)?,
        mqtt: open("mqtt"),
        mqtts: with_tls("mqtts", 8883)?,
        coap: open("coap"),
        coaps: open("coaps"),
    })
}

fn path(given: &Given, name: &str) -> Option<PathBuf> {
    Some(given.text(name)).filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn tls(given: &Given) -> Result<Option<Tls>, ConfigError> {
    let path = |name| path(given, name);
    let (cert, key) = match (path("tls.cert"), path("tls.key"), path("tls.client_ca")) {
        (Some(cert), Some(key), _) => (cert, key),
        (None, None, None) => return Ok(None),
        (Some(_), None, _) => {
            return Err(given.refuse("tls.cert", "needs its private key; set tls.key as well"));
        }
        (None, Some(_), _) => {
            return Err(given.refuse("tls.key", "needs its certificate; set tls.cert as well"));
        }
        (None, None, Some(_)) => {
            return Err(
                given.refuse("tls.client_ca", "needs a certificate of the server; set tls.cert as well")
            );
        }
    };
    let client_ca = path("tls.client_ca");
    for (name, path) in
        [("tls.cert", Some(&cert)), ("tls.key", Some(&key)), ("tls.client_ca", client_ca.as_ref())]
    {
        let Some(path) = path else { continue };
        if let Err(error) = File::open(path).and_then(|file| file.metadata()) {
            return Err(given.refuse(name, &format!("{error}; name a readable PEM file")));
        }
    }
    if is_everybodys(&key) {
        let mend = format!("everybody can read this key; chmod 600 {}", key.display());
        return Err(given.refuse("tls.key", &mend));
    }
    Ok(Some(Tls { cert, key, client_ca }))
}

fn is_everybodys(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o007 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::given::Source;
    use crate::config::table::find;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut given = Given::default();
        for (name, text) in pairs {
            given.set(find(name).unwrap(), (*text).to_owned(), Source::Flag)?;
        }
        Config::new(&given)
    }

    #[test]
    fn the_defaults_of_limits_are_the_defaults_of_the_crates() {
        let config = config(&[]).unwrap();
        assert_eq!(format!("{:?}", config.hub), format!("{:?}", roost_hub::Settings::default()));
        assert_eq!(config.threads, None);
        assert_eq!(config.limits.packet_bytes, 1 << 20);
        let gateway = roost_gateway::Settings::default();
        assert_eq!(config.limits.trusted, gateway.trusted);
        assert_eq!(config.limits.login_timeout, gateway.login_timeout);
        assert_eq!(config.limits.receive_maximum, gateway.mqtt.receive_maximum);
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_the_mend() {
        for (pairs, wanted) in [
            (&[("nats", "nats://a")][..], "--nats = \"nats://a\": not in this version yet; leave it out"),
            (&[("sql", "http://a")], "--sql = \"http://a\": not in this version yet; leave it out"),
            (
                &[("retention", "30d")],
                "--retention = \"30d\": this version keeps history for ever; write forever",
            ),
            (&[("mqtts", "0.0.0.0:0")], "--mqtts = \"0.0.0.0:0\": needs a certificate; set tls.cert"),
            (&[("tls.cert", "/none")], "--tls.cert = \"/none\": needs its private key; set tls.key as well"),
            (
                &[("tls.cert", "/none"), ("tls.key", "/none")],
                "--tls.cert = \"/none\": No such file or directory",
            ),
            (
                &[("limits.login_timeout", "0s")],
                "--limits.login_timeout = \"0s\": nobody could log in; write 10s",
            ),
            (
                &[("spot.tenant", "no tenant")],
                "--spot.tenant = \"no tenant\": no id of a tenant; write default",
            ),
            (
                &[("cors.origins", "farm.example")],
                "--cors.origins = \"farm.example\": \"farm.example\" is no origin, such as https://farm.example; \
                 write origins divided by commas, or *",
            ),
            (&[("data", "/dev/null")], "--data = \"/dev/null\": not a directory; name another path"),
        ] {
            let found = config(pairs).unwrap_err().0;
            assert!(found.starts_with(wanted), "{found}");
        }
    }

    #[test]
    fn doors_over_tls_open_with_a_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&cert, "").unwrap();
        std::fs::write(&key, "").unwrap();
        let pairs =
            [("tls.cert", cert.to_str().unwrap()), ("tls.key", key.to_str().unwrap()), ("mqtts", "off")];
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(config(&pairs).unwrap_err().0.contains("everybody can read this key; chmod 600"));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let doors = config(&pairs).unwrap().doors;
        assert_eq!((doors.https, doors.mqtts), ("0.0.0.0:8443".parse().ok(), None));
    }

    #[test]
    fn nothing_beyond_the_public_internet_is_called_unless_it_is_named() {
        assert!(config(&[]).unwrap().dial_allow.is_empty());
        assert_eq!(config(&[("dial.allow", "10.0.0.0/8,::1")]).unwrap().dial_allow.len(), 2);
    }
}
