//! Devices made for Azure IoT Hub that log in with a shared access signature.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roost_hub::id::ProfileId;
use roost_hub::registry::{DeviceUpdate, NewCredential};
use roost_wire::mqtt::{Connect, ReasonCode, Version};
use sha2::{Digest, Sha256};

use crate::common::{World, connect, device, tenant};

const KEY: &[u8] = b"a-symmetric-key-of-32-bytes-long";
const USER: &str = "hub.example/s1/?api-version=2021-04-12&DeviceClientType=azure-iot-device";
const RESOURCE: &str = "hub.example%2Fdevices%2Fs1";

/// HMAC by its definition (RFC 2104); the key is shorter than a block.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let padded = |pad: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ pad).collect() };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

/// A password as Azure's libraries make it.
fn password(key: &[u8], resource: &str, expiry: i64) -> String {
    let signature = STANDARD.encode(hmac(key, format!("{resource}\n{expiry}").as_bytes()));
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}")
}

/// A world in which `s1` has the key under this name, and this profile.
async fn world(identity: &str, profile: &str) -> World {
    let world = World::new().await;
    let update = DeviceUpdate { profile: ProfileId::parse(profile).ok(), ..DeviceUpdate::default() };
    world.hub.update_device(&tenant(), &device(), update).await.unwrap();
    let new = NewCredential::Psk { identity: identity.to_owned(), key: Some(KEY.to_vec()) };
    world.hub.add_credential(&tenant(), &device(), new).await.unwrap();
    world
}

async fn log_in(world: &World, username: &str, password: &str) -> ReasonCode {
    let login = Connect {
        client_id: "s1",
        username: Some(username),
        password: Some(password.as_bytes()),
        ..connect(Version::V5)
    };
    world.client().await.try_log_in(&login).await.reason
}

fn in_an_hour(world: &World) -> i64 {
    world.hub.now().0 / 1_000 + 3_600
}

#[tokio::test]
async fn a_device_logs_in_with_a_signature_made_from_its_key() {
    for identity in ["s1", "hub.example/devices/s1"] {
        let world = world(identity, "azure").await;
        let right = password(KEY, RESOURCE, in_an_hour(&world));
        assert_eq!(log_in(&world, USER, &right).await, ReasonCode::Success, "{identity}");
        assert!(world.hub.presence(&tenant(), &device()).last_seen.is_some());
    }
}

#[tokio::test]
async fn a_signature_that_is_not_right_opens_nothing() {
    let world = world("s1", "azure").await;
    world.device("s2").await;
    let expiry = in_an_hour(&world) + 24 * 3_600;
    let right = password(KEY, RESOURCE, expiry);
    let later = right.replace(&format!("se={expiry}"), &format!("se={}", expiry + 1));
    let of_other = "hub.example%2Fdevices%2Fs2";
    let other_user = USER.replace("s1", "s2");
    for (user, shown) in [
        (USER, password(b"another-key-of-somebody", RESOURCE, expiry)),
        (USER, later),
        (USER, password(KEY, of_other, expiry)),
        (&other_user, password(KEY, of_other, expiry)),
        (&other_user, right.clone()),
        (USER, password(KEY, RESOURCE, world.hub.now().0 / 1_000 - 1)),
        (USER, "SharedAccessSignature sr=&sig=&se=".to_owned()),
        ("s1", right.clone()),
    ] {
        let reason = log_in(&world, user, &shown).await;
        assert_eq!(reason, ReasonCode::BadUserNameOrPassword, "{user} {shown}");
        // Who was wrong has to wait.
        world.advance(Duration::from_secs(3_600));
    }
    assert_eq!(log_in(&world, USER, &right).await, ReasonCode::Success);
}

#[tokio::test]
async fn only_devices_that_speak_azure_may_show_signatures() {
    let world = world("s1", "standard").await;
    let right = password(KEY, RESOURCE, in_an_hour(&world));
    assert_eq!(log_in(&world, USER, &right).await, ReasonCode::BadUserNameOrPassword);
}

#[tokio::test]
async fn what_a_signature_opened_holds_no_longer_than_it() {
    let world = world("s1", "azure").await;
    let right = password(KEY, RESOURCE, world.hub.now().0 / 1_000 + 60);
    assert_eq!(log_in(&world, USER, &right).await, ReasonCode::Success);
    world.advance(Duration::from_secs(61));
    assert_eq!(log_in(&world, USER, &right).await, ReasonCode::BadUserNameOrPassword);
}
