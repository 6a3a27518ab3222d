//! Ports, clock, open files and certificates.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use roost_hub::time::Timestamp;
use rustix::process::{Resource, getrlimit};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Finding, Server};
use crate::config::Config;
use crate::serve::{Transport, holder_of};

/// A clock before this is surely wrong: 2026-01-01, before the first version.
const EARLIEST: Timestamp = Timestamp(1_767_225_600_000);
/// Connections that a small server should be able to hold.
const OPEN_FILES_WARNING: u64 = 4_096;
/// Days before its end at which a certificate should have been replaced.
const CERTIFICATE_DAYS_WARNING: i64 = 14;
const DAY_SECONDS: i64 = 24 * 3600;

/// C-28: what is shown at the plain CoAP door can be read on the way.
pub(super) fn plain_coap(config: &Config) -> Option<Finding> {
    let address = config.doors.coap.filter(|address| !address.ip().is_loopback())?;
    let found = format!("devices show their tokens at {address} for everybody on the way to read");
    Some(Finding::warning("coap", found, "let them use coaps (DTLS), or close it with --coap off"))
}

/// Whether each door can be opened, or is by the server that runs.
pub(super) fn doors(config: &Config, server: Server) -> Vec<Finding> {
    let doors = [
        ("http", Transport::Tcp, config.doors.http),
        ("https", Transport::Tcp, config.doors.https),
        ("mqtt", Transport::Tcp, config.doors.mqtt),
        ("mqtts", Transport::Tcp, config.doors.mqtts),
        ("coap", Transport::Udp, config.doors.coap),
        ("coaps", Transport::Udp, config.doors.coaps),
    ];
    let open = doors.into_iter().filter_map(|(name, transport, address)| Some((name, transport, address?)));
    open.map(|(name, transport, address)| door(name, (transport, address), server)).collect()
}

fn door(name: &'static str, (transport, address): (Transport, SocketAddr), server: Server) -> Finding {
    let bound = match transport {
        Transport::Tcp => TcpListener::bind(address).map(drop),
        Transport::Udp => UdpSocket::bind(address).map(drop),
    };
    match bound {
        Ok(()) if server == Server::Runs && address.port() != 0 => Finding::warning(
            name,
            format!("nobody listens at {address}"),
            "the server that runs has another configuration",
        ),
        Ok(()) => Finding::good(name, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => match holder_of(transport, address) {
            Some(holder) if holder.starts_with("roost ") => {
                Finding::good(name, format!("{address} is held by {holder}"))
            }
            None if server == Server::Runs => Finding::good(name, format!("{address} is open")),
            holder => {
                let by = holder.map(|holder| format!(" by {holder}")).unwrap_or_default();
                Finding::problem(
                    name,
                    format!("{address} is taken{by}"),
                    format!("stop it, or choose another address with --{name}"),
                )
            }
        },
        Err(error) => Finding::problem(
            name,
            format!("{address}: {error}"),
            format!("choose another address with --{name}"),
        ),
    }
}

pub(super) fn clock(now: Timestamp) -> Finding {
    match now < EARLIEST {
        true => Finding::problem(
            "clock",
            format!("it is {now} here"),
            "set the clock: readings without a time get this one",
        ),
        false => Finding::good("clock", format!("it is {now} here")),
    }
}

pub(super) fn open_files() -> Finding {
    // The server raises its soft limit to the hard one by itself.
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < OPEN_FILES_WARNING => {
            let mend = "raise it: `ulimit -n 65536`, or LimitNOFILE=65536 in the unit";
            Finding::warning("open files", format!("{limit} at most, so about as many connections"), mend)
        }
        Some(limit) => Finding::good("open files", format!("{limit} at most")),
        None => Finding::good("open files", "no limit"),
    }
}

/// For how long the server's certificate is valid.
pub(super) fn certificate(config: &Config, now: Timestamp) -> Option<Finding> {
    let path = &config.tls.as_ref()?.cert;
    let now = now.0 / 1_000;
    Some(match validity(path) {
        Err(error) => Finding::problem(
            "tls.cert",
            format!("{}: {error}", path.display()),
            "name a PEM file of a certificate",
        ),
        Ok((from, _)) if from > now => {
            Finding::problem("tls.cert", "is not valid yet", "look at the clock, or wait")
        }
        Ok((_, until)) if until <= now => Finding::problem(
            "tls.cert",
            "has expired",
            "replace the file; the server reads it again by itself",
        ),
        Ok((_, until)) => {
            let days = (until - now) / DAY_SECONDS;
            match days < CERTIFICATE_DAYS_WARNING {
                true => Finding::warning(
                    "tls.cert",
                    format!("expires in {days} days"),
                    "replace the file; the server reads it again by itself",
                ),
                false => Finding::good("tls.cert", format!("valid for {days} more days")),
            }
        }
    })
}

/// The first and the last second, since 1970.
fn validity(path: &Path) -> Result<(i64, i64), String> {
    let der = CertificateDer::from_pem_file(path).map_err(|error| error.to_string())?;
    let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
    let validity = certificate.validity();
    Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn a_clock_that_stands_at_1970_is_a_problem() {
        assert_eq!(clock(Timestamp(0)).state, State::Problem);
        assert_eq!(clock(Timestamp(1_795_269_297_250)).state, State::Good);
    }

    #[test]
    fn a_taken_port_is_a_problem_and_says_by_whom() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (name, transport, address) in [
            ("mqtt", Transport::Tcp, listener.local_addr().unwrap()),
            ("coap", Transport::Udp, socket.local_addr().unwrap()),
        ] {
            let found = door(name, (transport, address), Server::Absent);
            assert_eq!(found.state, State::Problem);
            assert!(found.found.contains(&format!("(process {})", std::process::id())), "{found:?}");
        }
    }
}
