//! Twins by their public verbs.

use std::time::Duration;

use roost_hub::broker::Outgoing;
use roost_hub::id::DeviceId;
use roost_hub::message::QoS;
use roost_hub::twin::{PatchTwinError, ReportTwinError};
use roost_testkit::world::{World, lamp, options, tenant};
use serde_json::{Value, json};

fn report(world: &World, payload: &str) -> Result<(), ReportTwinError> {
    let now = world.hub().now();
    world.hub().report_twin(&tenant(), &lamp(), payload.as_bytes(), now).map(drop)
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!({ "a": inner }))
}

#[tokio::test]
async fn desired_counts_its_versions_and_a_patch_that_changes_nothing_is_none() {
    let world = World::with_lamp();
    let (tenant, lamp) = (tenant(), lamp());
    let patch = |value| world.hub().patch_desired(&tenant, &lamp, value, None);
    assert_eq!(patch(json!({"a": 1, "b": {"c": 2}})).await.unwrap().version, 1);
    assert_eq!(patch(json!({"a": 1})).await.unwrap().version, 1);
    let twin = patch(json!({"a": null, "b": {"d": 3}})).await.unwrap();
    assert_eq!((twin.version, Value::Object(twin.desired)), (2, json!({"b": {"c": 2, "d": 3}})));
    assert!(twin.desired_at.contains_key("b") && !twin.desired_at.contains_key("a"));
}

#[tokio::test]
async fn a_patch_for_another_version_is_a_conflict_that_shows_the_twin() {
    let world = World::with_lamp();
    let (hub, tenant, lamp) = (world.hub(), tenant(), lamp());
    hub.patch_desired(&tenant, &lamp, json!({"a": 1}), Some(0)).await.unwrap();
    let conflict = hub.patch_desired(&tenant, &lamp, json!({"a": 2}), Some(0)).await;
    assert!(matches!(conflict, Err(PatchTwinError::Conflict(twin)) if twin.version == 1));
    let unknown = DeviceId::parse("nobody").unwrap();
    let refused = hub.patch_desired(&tenant, &unknown, json!({"a": 2}), None).await;
    assert!(matches!(refused, Err(PatchTwinError::DeviceUnknown)));
}

#[tokio::test]
async fn the_whole_desired_state_is_published_retained() {
    let world = World::with_lamp();
    let (hub, tenant, lamp) = (world.hub(), tenant(), lamp());
    for value in [1, 2] {
        hub.patch_desired(&tenant, &lamp, json!({"rate": value}), None).await.unwrap();
    }
    let world = world.restarted();
    let mut session = world.connect("app", options());
    world.subscribe(&mut session, "devices/lamp/twin/desired", QoS::AtLeastOnce);
    let mut out = Vec::new();
    session.next_outgoing(&mut out, 10);
    let [Outgoing::Publish(delivery)] = out.as_slice() else { panic!("{out:?}") };
    let payload: Value = serde_json::from_slice(&delivery.message.payload).unwrap();
    assert_eq!((payload, delivery.retain), (json!({"version": 2, "desired": {"rate": 2}}), true));
}

#[tokio::test]
async fn a_report_merges_and_is_there_after_a_restart_with_its_time() {
    let world = World::with_lamp();
    report(&world, r#"{"temp": 20, "net": {"ip": "10.0.0.7"}}"#).unwrap();
    let first = world.hub().now();
    world.advance(Duration::from_secs(5));
    report(&world, r#"{"temp": 21, "net": {"rssi": -60}}"#).unwrap();
    let twin = world.restarted().hub().twin(&tenant(), &lamp()).unwrap();
    let expected = json!({"temp": 21, "net": {"ip": "10.0.0.7", "rssi": -60}});
    assert_eq!((Value::Object(twin.reported), twin.version), (expected, 0));
    assert_eq!(twin.reported_at["temp"].since(first), Duration::from_secs(5));
}

#[tokio::test]
async fn j_01_a_patch_nested_too_deep_is_refused() {
    let world = World::with_lamp();
    assert!(report(&world, &nested(32).to_string()).is_ok());
    for text in
        [nested(33).to_string(), nested(100).to_string(), "[".repeat(50_000), "{\"a\":".repeat(10_000)]
    {
        assert!(matches!(report(&world, &text), Err(ReportTwinError::Invalid(_))));
    }
    let refused = world.hub().patch_desired(&tenant(), &lamp(), nested(33), None).await;
    assert!(matches!(refused, Err(PatchTwinError::Invalid(_))));
}

#[tokio::test]
async fn j_02_a_patch_or_a_twin_beyond_its_size_is_refused() {
    let world = World::with_lamp();
    let large = |letter: char| json!({ letter.to_string(): letter.to_string().repeat(40_000) });
    assert!(matches!(report(&world, &" ".repeat(65_537)), Err(ReportTwinError::TooLarge)));
    report(&world, &large('a').to_string()).unwrap();
    // Each patch fits, both together do not.
    assert!(matches!(report(&world, &large('b').to_string()), Err(ReportTwinError::TooLarge)));
    report(&world, r#"{"a": null}"#).unwrap();
    report(&world, &large('b').to_string()).unwrap();
    let keys: serde_json::Map<_, _> = (0..1_025).map(|number| (number.to_string(), json!(0))).collect();
    let long_key = json!({ "k".repeat(257): 1 });
    for patch in [keys.into(), long_key, json!({"a": vec![0; 10_001]})] {
        let patch: Value = patch;
        assert!(matches!(report(&world, &patch.to_string()), Err(ReportTwinError::Invalid(_))));
    }
    let refused = world.hub().patch_desired(&tenant(), &lamp(), json!({"a": "x".repeat(65_536)}), None).await;
    assert!(matches!(refused, Err(PatchTwinError::TooLarge)));
}

#[tokio::test]
async fn j_03_a_key_that_stands_twice_is_refused() {
    let world = World::with_lamp();
    for text in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":{"b":1,"b":1}}"#] {
        assert!(matches!(report(&world, text), Err(ReportTwinError::Invalid(_))), "{text}");
    }
    assert!(world.hub().twin(&tenant(), &lamp()).unwrap().reported.is_empty());
}

#[tokio::test]
async fn what_is_no_json_object_is_no_report() {
    let world = World::with_lamp();
    for text in ["", "null", "1", "[]", "\"x\"", "{}x", "{\"a\":1e400}", "\u{feff}{}", r#"{"a":"\ud800"}"#] {
        assert!(matches!(report(&world, text), Err(ReportTwinError::Invalid(_))), "{text}");
    }
}
