//! DTLS with certificates; the client is the library's other half.

use std::sync::Arc;

use dimpl::{Config, Dtls, DtlsCertificate};
use rcgen::{CertificateParams, DnType, SanType, date_time_ymd};
use roost_gateway::{Settings, Tls};
use roost_hub::reading::Value;
use roost_hub::registry::NewCredential;
use roost_hub::storage::memory::MemoryStore;
use roost_wire::coap::Code;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::ask;
use super::dtls::{Device, SILENCE, latest, now};
use crate::common::{PATIENCE, World, device, tenant};
use crate::tls::Authority;

/// A device that shows `{file}.pem`.
async fn sensor(world: &World, authority: &Authority, file: &str) -> Device {
    let certificate = CertificateDer::from_pem_file(authority.path(&format!("{file}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(authority.path(&format!("{file}.key"))).unwrap();
    let own = DtlsCertificate { certificate: certificate.to_vec(), private_key: key.secret_der().to_vec() };
    let mut dtls = Dtls::new_12(Arc::new(Config::default()), own, now());
    dtls.set_active(true);
    Device::with(world, dtls).await
}

/// Where certificates with the device's id are its own.
async fn world(tls: Arc<Tls>) -> World {
    let world = World::on(MemoryStore::store(), Settings::default(), Some(tls)).await;
    let new = NewCredential::X509 { common_name: None };
    world.hub.add_credential(&tenant(), &device(), new).await.unwrap();
    world
}

#[tokio::test]
async fn a_device_with_a_certificate_needs_no_token() {
    let authority = Authority::new("coap");
    authority.sign("common", "s1");
    let mut params = CertificateParams::new(vec!["s1".to_owned()]).unwrap();
    params.distinguished_name.remove(DnType::CommonName);
    authority.sign_params("alternative", &params);
    let world = world(authority.open()).await;
    for (file, key) in [("common", "a"), ("alternative", "b")] {
        let mut sensor = sensor(&world, &authority, file).await;
        assert!(sensor.connect(PATIENCE).await, "{file}");
        let post = ask(&format!("me/telemetry/{key}")).without_token().payload("1");
        sensor.call(Code::POST, post).await.expect(Code::CHANGED);
        assert_eq!(latest(&world, key), Some(Value::Integer(1)));
    }
}

#[tokio::test]
async fn t_07_a_certificate_that_is_not_good_here_opens_nothing() {
    let (authority, other) = (Authority::new("coap-good"), Authority::new("coap-other"));
    let named = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        CertificateParams::new(names).unwrap()
    };
    other.sign("stranger", "s1");
    authority.sign("unknown", "nobody");
    authority.sign("nul", "s1\0");
    let mut expired = named(&["s1"]);
    expired.distinguished_name.push(DnType::CommonName, "s1");
    (expired.not_before, expired.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    authority.sign_params("expired", &expired);
    // Which one is meant is not guessed.
    let mut several = named(&["s1", "s2"]);
    several.distinguished_name.remove(DnType::CommonName);
    authority.sign_params("several", &several);
    let mut address = named(&[]);
    address.distinguished_name.remove(DnType::CommonName);
    address.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    authority.sign_params("address", &address);
    authority.sign("good", "s1");
    let world = world(authority.open()).await;
    for (signer, file) in [
        (&other, "stranger"),
        (&authority, "unknown"),
        (&authority, "nul"),
        (&authority, "expired"),
        (&authority, "several"),
        (&authority, "address"),
    ] {
        let mut refused = sensor(&world, signer, file).await;
        assert!(!refused.connect(SILENCE).await, "{file}");
    }
    assert!(sensor(&world, &authority, "good").await.connect(PATIENCE).await, "others are not disturbed");
}

#[tokio::test]
async fn without_an_authority_for_clients_the_server_shows_its_certificate_and_devices_a_token() {
    let authority = Authority::new("coap-token");
    authority.sign("any", "any");
    let tls = Tls::open(authority.path("server.pem"), authority.path("server.key"), None).unwrap();
    let world = world(tls).await;
    let mut sensor = sensor(&world, &authority, "any").await;
    assert!(sensor.connect(PATIENCE).await);
    let post = ask("me/telemetry/a").payload("1");
    sensor.call(Code::POST, post.clone().without_token()).await.expect(Code::UNAUTHORIZED);
    sensor.call(Code::POST, post).await.expect(Code::CHANGED);
    assert_eq!(latest(&world, "a"), Some(Value::Integer(1)));
}
