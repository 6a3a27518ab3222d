use serde_json::json;

use super::{Family, fixture, shown};

fn cabinet() -> Family {
    let mut cabinet = Family::new("homie");
    cabinet.hear("homie/5/cabinet/$state", "init");
    cabinet.hear("homie/5/cabinet/$description", fixture!("homie/description.json"));
    cabinet
}

#[test]
fn a_description_names_units_and_what_can_be_set() {
    let mut cabinet = Family::new("homie");
    cabinet.check("homie/5/cabinet/$description", fixture!("homie/description.json"), &[
        "cabinet: is \"Meter cabinet\" type=meter,homie=5.0 | grid.phases grid.power[W] grid.since grid.total[Wh] \
         relay.label<-relay.label relay.level<-relay.level relay.mode<-relay.mode relay.on<-relay.on \
         relay.tint<-relay.tint",
    ]);
}

#[test]
fn values_have_the_types_of_the_description() {
    let mut cabinet = cabinet();
    for (property, payload, expected) in [
        ("grid/power", "512", "grid.power=512.0"),
        ("grid/total", "-1280", "grid.total=-1280"),
        ("grid/phases", r#"{"l1":230.1,"on":[true]}"#, "grid.phases.l1=230.1 grid.phases.on.0=true"),
        ("grid/since", "2024-03-04T17:22:05Z", "grid.since=\"2024-03-04T17:22:05Z\""),
        ("grid/unknown", "7", "grid.unknown=7"),
    ] {
        cabinet.check(&format!("homie/5/cabinet/{property}"), payload, &[&format!("cabinet: {expected}")]);
    }
    cabinet.check(
        "homie/5/cabinet/relay/on",
        "true",
        &["cabinet: relay.on=true", "cabinet: reported {\"relay.on\":true}"],
    );
    let said = cabinet.hear("homie/5/cabinet/relay/label", "12");
    assert_eq!(said[0], "cabinet: relay.label=\"12\"");
    assert_eq!(cabinet.hear("homie/5/cabinet/relay/label", "\0")[0], "cabinet: relay.label=\"\"");
    cabinet.check("homie/5/cabinet/relay/on/$target", "false", &["cabinet: relay.on.$target=false"]);
    cabinet.check("homie/5/cabinet/relay/on", "", &["cabinet: stale relay.on"]);
}

#[test]
fn the_life_of_a_device_is_presence() {
    let mut cabinet = cabinet();
    for (state, presence) in [
        ("init", Some("Online")),
        ("ready", Some("Online")),
        ("sleeping", None),
        ("disconnected", Some("Offline")),
        ("lost", Some("Offline")),
    ] {
        let mut expected = vec![format!("cabinet: reported {{\"$state\":\"{state}\"}}")];
        expected.extend(presence.map(|presence| format!("cabinet: {presence}")));
        assert_eq!(cabinet.hear("homie/5/cabinet/$state", state), expected);
    }
    cabinet.check("homie/5/cabinet/$state", "", &["cabinet: Offline"]);
}

#[test]
fn a_lost_root_takes_its_children_with_it() {
    let mut cabinet = cabinet();
    cabinet.hear("homie/5/probe/$description", fixture!("homie/child.json"));
    cabinet.hear("homie/5/probe/$state", "ready");
    assert!(cabinet.hear("homie/5/cabinet/$state", "lost").contains(&"probe: Offline".to_owned()));
    assert!(cabinet.hear("homie/5/cabinet/$state", "ready").contains(&"probe: Online".to_owned()));
}

#[test]
fn a_command_sets_a_property_if_its_value_may_be() {
    let mut cabinet = cabinet();
    let topic = |property: &str| format!("homie/5/cabinet/relay/{property}/set");
    for (property, params, payload) in [
        ("on", json!(true), "true"),
        ("mode", json!("manual"), "manual"),
        ("level", json!(10), "10"),
        ("label", json!(""), "\0"),
        ("tint", json!("rgb,1,2,3"), "rgb,1,2,3"),
    ] {
        let name = format!("relay.{property}");
        cabinet.tells(Some("cabinet"), &name, params, (&topic(property), payload));
    }
    cabinet.tells(None, "relay/on", json!(false), (&topic("on"), "false"));
    for (name, params, word) in [
        ("relay.on", json!("on"), "true or false"),
        ("relay.mode", json!("party"), "auto,manual"),
        ("relay.level", json!(11), "0:10"),
        ("relay.level", json!(1.5), "an integer"),
        ("relay.on", json!(null), "the value to set"),
        ("grid.power", json!(1), "can be set"),
        ("relay.nothing", json!(1), "can be set"),
        ("relay", json!(1), "node.property"),
        ("relay.$target", json!(1), "node.property"),
    ] {
        cabinet.refuses(Some("cabinet"), name, params, word);
    }
    let wished = cabinet.wish(None, json!({"relay.on": false}), json!({"relay.on": true, "grid.power": 1}));
    assert_eq!(wished.iter().map(shown).collect::<Vec<_>>(), [("homie/5/cabinet/relay/on/set", "true")]);
}

#[test]
fn version_4_is_understood_by_its_attributes() {
    let mut car = Family::new("homie");
    for (topic, payload) in [
        ("$homie", "4.0.0"),
        ("$name", "Super car"),
        ("$state", "init"),
        ("$nodes", "engine"),
        ("engine/$name", "Engine"),
        ("engine/$properties", "temperature,on"),
        ("engine/temperature/$datatype", "float"),
        ("engine/temperature/$unit", "°C"),
        ("engine/on/$datatype", "boolean"),
        ("engine/on/$settable", "true"),
    ] {
        car.hear(&format!("homie/super-car/{topic}"), payload);
    }
    car.check(
        "homie/super-car/$state",
        "ready",
        &[
            "super-car: reported {\"$state\":\"ready\"}",
            "super-car: Online",
            "super-car: is \"Super car\" homie=4.0.0 | engine.on<-engine.on engine.temperature[°C]",
        ],
    );
    car.check("homie/super-car/engine/temperature", "21", &["super-car: engine.temperature=21.0"]);
    car.tells(None, "engine.on", json!(true), ("homie/super-car/engine/on/set", "true"));
}

/// Recorded from the library Homie4 0.4.0 (Python).
#[test]
fn a_recorded_session_of_a_thermostat_is_understood() {
    let mut home = Family::new("homie");
    let said = home.session(fixture!("homie/session_homie4.txt"));
    let expected = [
        "thermostat: reported {\"$state\":\"init\"}",
        "thermostat: Online",
        "thermostat: reported {\"$state\":\"ready\"}",
        "thermostat: Online",
        "thermostat: is \"Thermostat\" homie=4.0.0,ip=NoIP,mac=NoMAC,implementation=linux | \
         heating.mode<-heating.mode heating.switch<-heating.switch room.temperature[C]",
        "thermostat: room.temperature=21.5",
        "thermostat: heating.switch=true",
        "thermostat: reported {\"heating.switch\":true}",
        "thermostat: heating.mode=\"eco\"",
        "thermostat: reported {\"heating.mode\":\"eco\"}",
        "thermostat: reported {\"$state\":\"disconnected\"}",
        "thermostat: Offline",
    ];
    assert_eq!(said, expected);
    home.tells(None, "heating.mode", json!("comfort"), ("homie/thermostat/heating/mode/set", "comfort"));
}

#[test]
fn what_cannot_be_read_says_why() {
    let mut cabinet = cabinet();
    cabinet.unread("homie/5/cabinet/grid/total", b"12.5", "no integer");
    cabinet.unread("homie/5/cabinet/grid/power", b"inf", "no number");
    cabinet.unread("homie/5/cabinet/relay/on", b"TRUE", "neither true nor false");
    cabinet.unread("homie/5/cabinet/relay/label", b"\xff", "UTF-8");
    cabinet.unread("homie/5/cabinet/$state", b"drunk", "$state");
    cabinet.unread("homie/5/cabinet/$description", b"{", "byte");
    for topic in
        ["homie/5/$broadcast/alert", "homie/5/Cabinet/a/b", "other/cabinet/a/b", "homie/5/cabinet/a/b/set"]
    {
        cabinet.check(topic, "1", &[]);
    }
    let alert = cabinet.hear("homie/5/cabinet/$alert/battery", "low");
    assert_eq!(alert, ["cabinet: event alert low"]);
}
