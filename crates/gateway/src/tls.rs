//! Certificates: read from PEM files, read again when the files change. What is connected stays.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use dimpl::crypto::aws_lc_rs;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::turns::Turns;

/// How often the files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(3);

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("{0}: {1}")]
    Pem(PathBuf, rustls_pki_types::pem::Error),
    /// A file holds no certificate.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    /// Certificate and key do not fit, or one of them is none.
    #[error("the certificate cannot be used: {0}")]
    Rejected(#[from] rustls::Error),
    /// The client authorities cannot be used.
    #[error("the client authorities cannot be used: {0}")]
    ClientAuthority(#[from] rustls::server::VerifierBuilderError),
}

/// Where the certificates are.
#[derive(Clone, Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_authority: Option<PathBuf>,
}

/// The server's certificate, its key and whose clients it trusts.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    current: Mutex<Current>,
    /// A handshake costs a hundred times what it costs its client: a flood of them may not take every core.
    turns: Turns,
}

/// What was read last.
#[derive(Clone, Debug)]
struct Current {
    config: Arc<ServerConfig>,
    dtls: Option<Arc<DtlsCertificate>>,
}

/// The certificate as DTLS shows it, without those of its authorities.
#[derive(Debug)]
pub(crate) struct DtlsCertificate {
    pub(crate) own: dimpl::DtlsCertificate,
    /// Who signs those of clients; without, none is asked for.
    pub(crate) clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Tls {
    /// Reads PEM files; with `client_authority`, clients may show certificates signed by it.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn open(
        certificate: PathBuf,
        key: PathBuf,
        client_authority: Option<PathBuf>,
    ) -> Result<Arc<Self>, TlsError> {
        let files = Files { certificate, key, client_authority };
        let current = Mutex::new(files.read()?);
        Ok(Arc::new(Self { files, current, turns: Turns::half_of_the_cores() }))
    }

    /// Shakes hands; computes only when it is its turn.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.turns.run(TlsAcceptor::from(self.current().config).accept(stream)).await
    }

    /// What DTLS shows; `None` when its key is none that DTLS can sign with.
    pub(crate) fn dtls(&self) -> Option<Arc<DtlsCertificate>> {
        self.current().dtls
    }

    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again whenever they change; a broken pair leaves the old one in use (T-08).
    pub(crate) async fn run(&self) {
        let mut seen = self.files.changed_at();
        let mut ticks = tokio::time::interval(RELOAD_EVERY);
        loop {
            ticks.tick().await;
            let found = self.files.changed_at();
            if found == seen {
                continue;
            }
            seen = found;
            match self.files.read() {
                Ok(current) => {
                    *self.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
                    tracing::info!(certificate = %self.files.certificate.display(), "certificate read again");
                }
                Err(error) => tracing::error!(%error, "the new certificate is not used, the old one stays"),
            }
        }
    }
}

impl Files {
    fn read(&self) -> Result<Current, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let clients = self.clients(provider)?;
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
        };
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::Pem(self.key.clone(), error))?;
        let shown = certificates(&self.certificate)?;
        let dtls = dtls(&shown, &key, clients);
        let mut config = builder.with_single_cert(shown, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"mqtt".to_vec()];
        Ok(Current { config: Arc::new(config), dtls })
    }

    /// Who signs the certificates of clients.
    fn clients(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let Some(path) = &self.client_authority else { return Ok(None) };
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates(path)? {
            roots.add(certificate)?;
        }
        // A device without a certificate may still show a token.
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        Ok(Some(builder.allow_unauthenticated().build()?))
    }

    fn changed_at(&self) -> [Option<SystemTime>; 3] {
        let time = |path: &PathBuf| std::fs::metadata(path).and_then(|found| found.modified()).ok();
        [time(&self.certificate), time(&self.key), self.client_authority.as_ref().and_then(time)]
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(TlsError::Empty(path.clone())),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsError::Pem(path.clone(), error)),
    }
}

/// The library panics over a key that it cannot use, and can use few.
fn dtls(
    shown: &[CertificateDer<'_>],
    key: &PrivateKeyDer<'_>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Option<Arc<DtlsCertificate>> {
    let own = shown.first()?;
    if aws_lc_rs::default_provider().key_provider.load_private_key(key.secret_der()).is_err() {
        tracing::info!("DTLS shows no certificate: the key is not one for ECDSA with P-256 or P-384");
        return None;
    }
    let own = dimpl::DtlsCertificate { certificate: own.to_vec(), private_key: key.secret_der().to_vec() };
    Some(Arc::new(DtlsCertificate { own, clients }))
}

/// The name in the client's certificate.
pub(crate) fn client_name(stream: &TlsStream<TcpStream>) -> Option<Box<str>> {
    certificate_name(stream.get_ref().1.peer_certificates()?.first()?)
}

/// The one common name in a certificate. Without one, the only name among the alternative ones that is
/// a DNS name or a URI. `None` when there are several: which of them is meant is not to be guessed
/// (T-07).
pub(crate) fn certificate_name(certificate: &CertificateDer<'_>) -> Option<Box<str>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names = certificate.subject().iter_common_name();
    match (names.next(), names.next()) {
        (Some(name), None) => return name.as_str().ok().map(Box::from),
        (Some(_), Some(_)) => return None,
        (None, _) => {}
    }
    let alternative = certificate.subject_alternative_name().ok()??;
    let mut names = alternative.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some(*name),
        _ => None,
    });
    match (names.next(), names.next()) {
        (Some(name), None) => Some(name.into()),
        _ => None,
    }
}
