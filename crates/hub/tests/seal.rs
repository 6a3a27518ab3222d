//! Secrets that have to be known again, as they stand in the store.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use roost_hub::flight::FlightKind;
use roost_hub::id::CredentialId;
use roost_hub::registry::{NewCredential, NewDevice, SealKey, Sealed, UnsealError};
use roost_hub::storage::memory::MemoryStore;
use roost_hub::storage::{Expected, Key, Store};
use roost_hub::{Hub, Ports, Settings};
use roost_testkit::world::{World, id, tenant};
use serde_json::{Value, json};

const KEY: &[u8] = b"a key of the lamp";

async fn add_key(hub: &Hub, device: &str) -> CredentialId {
    let psk = NewCredential::Psk { identity: device.to_owned(), key: Some(KEY.to_vec()) };
    hub.add_credential(&tenant(), &id(device), psk).await.unwrap().0.id
}

async fn lamp() -> (World, Store, CredentialId) {
    let store = MemoryStore::store();
    let world = World::on(store.clone());
    for device in ["lamp", "other"] {
        let new = NewDevice { id: Some(id(device)), ..NewDevice::default() };
        world.hub().create_device(&tenant(), new).await.unwrap();
    }
    let credential = add_key(world.hub(), "lamp").await;
    (world, store, credential)
}

fn place(device: &str, credential: &CredentialId) -> Key {
    Key::of("credentials").level("default").level(device).level(credential.as_str()).key().unwrap()
}

fn stored(store: &Store, key: &Key) -> Value {
    serde_json::from_slice(&store.table.get(key).unwrap().unwrap().value).unwrap()
}

fn put(store: &Store, key: &Key, value: &Value) {
    store.table.put(key, Some(Bytes::from(value.to_string())), Expected::Any).unwrap();
}

/// The same store with another key.
fn with_another_key(world: &World, store: &Store) -> Arc<Hub> {
    let seal_key = SealKey::new([8; SealKey::LENGTH]);
    let ports = Ports { seal_key, ..world.ports() };
    Hub::open(store.clone(), ports, Settings::default()).unwrap()
}

#[tokio::test]
async fn a_pre_shared_key_stands_nowhere_in_the_store_and_is_known_again_after_a_restart() {
    let (world, store, credential) = lamp().await;
    let hex_text: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    for (_, entry) in store.table.scan("", None, 1_000).unwrap() {
        let text = String::from_utf8_lossy(&entry.value).into_owned();
        assert!(!text.contains(&hex_text) && !text.contains("a key of the lamp"), "{text}");
    }
    let world = world.restarted();
    assert_eq!(world.hub().psk("lamp").unwrap().key, KEY);
    assert_eq!(world.hub().secret_of(&tenant(), &id("lamp"), &credential).unwrap().as_deref(), Some(KEY));
    assert_eq!(world.hub().secrets_of(&tenant(), &id("lamp")).unwrap(), [KEY]);
    assert_eq!(world.hub().secrets_of(&tenant(), &id("other")).unwrap(), [[0_u8; 0]; 0]);
    assert_eq!(world.hub().seal_secrets().unwrap(), Sealed::default());
}

#[tokio::test]
async fn the_same_key_is_sealed_differently_each_time() {
    let (world, store, credential) = lamp().await;
    let other = add_key(world.hub(), "other").await;
    let [one, two] = [("lamp", &credential), ("other", &other)]
        .map(|(device, credential)| stored(&store, &place(device, credential))["proof"]["sealed"].clone());
    assert!(one["text"].is_string() && one["text"] != two["text"] && one["nonce"] != two["nonce"]);
}

#[tokio::test]
async fn what_an_older_version_left_unsealed_is_sealed_at_the_start() {
    let (world, store, credential) = lamp().await;
    let key = place("lamp", &credential);
    let mut old = stored(&store, &key);
    // As versions before wrote it.
    old["proof"] = json!({ "kind": "psk", "identity": "lamp", "key_hex": "31323334353637383930" });
    put(&store, &key, &old);

    let world = world.restarted();
    assert_eq!(world.hub().psk("lamp").unwrap().key, b"1234567890");
    assert_eq!(world.hub().seal_secrets().unwrap(), Sealed { now: 1, with_another_key: 0 });
    assert_eq!(stored(&store, &key)["proof"]["key_hex"], Value::Null);
    assert_eq!(world.hub().seal_secrets().unwrap(), Sealed::default());
    assert_eq!(world.restarted().hub().psk("lamp").unwrap().key, b"1234567890");
}

#[tokio::test]
async fn without_the_key_a_store_gives_no_pre_shared_key_and_the_device_s_people_can_read_why() {
    let (world, store, credential) = lamp().await;
    let hub = with_another_key(&world, &store);
    assert_eq!(hub.seal_secrets().unwrap(), Sealed { now: 0, with_another_key: 1 });
    assert!(hub.psk("lamp").is_err());
    assert_eq!(hub.secret_of(&tenant(), &id("lamp"), &credential), Err(UnsealError::OtherKey));
    assert_eq!(hub.secrets_of(&tenant(), &id("lamp")).unwrap(), [[0_u8; 0]; 0]);
    let notes = hub.flight_entries(&tenant(), &id("lamp")).unwrap();
    let note = notes.iter().find(|note| note.kind == FlightKind::Refused).unwrap();
    assert!(note.detail.contains("sealed with another key"), "{}", note.detail);
    // The right one opens it again.
    assert_eq!(world.restarted().hub().psk("lamp").unwrap().key, KEY);
}

#[tokio::test]
async fn a_sealed_key_is_of_no_use_in_another_place_or_changed() {
    let (world, store, credential) = lamp().await;
    let other = add_key(world.hub(), "other").await;
    let (from, to) = (place("lamp", &credential), place("other", &other));
    let mut moved = stored(&store, &to);
    moved["proof"]["sealed"] = stored(&store, &from)["proof"]["sealed"].clone();
    put(&store, &to, &moved);
    assert_eq!(world.hub().secret_of(&tenant(), &id("other"), &other), Err(UnsealError::Damaged));

    for member in ["text", "nonce"] {
        let mut changed = stored(&store, &from);
        changed["proof"]["sealed"][member] = json!("00".repeat(24));
        put(&store, &from, &changed);
        assert_eq!(world.hub().secret_of(&tenant(), &id("lamp"), &credential), Err(UnsealError::Damaged));
    }
}

#[test]
fn the_key_reads_what_it_writes_and_is_not_shown() {
    let key = SealKey::new([9; SealKey::LENGTH]);
    assert_eq!(SealKey::parse(&key.reveal()), Some(key.clone()));
    assert!(!format!("{key:?}").contains(&key.reveal()) && !format!("{key:?}").contains("0909"));
    for text in ["", "09", "zz".repeat(32).as_str(), "09".repeat(33).as_str()] {
        assert_eq!(SealKey::parse(text), None, "{text:?}");
    }
}
