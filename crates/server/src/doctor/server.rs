//! The server that runs here, if one does.

use std::net::SocketAddr;

use serde_json::Value;

use super::{Finding, Server};
use crate::client::Api;
use crate::config::Config;

/// Whether a server answers, and whether it can take writes.
pub(super) fn look(config: &Config, url: Option<&str>) -> (Finding, Server) {
    let Some(url) = url.map(str::to_owned).or_else(|| config.doors.http.map(own_url)) else {
        return (Finding::good("server", "not asked: it has no http door"), Server::Absent);
    };
    let api = match Api::new(&url, None) {
        Ok(api) => api,
        Err(_no_address) => {
            return (
                Finding::warning(
                    "server",
                    format!("{url} cannot be asked"),
                    "name it with --url http://HOST:PORT",
                ),
                Server::Absent,
            );
        }
    };
    match api.json("GET", "/readyz", None) {
        Ok(ready) => {
            let acks = ready.get("acks").and_then(Value::as_str).unwrap_or("unknown");
            let text = format!("{url} is ready; acknowledged means {acks}");
            match acks {
                "synced" => (Finding::good("server", text), Server::Runs),
                _ => (
                    Finding::warning(
                        "server",
                        text,
                        "acknowledged readings may be lost when the power is cut",
                    ),
                    Server::Runs,
                ),
            }
        }
        Err(error) if format!("{error:#}").contains("cannot be reached") => {
            (Finding::good("server", format!("none runs at {url}")), Server::Absent)
        }
        Err(error) => (
            Finding::problem("server", format!("{url}: {error:#}"), "the server's log says why"),
            Server::Runs,
        ),
    }
}

fn own_url(address: SocketAddr) -> String {
    let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    format!("http://{host}:{}", address.port())
}
