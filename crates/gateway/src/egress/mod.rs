//! Calls to addresses that tenants name, such as the API of a radio network.
//!
//! A tenant must not reach through us what only we can reach, nor hold us up. So: http
//! and https only; the name is resolved once, every address that it has must be one that may be called,
//! and the connection goes to that address; certificates are verified; redirects are not followed; an
//! answer is read up to a bound, packed or not as it is, within one deadline.

mod address;
mod target;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::network::Network;
pub(crate) use target::{InvalidUrl, Target};

/// The largest answer that is read, in bytes.
const ANSWER_LENGTH_MAX: usize = 64 * 1024;
/// How long a call may take, from resolving the name to the answer's last byte.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);
/// How many addresses of a name are tried.
const ADDRESSES_MAX: usize = 4;
/// The most header fields of an answer.
const HEADERS_MAX: usize = 100;
/// Where distributions keep the certificates of the authorities that the machine trusts.
const AUTHORITIES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// See the module.
#[derive(Debug)]
pub(crate) struct Egress {
    /// Beyond the public internet.
    allowed: Vec<Network>,
    time_max: Duration,
    /// Read at the first call that needs it.
    tls: OnceLock<Arc<ClientConfig>>,
}

/// Why nobody was reached; nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// What was resolved is not to be called. The address is not told: it may be a secret of ours.
    #[error(
        "the address is none of the public internet; the operator may allow it by the setting dial.allow"
    )]
    Forbidden,
    /// The name has no address.
    #[error("the host's name has no address")]
    Unknown,
    /// Nobody answers there.
    #[error("nobody answers there: {0}")]
    Unreachable(io::ErrorKind),
    /// It is somebody else, or does not speak TLS.
    #[error("the TLS hand-shake failed: {0}")]
    Tls(String),
    /// It does not speak HTTP.
    #[error("the connection ended before anything was asked")]
    Http,
    /// It took too long.
    #[error("it took longer than {0:?} to connect")]
    Late(Duration),
}

/// Why there is no answer; whether what was sent was taken, nobody knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// The connection broke, or what came was no HTTP.
    #[error("the connection broke before the answer was complete")]
    Broken,
    /// The answer has no end, or comes too slowly.
    #[error("there was no complete answer in time")]
    Late,
    /// The answer is too long.
    #[error("the answer has more than 64 KiB")]
    TooLong,
}

/// A connection for one request.
#[derive(Debug)]
pub(crate) struct Call {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
    deadline: Instant,
    /// Moves the connection's bytes; ends with the call.
    _moving: JoinSet<()>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// As it came: nothing is unpacked.
    pub(crate) body: Bytes,
}

impl Egress {
    /// Calls to public addresses, and to those that the operator allows.
    pub(crate) fn new(allowed: Vec<Network>) -> Self {
        Self { allowed, time_max: CALL_TIME_MAX, tls: OnceLock::new() }
    }

    /// Connects, for one request.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was sent.
    pub(crate) async fn connect(&self, target: Target) -> Result<Call, ConnectError> {
        let deadline = Instant::now() + self.time_max;
        match timeout_at(deadline, self.try_connect(target, deadline)).await {
            Ok(connected) => connected,
            Err(_late) => Err(ConnectError::Late(self.time_max)),
        }
    }

    async fn try_connect(&self, target: Target, deadline: Instant) -> Result<Call, ConnectError> {
        let stream = reach(&self.addresses(&target).await?).await?;
        let mut moving = JoinSet::new();
        let sender = if target.is_secure {
            let name = ServerName::try_from(target.host.clone()).map_err(|_no_name| ConnectError::Unknown)?;
            let stream = TlsConnector::from(self.tls()?).connect(name, stream).await;
            let stream = stream.map_err(|error| ConnectError::Tls(error.to_string()))?;
            shake_hands(TokioIo::new(stream), &mut moving).await
        } else {
            shake_hands(TokioIo::new(stream), &mut moving).await
        };
        let sender = sender.map_err(|_broken| ConnectError::Http)?;
        Ok(Call { target, sender, deadline, _moving: moving })
    }

    /// Where the target is. A name that has one inner address is not called at all: which of them a
    /// second look would give is not ours to guess.
    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, ConnectError> {
        let found = match target.address() {
            Some(address) => vec![SocketAddr::new(address, target.port)],
            None => {
                let found = lookup_host((&*target.host, target.port)).await;
                found.map_err(|_unknown| ConnectError::Unknown)?.collect()
            }
        };
        if found.is_empty() {
            return Err(ConnectError::Unknown);
        }
        match found.iter().all(|one| address::is_permitted(one.ip(), &self.allowed)) {
            true => Ok(found),
            false => Err(ConnectError::Forbidden),
        }
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, ConnectError> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let config = config(authorities()).map_err(|error| ConnectError::Tls(error.to_string()))?;
        Ok(Arc::clone(self.tls.get_or_init(|| Arc::new(config))))
    }
}

impl Call {
    /// Sends the request and reads the answer. The host is the target's; whatever the request names
    /// otherwise does not count. Redirects are answers like others.
    ///
    /// # Errors
    /// [`AnswerError`]
    pub(crate) async fn send(mut self, mut request: Request<Bytes>) -> Result<Answer, AnswerError> {
        *request.uri_mut() = self.target.path.clone().into();
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(&self.target.authority).map_err(|_no_text| AnswerError::Broken)?;
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static("roost"));
        let answered = async {
            let answer = self.sender.send_request(request.map(Full::new)).await;
            let (head, body) = answer.map_err(|_broken| AnswerError::Broken)?.into_parts();
            Ok(Answer { status: head.status, body: read(body).await? })
        };
        timeout_at(self.deadline, answered).await.unwrap_or(Err(AnswerError::Late))
    }
}

async fn read(body: Incoming) -> Result<Bytes, AnswerError> {
    let read = Limited::new(body, ANSWER_LENGTH_MAX).collect().await;
    let read = read.map_err(|error| match error.is::<LengthLimitError>() {
        true => AnswerError::TooLong,
        false => AnswerError::Broken,
    })?;
    Ok(read.to_bytes())
}

/// The first that answers.
async fn reach(addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::Unknown;
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = ConnectError::Unreachable(error.kind()),
        }
    }
    Err(last)
}

async fn shake_hands<S>(stream: S, moving: &mut JoinSet<()>) -> hyper::Result<SendRequest<Full<Bytes>>>
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(ANSWER_LENGTH_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(stream)
        .await?;
    // How it ends, the request is told.
    moving.spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// What the machine trusts; empty where nothing is found, and then no certificate is good.
fn authorities() -> RootCertStore {
    let mut store = RootCertStore::empty();
    let files = AUTHORITIES.iter().filter_map(|path| CertificateDer::pem_file_iter(path).ok());
    if let Some(found) = files.into_iter().next() {
        store.add_parsable_certificates(found.flatten());
    }
    store
}

fn config(authorities: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(authorities).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests;
