//! The inbox: who waits, who is let in, and what is turned away.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use roost_hub::id::{DeviceId, TenantId};
use roost_hub::inbox::{Accept, AcceptError, INBOX_MAX, Proposed, Recognised, Recognition};
use roost_hub::registry::{CreateDeviceError, DeviceUpdate, NewDevice, UpdateDeviceError};
use roost_testkit::world::World;
use serde_json::{Value, json};

fn tenant() -> TenantId {
    TenantId::parse("default").unwrap()
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn spot(serial: &str, sample: Value) -> Recognised {
    let proposed = Proposed { id: DeviceId::parse(&format!("spot-{serial}")).ok(), ..Proposed::default() };
    Recognised { dialect: "spot", name: serial.to_owned(), parent: None, proposed, sample }
}

#[tokio::test]
async fn a_recognised_device_waits_once_and_is_let_in_with_its_link() {
    let world = World::new();
    let hub = world.hub();
    for sample in [json!({ "spot": 1 }), json!({ "presence": 2 })] {
        assert_eq!(hub.recognise(&tenant(), spot("1187", sample)).unwrap(), Recognition::Waiting);
    }
    let page = hub.inbox(&tenant(), (10, None)).unwrap();
    let [waiting] = page.items.as_slice() else { panic!("{page:?}") };
    assert_eq!(waiting.sample, json!({ "spot": 1, "presence": 2 }));
    assert!(hub.device(&tenant(), &id("spot-1187")).unwrap().is_none());

    let accept = Accept { name: Some("gate".to_owned()), ..Accept::default() };
    let (device, _, _) = hub.accept(&tenant(), &waiting.id, accept).await.unwrap();
    assert_eq!((device.id.as_str(), &*device.name, device.profile.as_str()), ("spot-1187", "gate", "spot"));
    assert_eq!(device.links, [json!({ "listen": "spot", "serial": "1187" })]);
    let known = hub.recognise(&tenant(), spot("1187", Value::Null)).unwrap();
    assert_eq!(known, Recognition::Device(id("spot-1187")));
    assert!(hub.inbox(&tenant(), (10, None)).unwrap().items.is_empty());
    let again = hub.accept(&tenant(), &waiting.id, Accept::default()).await;
    assert!(matches!(again, Err(AcceptError::Unknown)));
}

#[tokio::test]
async fn what_waits_survives_a_restart_and_can_be_dismissed() {
    let world = World::new();
    world.hub().recognise(&tenant(), spot("1", Value::Null)).unwrap();
    let world = world.restarted();
    let hub = world.hub();
    let waiting = hub.inbox(&tenant(), (10, None)).unwrap().items.remove(0);
    world.advance(Duration::from_secs(60));
    hub.recognise(&tenant(), spot("1", json!(7))).unwrap();
    let later = hub.inbox(&tenant(), (10, None)).unwrap().items.remove(0);
    assert!(later.last_seen_at > waiting.last_seen_at && later.first_seen_at == waiting.first_seen_at);
    assert!(hub.dismiss(&tenant(), &waiting.id).await.unwrap());
    assert!(!hub.dismiss(&tenant(), &waiting.id).await.unwrap());
    assert!(hub.inbox(&tenant(), (10, None)).unwrap().items.is_empty());
}

#[tokio::test]
async fn an_id_that_is_taken_lets_it_wait_on() {
    let world = World::new();
    world.create_device("spot-1");
    let hub = world.hub();
    hub.recognise(&tenant(), spot("1", Value::Null)).unwrap();
    let waiting = hub.inbox(&tenant(), (10, None)).unwrap().items.remove(0);
    let refused = hub.accept(&tenant(), &waiting.id, Accept::default()).await;
    assert!(matches!(refused, Err(AcceptError::Create(CreateDeviceError::Exists))));
    let other = Accept { id: Some(id("other")), ..Accept::default() };
    assert_eq!(hub.accept(&tenant(), &waiting.id, other).await.unwrap().0.id, id("other"));
}

#[tokio::test]
async fn a_full_inbox_turns_away_and_pages_hold_everything() {
    let world = World::new();
    let hub = world.hub();
    for serial in 0..INBOX_MAX {
        let waits = hub.recognise(&tenant(), spot(&serial.to_string(), Value::Null)).unwrap();
        assert_eq!(waits, Recognition::Waiting);
    }
    let turned_away = hub.recognise(&tenant(), spot("x", Value::Null)).unwrap();
    assert_eq!(turned_away, Recognition::TurnedAway);
    assert_eq!(hub.recognise(&tenant(), spot("1", Value::Null)).unwrap(), Recognition::Waiting);
    let (mut found, mut cursor) = (0, None);
    loop {
        let page = hub.inbox(&tenant(), (300, cursor.as_deref())).unwrap();
        found += page.items.len();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, INBOX_MAX);
    let first = hub.inbox(&tenant(), (1, None)).unwrap().items.remove(0);
    hub.dismiss(&tenant(), &first.id).await.unwrap();
    assert_eq!(hub.recognise(&tenant(), spot("x", Value::Null)).unwrap(), Recognition::Waiting);
}

#[tokio::test]
async fn a_name_behind_a_gateway_counts_behind_that_gateway_only() {
    let world = World::new();
    let hub = world.hub();
    let link = json!({ "listen": "unit", "ip": "192.168.2.10" });
    for (device, gateway) in [("left", "gate-1"), ("right", "gate-2")] {
        world.create_device(gateway);
        let new = NewDevice {
            id: Some(id(device)),
            parent: Some(id(gateway)),
            links: vec![link.clone()],
            ..NewDevice::default()
        };
        hub.create_device(&tenant(), new).await.unwrap();
    }
    let name = ("unit", "192.168.2.10");
    let found = |gateway| hub.device_by_name(&tenant(), Some(&id(gateway)), name).unwrap();
    assert_eq!((found("gate-1"), found("gate-2")), (Some(id("left")), Some(id("right"))));
    let moved = DeviceUpdate { parent: Some(Some(id("gate-2"))), ..DeviceUpdate::default() };
    let refused = hub.update_device(&tenant(), &id("left"), moved).await;
    assert!(matches!(refused, Err(UpdateDeviceError::Invalid(_))));
    hub.delete_device(&tenant(), &id("gate-1")).await.unwrap();
    assert_eq!(found("gate-1"), None);
    assert_eq!(hub.device_by_name(&tenant(), None, name).unwrap(), Some(id("left")));
}

#[tokio::test]
async fn a_serial_of_another_tenant_does_not_wait() {
    let world = World::new();
    let hub = world.hub();
    world.principal_of_tenant("other");
    let link = json!({ "listen": "spot", "serial": "1" });
    let new = NewDevice { links: vec![link], ..NewDevice::default() };
    hub.create_device(&TenantId::parse("other").unwrap(), new).await.unwrap();
    let turned_away = hub.recognise(&tenant(), spot("1", Value::Null)).unwrap();
    assert_eq!(turned_away, Recognition::TurnedAway);
}

#[tokio::test]
async fn a_link_that_names_nothing_is_refused() {
    let world = World::new();
    for link in [
        json!({ "listen": "spot" }),
        json!({ "listen": "spot", "serial": "" }),
        json!({ "listen": "spot", "serial": [1] }),
        json!({ "listen": "nobody", "name": "x" }),
        json!({ "listen": 7, "name": "x" }),
        json!({ "listen": "tasmota", "name": "x".repeat(129) }),
    ] {
        let new = NewDevice { links: vec![link.clone()], ..NewDevice::default() };
        let refused = world.hub().create_device(&tenant(), new).await;
        assert!(matches!(refused, Err(CreateDeviceError::Invalid(_))), "{link}");
    }
}
