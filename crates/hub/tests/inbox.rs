//! The inbox: who waits, who is let in, and what is turned away.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use roost_hub::id::{DeviceId, ProfileId, TenantId};
use roost_hub::inbox::{
    Accept, AcceptError, INBOX_MAX, INBOX_RULES_MAX, InboxRule, Proposed, PutInboxRulesError, Recognised,
    Recognition, inbox_rules_etag,
};
use roost_hub::registry::{CreateDeviceError, DeviceUpdate, NewDevice, UpdateDeviceError};
use roost_testkit::world::{World, id, tenant};
use serde_json::{Value, json};

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
async fn what_a_device_reported_while_it_waited_is_its_twins_once_it_is_let_in() {
    let world = World::new();
    let hub = world.hub();
    for sample in [
        json!({ "reported": { "fw": "1.2", "mode": "eco" } }),
        json!({ "Keys": { "t": { "unit": "°C" } }, "t": 21 }),
        json!({ "reported": { "mode": "away" } }),
    ] {
        hub.recognise(&tenant(), spot("1187", sample)).unwrap();
    }
    let waiting = hub.inbox(&tenant(), (10, None)).unwrap().items.remove(0);
    let (device, _, _) = hub.accept(&tenant(), &waiting.id, Accept::default()).await.unwrap();
    let twin = hub.twin(&tenant(), &device.id).unwrap();
    let expected = json!({ "fw": "1.2", "mode": "away", "Keys": { "t": { "unit": "°C" } } });
    assert_eq!(Value::Object(twin.reported), expected);
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

fn rule(value: Value) -> InboxRule {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn a_rule_lets_in_whom_it_matches_and_nobody_else() {
    let world = World::new();
    let hub = world.hub();
    let wanted = json!({ "dialect": "spot", "name": "11*", "labels": { "hall": "7" }, "profile": "strict" });
    hub.put_inbox_rules(&tenant(), (vec![rule(wanted)], None)).await.unwrap();
    let mut labelled = spot("1187", json!({ "spot": 1 }));
    labelled.proposed.labels.insert("maker".to_owned(), "x".to_owned());
    assert_eq!(hub.recognise(&tenant(), labelled).unwrap(), Recognition::Device(id("spot-1187")));
    let device = hub.device(&tenant(), &id("spot-1187")).unwrap().unwrap();
    assert_eq!((device.profile.as_str(), device.labels.len()), ("strict", 2));
    assert_eq!(device.links, [json!({ "listen": "spot", "serial": "1187" })]);
    assert!(
        hub.flight_entries(&tenant(), &device.id).unwrap().iter().any(|entry| entry.detail.contains("11*"))
    );
    assert_eq!(hub.recognise(&tenant(), spot("1287", Value::Null)).unwrap(), Recognition::Waiting);
    let other = Recognised { dialect: "tasmota", ..spot("1188", Value::Null) };
    assert_eq!(hub.recognise(&tenant(), other).unwrap(), Recognition::Waiting);
    assert_eq!(hub.inbox_rules(&tenant()).unwrap()[0].accepted, 1);
}

#[tokio::test]
async fn rules_let_in_those_that_wait_already_and_only_behind_their_gateway() {
    let world = World::new();
    let hub = world.hub();
    for gateway in ["gate-1", "gate-2"] {
        world.create_device(gateway);
        let unit = Recognised { dialect: "tasmota", parent: Some(id(gateway)), ..spot("plug", Value::Null) };
        let proposed = Proposed { id: Some(id(&format!("{gateway}.plug"))), ..Proposed::default() };
        hub.recognise(&tenant(), Recognised { proposed, ..unit }).unwrap();
    }
    let rules = vec![rule(json!({ "dialect": "tasmota", "parent": "gate-2" }))];
    let rules = hub.put_inbox_rules(&tenant(), (rules, None)).await.unwrap();
    assert_eq!(rules[0].accepted, 1);
    let device = hub.device(&tenant(), &id("gate-2.plug")).unwrap().unwrap();
    assert_eq!((device.parent, device.profile.as_str()), (Some(id("gate-2")), "tasmota"));
    let page = hub.inbox(&tenant(), (10, None)).unwrap();
    let [waiting] = page.items.as_slice() else { panic!("{page:?}") };
    assert_eq!(waiting.parent, Some(id("gate-1")));
}

#[tokio::test]
async fn a_rule_lets_in_no_more_than_its_limit_also_when_it_is_set_again() {
    let world = World::new();
    let rules = vec![rule(json!({ "dialect": "spot", "limit": 2, "accepted": 0 }))];
    world.hub().put_inbox_rules(&tenant(), (rules.clone(), None)).await.unwrap();
    for (serial, lets_in) in [("1", true), ("2", true), ("3", false)] {
        let found = world.hub().recognise(&tenant(), spot(serial, Value::Null)).unwrap();
        assert_eq!(found != Recognition::Waiting, lets_in, "{serial}");
    }
    let world = world.restarted();
    let hub = world.hub();
    let rules = hub.put_inbox_rules(&tenant(), (rules, None)).await.unwrap();
    assert_eq!((rules[0].accepted, hub.inbox(&tenant(), (10, None)).unwrap().items.len()), (2, 1));
    let more = hub
        .put_inbox_rules(&tenant(), (vec![InboxRule { limit: 3, ..rules[0].clone() }], None))
        .await
        .unwrap();
    assert_eq!((more[0].accepted, hub.inbox(&tenant(), (10, None)).unwrap().items.len()), (3, 0));
}

#[tokio::test]
async fn what_a_rule_cannot_register_waits_for_a_person() {
    let world = World::with(|settings| settings.devices_max = 2);
    world.create_device("spot-1");
    let hub = world.hub();
    hub.put_inbox_rules(&tenant(), (vec![rule(json!({ "dialect": "spot" }))], None)).await.unwrap();
    assert_eq!(hub.recognise(&tenant(), spot("1", Value::Null)).unwrap(), Recognition::Waiting);
    assert_eq!(hub.recognise(&tenant(), spot("2", Value::Null)).unwrap(), Recognition::Device(id("spot-2")));
    assert_eq!(hub.recognise(&tenant(), spot("3", Value::Null)).unwrap(), Recognition::Waiting);
    assert_eq!(hub.inbox_rules(&tenant()).unwrap()[0].accepted, 1);
}

#[tokio::test]
async fn rules_that_cannot_be_are_refused_and_change_nothing() {
    let world = World::new();
    let hub = world.hub();
    let good = rule(json!({ "dialect": "spot" }));
    hub.put_inbox_rules(&tenant(), (vec![good.clone()], None)).await.unwrap();
    let bad = [
        InboxRule { dialect: "martian".to_owned(), ..good.clone() },
        InboxRule { name: String::new(), ..good.clone() },
        InboxRule { name: "x".repeat(129), ..good.clone() },
        InboxRule { limit: 0, ..good.clone() },
        InboxRule { labels: [(String::new(), String::new())].into(), ..good.clone() },
        InboxRule { profile: ProfileId::parse("nowhere").ok(), ..good.clone() },
    ];
    for rules in bad.map(|rule| vec![rule]).into_iter().chain([vec![good.clone(); INBOX_RULES_MAX + 1]]) {
        let refused = hub.put_inbox_rules(&tenant(), (rules, None)).await;
        assert!(matches!(refused, Err(PutInboxRulesError::Invalid(_))));
    }
    assert_eq!(hub.inbox_rules(&tenant()).unwrap(), [good]);
}

#[tokio::test]
async fn rules_count_in_their_tenant_only_and_go_with_it() {
    let world = World::new();
    let hub = world.hub();
    world.principal_of_tenant("other");
    let other = TenantId::parse("other").unwrap();
    hub.put_inbox_rules(&other, (vec![rule(json!({ "dialect": "spot" }))], None)).await.unwrap();
    assert_eq!(hub.recognise(&tenant(), spot("1", Value::Null)).unwrap(), Recognition::Waiting);
    assert!(hub.inbox_rules(&tenant()).unwrap().is_empty());
    hub.delete_tenant(&other).await.unwrap();
    assert!(hub.inbox_rules(&other).unwrap().is_empty());
}

#[tokio::test]
async fn rules_are_set_only_instead_of_those_that_the_etag_names() {
    let world = World::new();
    let hub = world.hub();
    let (one, two) = (vec![rule(json!({ "dialect": "spot" }))], vec![rule(json!({ "dialect": "olimex" }))]);
    let none = inbox_rules_etag(&[]);
    hub.put_inbox_rules(&tenant(), (one.clone(), Some(&none))).await.unwrap();
    let stale = hub.put_inbox_rules(&tenant(), (two.clone(), Some(&none))).await;
    assert_eq!(stale, Err(PutInboxRulesError::Conflict(inbox_rules_etag(&one))));
    // Whom they let in meanwhile makes no other rules of them.
    hub.let_in_by_rule(&tenant(), &spot("1187", Value::Null)).unwrap().unwrap();
    assert_eq!(hub.inbox_rules(&tenant()).unwrap()[0].accepted, 1);
    hub.put_inbox_rules(&tenant(), (two, Some(&inbox_rules_etag(&one)))).await.unwrap();
}
