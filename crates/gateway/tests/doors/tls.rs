//! The doors with TLS.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use roost_gateway::{Settings, Tls};
use roost_hub::registry::NewCredential;
use roost_hub::storage::memory::MemoryStore;
use roost_wire::mqtt::{Connect, Packet, Version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::common::{PATIENCE, World, connect, device, hasty, tenant};

/// An authority with a certificate of the server in a folder of its own.
pub(crate) struct Authority {
    folder: PathBuf,
    key: KeyPair,
    certificate: Certificate,
    params: CertificateParams,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("roost-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let authority = Self { folder, key, certificate, params };
        authority.sign("server", "localhost");
        std::fs::write(authority.path("ca.pem"), authority.certificate.pem()).unwrap();
        authority
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes `{file}.pem` and `{file}.key`.
    pub(crate) fn sign(&self, file: &str, common_name: &str) {
        let mut params = CertificateParams::new(vec![common_name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        self.sign_params(file, &params);
    }

    /// The same for a certificate that says something else.
    pub(crate) fn sign_params(&self, file: &str, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    pub(crate) fn open(&self) -> Arc<Tls> {
        let authority = Some(self.path("ca.pem"));
        Tls::open(self.path("server.pem"), self.path("server.key"), authority).unwrap()
    }

    fn client_config(&self, shown: Option<&str>) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let read = |path: &Path| CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect();
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(read(&self.path(&format!("{name}.pem"))), key).unwrap()
            }
        };
        Arc::new(config)
    }

    async fn client(
        &self,
        address: std::net::SocketAddr,
        shown: Option<&str>,
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(self.client_config(shown)).connect(name, stream).await.unwrap()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

async fn connack(
    stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin),
    connect: Connect<'static>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    Packet::Connect(Box::new(connect)).encode(Version::V3, &mut bytes).unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = async { while answer.len() < 4 && stream.read_buf(&mut answer).await.unwrap() > 0 {} };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    answer
}

#[tokio::test]
async fn mqtt_and_http_pass_through_tls() {
    let authority = Authority::new("pass");
    let world = World::on(MemoryStore::store(), Settings::default(), Some(authority.open())).await;
    let mut client = authority.client(world.mqtt, None).await;
    assert_eq!(connack(&mut client, connect(Version::V3)).await, b"\x20\x02\x00\x00");
    let mut client = authority.client(world.http, None).await;
    client.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    drop(tokio::time::timeout(PATIENCE, client.read_to_end(&mut answer)).await.unwrap());
    assert!(answer.starts_with(b"HTTP/1.1 404 "));
}

#[tokio::test]
async fn a_certificate_says_which_device_it_is() {
    let authority = Authority::new("certificate");
    authority.sign("device", "s1");
    authority.sign("stranger", "nobody");
    let world = World::on(MemoryStore::store(), Settings::default(), Some(authority.open())).await;
    let new = NewCredential::X509 { common_name: None };
    world.hub.add_credential(&tenant(), &device(), new).await.unwrap();
    let nameless = || Connect { username: None, password: None, ..connect(Version::V3) };
    let mut client = authority.client(world.mqtt, Some("device")).await;
    assert_eq!(connack(&mut client, nameless()).await, b"\x20\x02\x00\x00");
    let mut client = authority.client(world.mqtt, Some("stranger")).await;
    assert_eq!(connack(&mut client, nameless()).await, b"\x20\x02\x00\x04");
    let mut client = authority.client(world.mqtt, None).await;
    assert_eq!(connack(&mut client, nameless()).await, b"\x20\x02\x00\x05");
}

#[tokio::test]
async fn a_user_name_without_a_password_does_not_count_beside_a_certificate() {
    let authority = Authority::new("named");
    authority.sign("device", "s1");
    authority.sign("stranger", "nobody");
    let world = World::on(MemoryStore::store(), Settings::default(), Some(authority.open())).await;
    let new = NewCredential::X509 { common_name: None };
    world.hub.add_credential(&tenant(), &device(), new).await.unwrap();
    let named = |name: &'static str| Connect { username: Some(name), password: None, ..connect(Version::V3) };
    let mut client = authority.client(world.mqtt, Some("device")).await;
    assert_eq!(connack(&mut client, named("?SDK=PythonV2&Version=1.31.0")).await, b"\x20\x02\x00\x00");
    let mut client = authority.client(world.mqtt, Some("stranger")).await;
    assert_eq!(connack(&mut client, named("hub/s1/?api-version=2019-10-01")).await, b"\x20\x02\x00\x04");
    let mut client = authority.client(world.mqtt, None).await;
    assert_eq!(connack(&mut client, named("s1")).await, b"\x20\x02\x00\x04");
}

#[tokio::test]
async fn m_06_mqtt_on_the_tls_port_is_closed() {
    let authority = Authority::new("plain");
    let world = World::on(MemoryStore::store(), Settings::default(), Some(authority.open())).await;
    let mut client = world.client().await;
    client.bytes(b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x3C\x00\x01c").await;
    let rest = client.rest().await;
    // At most a TLS alert.
    assert!(rest.is_empty() || rest[0] == 0x15, "{rest:x?}");
}

#[test]
fn t_08_what_is_no_certificate_is_named() {
    let authority = Authority::new("broken");
    let missing = authority.path("missing.pem");
    let error = Tls::open(missing, authority.path("server.key"), None).unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
    authority.sign("other", "other");
    assert!(Tls::open(authority.path("server.pem"), authority.path("other.key"), None).is_err());
}

/// A ClientHello in a record, as a client of the given version and with these cipher suites writes it.
fn client_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let suites_length = u16::try_from(suites.len()).unwrap().to_be_bytes();
    let version = version.to_be_bytes();
    let hello = [&version[..], &[7; 32], &[0], &suites_length, &suites, &[1, 0], &[0, 0]].concat();
    let handshake = [&[1, 0][..], &u16::try_from(hello.len()).unwrap().to_be_bytes(), &hello].concat();
    record(version, &handshake)
}

fn record(version: [u8; 2], handshake: &[u8]) -> Vec<u8> {
    let length = u16::try_from(handshake.len()).unwrap().to_be_bytes();
    [&[0x16][..], &version, &length, handshake].concat()
}

/// What the server says to these bytes until it closes.
async fn said(address: std::net::SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before all of it is written.
    drop(stream.write_all(bytes).await);
    let mut answer = Vec::new();
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it stays open"));
    answer
}

#[tokio::test]
async fn t_06_old_versions_and_weak_suites_are_refused_by_an_alert() {
    let authority = Authority::new("old");
    let world = World::on(MemoryStore::store(), Settings::default(), Some(authority.open())).await;
    let good = [0xC02B, 0xC02F, 0xC02C, 0xC030];
    // Export, anonymous, without encryption, RC4, and CBC with RSA's key exchange.
    let weak = [0x0003, 0x0006, 0x0008, 0x0014, 0x0017, 0x0018, 0x0001, 0x0004, 0x0005, 0x002F];
    for (version, suites) in
        [(0x0300, &good[..]), (0x0301, &good), (0x0302, &good), (0x0303, &weak), (0x0303, &[])]
    {
        for address in [world.mqtt, world.http] {
            let answer = said(address, &client_hello(version, suites)).await;
            // One fatal alert, and no handshake.
            assert!(matches!(answer[..], [0x15, 3, _, 0, 2, 2, _]), "{version:x} {suites:x?}: {answer:x?}");
        }
    }
    let mut client = authority.client(world.mqtt, None).await;
    assert_eq!(connack(&mut client, connect(Version::V3)).await, b"\x20\x02\x00\x00");
}

#[tokio::test]
async fn t_06_a_handshake_that_is_none_or_never_ends_is_ended() {
    let authority = Authority::new("endless");
    let world = World::on(MemoryStore::store(), hasty(), Some(authority.open())).await;
    let hello = client_hello(0x0303, &[0xC02B]);
    let endless = [0x16, 3, 3, 0x40, 0].repeat(3);
    for bytes in [
        &b""[..],
        &hello[..20],
        // A message of 16 MiB is announced, and its first records come.
        &record([3, 3], &[1, 0xFF, 0xFF, 0xFF]),
        &endless,
        &[0xFF; 100_000],
    ] {
        let answer = said(world.mqtt, bytes).await;
        assert!(answer.len() <= 7, "{answer:x?}");
    }
    let mut client = authority.client(world.mqtt, None).await;
    assert_eq!(connack(&mut client, connect(Version::V3)).await, b"\x20\x02\x00\x00");
}

#[tokio::test]
async fn t_06_many_handshakes_at_once_that_go_no_further_hold_up_nobody() {
    let authority = Authority::new("flood");
    let world = World::on(MemoryStore::store(), Settings::default(), Some(authority.open())).await;
    let hello = client_hello(0x0303, &[0xC02B]);
    let mut begun = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(world.mqtt).await.unwrap();
        stream.write_all(&hello[..hello.len() - 1]).await.unwrap();
        begun.push(stream);
        // And one that has the server's whole answer, and says no more.
        let name = ServerName::try_from("localhost").unwrap();
        let mut half = rustls::ClientConnection::new(authority.client_config(None), name).unwrap();
        let (mut hello, mut answer) = (Vec::new(), Vec::new());
        half.write_tls(&mut hello).unwrap();
        let mut stream = TcpStream::connect(world.mqtt).await.unwrap();
        stream.write_all(&hello).await.unwrap();
        tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer[0], 0x16, "{answer:x?}");
        begun.push(stream);
    }
    let mut client = authority.client(world.mqtt, None).await;
    assert_eq!(connack(&mut client, connect(Version::V3)).await, b"\x20\x02\x00\x00");
    drop(begun);
}
