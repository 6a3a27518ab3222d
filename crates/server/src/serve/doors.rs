//! Opening the doors and saying which are open.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, anyhow};
use axum::Router;
use axum::extract::Request;
use roost_api::ApiState;
use roost_gateway::http::Peer;
use roost_gateway::{Gateway, ListenError, Protocol, Settings};
use roost_hub::Hub;
use tower_service::Service as _;

use super::holder::{Transport, holder_of};
use super::print_ready;
use crate::config::{Config, Tls};

/// Open files that connections leave to the store, the history and the doors, where there are many.
const FILES_KEPT: usize = 256;

/// The doors that are open, with their real addresses.
pub(super) struct OpenDoors(Vec<(&'static str, SocketAddr)>);

impl OpenDoors {
    /// Where a browser finds us.
    pub(super) fn web(&self) -> Option<String> {
        let scheme =
            |wanted| self.0.iter().find(|(name, _)| *name == wanted).map(|(_, address)| (wanted, *address));
        let (scheme, address) = scheme("http").or_else(|| scheme("https"))?;
        let host = match address.ip() {
            ip if ip.is_unspecified() => "localhost".to_owned(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            std::net::IpAddr::V4(ip) => ip.to_string(),
        };
        Some(format!("{scheme}://{host}:{}", address.port()))
    }

    /// Says that the server is ready, once.
    pub(super) fn announce(&self) {
        let doors: String = self.0.iter().map(|(name, address)| format!(" {name}={address}")).collect();
        print_ready(&format!("roost ready{doors}"));
    }
}

/// Opens every door that the configuration names.
///
/// # Errors
/// Says which door could not be opened and, for a port that is taken, by whom.
pub(super) fn open(
    config: &Config,
    hub: &Arc<Hub>,
    state: impl FnOnce(Vec<(String, String)>) -> ApiState,
) -> anyhow::Result<(Gateway, OpenDoors)> {
    let wanted = [
        ("http", Protocol::Http, config.doors.http),
        ("https", Protocol::Https, config.doors.https),
        ("mqtt", Protocol::Mqtt, config.doors.mqtt),
        ("mqtts", Protocol::Mqtts, config.doors.mqtts),
        ("coap", Protocol::Coap, config.doors.coap),
        ("coaps", Protocol::Coaps, config.doors.coaps),
    ];
    let (later, router) = router_for_later();
    let settings = settings(config);
    let mut gateway = Gateway::new(Arc::clone(hub), settings, router);
    if let Some(tls) = &config.tls {
        gateway.set_tls(certificates(tls)?);
    }
    let mut doors = Vec::new();
    for (name, protocol, address) in wanted {
        let Some(address) = address else { continue };
        let opened =
            gateway.open(protocol, address).map_err(|error| refusal((name, protocol), address, error))?;
        doors.push((name, opened));
    }
    let named = doors.iter().map(|(name, address)| ((*name).to_owned(), address.to_string())).collect();
    // Nobody is let in before the gateway runs, so this comes in time.
    let adapter = roost_gateway::adapters::http::router(&gateway);
    // The families of others have answers of their own, which ours must not change.
    let router = gateway.dialects().fallback_service(roost_api::router_over(state(named), adapter));
    drop(later.set(router));
    Ok((gateway, OpenDoors(doors)))
}

/// A router that passes everything to one that is made later: the API tells the addresses of the
/// doors, which are known only when they are open.
fn router_for_later() -> (Arc<OnceLock<Router>>, Router) {
    let later: Arc<OnceLock<Router>> = Arc::default();
    let known = Arc::clone(&later);
    let pass_on = move |mut request: Request| {
        if request.extensions().get::<Peer>().is_some_and(|peer| peer.is_secure) {
            request.extensions_mut().insert(roost_api::Https);
        }
        let router = known.get().cloned().unwrap_or_default();
        async move {
            let mut router = router;
            router.call(request).await
        }
    };
    (later, Router::new().fallback(pass_on))
}

fn certificates(tls: &Tls) -> anyhow::Result<Arc<roost_gateway::Tls>> {
    let read = roost_gateway::Tls::open(tls.cert.clone(), tls.key.clone(), tls.client_ca.clone());
    read.context("tls.cert, tls.key")
}

fn settings(config: &Config) -> Settings {
    let mut settings = Settings {
        connections_max: config.limits.connections.min(connections_possible()),
        connections_per_address_max: config.limits.connections_per_address,
        connects_per_second_max: config.limits.connect_rate,
        trusted: config.limits.trusted.clone(),
        login_timeout: config.limits.login_timeout,
        body_length_max: config.limits.body_bytes,
        spot_tenant: config.spot_tenant.clone(),
        spot_capture: config.spot_capture,
        origins: config.origins.clone(),
        telemetry_by_query: config.telemetry_by_query,
        dial_allow: config.dial_allow.clone(),
        ..Settings::default()
    };
    settings.mqtt.receive_maximum = config.limits.receive_maximum;
    let limits = &mut settings.mqtt.limits;
    limits.packet_size_max = config.limits.packet_bytes;
    limits.topic_bytes_max = config.hub.topic_length_max;
    limits.topic_levels_max = config.hub.topic_levels_max;
    settings
}

/// How many connections the limit of open files lets us have: the store must always get the few it needs.
fn connections_possible() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
    files - (files / 4).min(FILES_KEPT)
}

fn refusal((name, protocol): (&str, Protocol), address: SocketAddr, error: ListenError) -> anyhow::Error {
    let ListenError::Address(_, error) = error else { return error.into() };
    let place = format!("{name} = \"{address}\"");
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let transport = match protocol {
                Protocol::Coap | Protocol::Coaps => Transport::Udp,
                _ => Transport::Tcp,
            };
            let holder =
                holder_of(transport, address).map(|holder| format!(" by {holder}")).unwrap_or_default();
            anyhow!("{place}: the port is taken{holder}; stop it, or choose another address with --{name}")
        }
        _ => anyhow!("{place}: {error}; choose another address with --{name}"),
    }
}
