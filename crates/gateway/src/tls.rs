//! Certificates: read from PEM files, read again when the files change. What is connected stays.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

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
    current: Mutex<Arc<ServerConfig>>,
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
        Ok(Arc::new(Self { files, current }))
    }

    /// Shakes hands.
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
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
                Ok(config) => {
                    *self.current.lock().unwrap_or_else(PoisonError::into_inner) = config;
                    tracing::info!(certificate = %self.files.certificate.display(), "certificate read again");
                }
                Err(error) => tracing::error!(%error, "the new certificate is not used, the old one stays"),
            }
        }
    }
}

impl Files {
    fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.client_authority {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = rustls::RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate)?;
                }
                // A device without a certificate may still show a token.
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::Pem(self.key.clone(), error))?;
        let mut config = builder.with_single_cert(certificates(&self.certificate)?, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"mqtt".to_vec()];
        Ok(Arc::new(config))
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

/// The one common name of the client's certificate; `None` when it has none, or several.
pub(crate) fn common_name(stream: &TlsStream<TcpStream>) -> Option<Box<str>> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names = certificate.subject().iter_common_name();
    match (names.next(), names.next()) {
        (Some(name), None) => name.as_str().ok().map(Box::from),
        _ => None,
    }
}
