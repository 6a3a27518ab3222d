//! Who shakes hands: whose key it is, or whose certificate.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dimpl::PskResolver;
use roost_hub::Hub;
use roost_hub::principal::Principal;
use roost_hub::registry::Presented;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::tls;

/// Who is at the other end, once the handshake is over.
#[derive(Clone)]
pub(super) struct Identified {
    /// The identity of the key; `None` for a certificate, which nobody can guess.
    pub(super) identity: Option<Box<str>>,
    pub(super) principal: Arc<Principal>,
}

/// Finds keys, and remembers whose it found last, since the library does not tell.
pub(super) struct Resolver {
    pub(super) hub: Arc<Hub>,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    from: Option<IpAddr>,
    found: Option<Identified>,
}

impl Resolver {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, asked: Mutex::default() }
    }

    /// Says from where the next key is asked for.
    pub(super) fn expect(&self, from: IpAddr) {
        self.asked().from = Some(from);
    }

    /// Whose key was asked for since then.
    pub(super) fn take_found(&self) -> Option<Identified> {
        self.asked().found.take()
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// The lock is never held across anything that could panic.
impl std::panic::UnwindSafe for Resolver {}
impl std::panic::RefUnwindSafe for Resolver {}

impl PskResolver for Resolver {
    /// T-03: an unknown identity, and one that has to wait, get the library's random key, and fail as a
    /// wrong key does.
    fn resolve(&self, identity: &[u8]) -> Option<Vec<u8>> {
        let identity = std::str::from_utf8(identity).ok()?;
        let from = self.asked().from?;
        self.hub.throttle().allow_login(from, identity, self.hub.now()).ok()?;
        let psk = self.hub.psk(identity).ok()?;
        self.asked().found = Some(Identified { identity: Some(identity.into()), principal: psk.principal });
        Some(psk.key)
    }
}

/// Whose certificate this is; `None` when it is not valid now, not signed by an authority of ours
/// itself, or names nobody. That the client has its key is the library's to check.
pub(super) fn by_certificate(
    hub: &Hub,
    authority: &dyn ClientCertVerifier,
    certificate: &[u8],
) -> Option<Identified> {
    let certificate = CertificateDer::from(certificate);
    let seconds = u64::try_from(hub.now().0 / 1_000).ok()?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    if let Err(error) = authority.verify_client_cert(&certificate, &[], now) {
        tracing::debug!(%error, "a client certificate over DTLS is refused");
        return None;
    }
    let name = tls::certificate_name(&certificate)?;
    let principal = hub.authenticate(Presented::Certificate { common_name: &name }).ok()?;
    Some(Identified { identity: None, principal })
}
