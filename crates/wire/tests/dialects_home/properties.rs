//! Whatever is said to them, in whatever order: no family panics, and each message says little more than
//! it has bytes.

use proptest::prelude::*;
use roost_wire::dialect::What;
use serde_json::json;

use super::{Family, NOW};

const FAMILIES: [&str; 6] = ["esphome", "homeassistant", "homie", "shelly", "tasmota", "zigbee2mqtt"];

/// Levels that mean something somewhere.
fn level() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "tele",
        "stat",
        "STATE",
        "SENSOR",
        "LWT",
        "RESULT",
        "STATUS8",
        "tasmota",
        "discovery",
        "config",
        "sensors",
        "online",
        "events",
        "rpc",
        "status",
        "switch:0",
        "roost",
        "zigbee2mqtt",
        "bridge",
        "devices",
        "state",
        "response",
        "availability",
        "homeassistant",
        "sensor",
        "switch",
        "device",
        "homie",
        "5",
        "$state",
        "$description",
        "node",
        "prop",
        "$target",
        "esphome",
        "discover",
        "debug",
        "climate",
        "a",
        "",
    ]);
    prop_oneof![9 => known.prop_map(str::to_owned), 1 => ".{0,8}"]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i32>().prop_map(|value| json!(value)),
        prop::sample::select(vec![
            "online",
            "~",
            "a/state",
            "{{ value_json.a }}",
            "{{ value | float / 3 }}",
            "composite",
            "boolean",
            "ready",
        ])
        .prop_map(|value| json!(value)),
    ];
    let name = prop::sample::select(vec![
        "t",
        "ft",
        "sn",
        "params",
        "method",
        "id",
        "result",
        "nodes",
        "properties",
        "datatype",
        "friendly_name",
        "definition",
        "exposes",
        "features",
        "type",
        "property",
        "state_topic",
        "val_tpl",
        "avty",
        "topic",
        "dev",
        "ids",
        "cmps",
        "p",
        "cmd_t",
        "a",
        "a.b",
        "b",
    ]);
    let tree = leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!(list)),
            prop::collection::btree_map(name.clone(), inner, 0..6).prop_map(|members| json!(members)),
        ]
    });
    prop_oneof![
        6 => tree.prop_map(|tree| tree.to_string().into_bytes()),
        1 => prop::sample::select(vec!["ON", "online", "true", "nan", "", "1e999", "ready"]).prop_map(|text| text.into()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn no_message_and_no_command_makes_a_family_panic(
        family in prop::sample::select(FAMILIES.to_vec()),
        messages in prop::collection::vec((prop::collection::vec(level(), 1..6), payload()), 1..20),
        name in "[a-z./#]{0,12}",
    ) {
        let mut family = Family::new(family);
        for (levels, payload) in messages {
            let topic = levels.join("/");
            let Ok(said) = family.0.hear(&topic, &payload, NOW) else { continue };
            for said in said {
                if let What::Readings(points) = said.what {
                    prop_assert!(points.len() <= payload.len().max(1));
                    prop_assert!(points.iter().all(|point| !point.key.is_empty() && point.key.len() <= 256));
                }
            }
            for device in [None, Some(topic.as_str()), Some("a")] {
                for params in [json!(null), json!(true), json!({"a": 1})] {
                    if let Ok(wording) = family.word(device, &name, &params) {
                        let is_topic = |topic: &str| !topic.is_empty() && !topic.contains(['+', '#', '\0']);
                        prop_assert!(wording.messages.iter().all(|message| is_topic(&message.topic)));
                    }
                }
                let wished = family.wish(device, json!({}), json!({"a": 1, "a.b": true}));
                prop_assert!(wished.len() <= 2);
            }
        }
    }
}

#[test]
fn names_without_end_are_heard_without_being_remembered() {
    for (family, end, payload) in [
        ("tasmota", "stat/POWER", "ON"),
        ("shelly", "online", "true"),
        ("zigbee2mqtt", "availability", "online"),
        ("esphome", "status", "online"),
        ("homie", "a/b", "1"),
    ] {
        let mut speaker = Family::new(family);
        for number in 0..3_000 {
            let name = match family {
                "zigbee2mqtt" => format!("zigbee2mqtt/{number}"),
                "homie" => format!("homie/5/{number}"),
                _ => number.to_string(),
            };
            assert!(!speaker.hear(&format!("{name}/{end}"), payload).is_empty(), "{family} {number}");
        }
    }
}
