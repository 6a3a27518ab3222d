use roost_wire::dialect::{Announced, Kind};
use serde_json::json;

use super::{Family, fixture, shown};

const SHED: &str = "zigbee2mqtt_0x00158d0005b1c2d3";
const TEMPERATURE: &str = "homeassistant/sensor/0x00158d0005b1c2d3/temperature/config";
const CONTACT: &str = "homeassistant/binary_sensor/0x00158d0005b1c2d3/contact/config";

fn shed() -> Family {
    let mut shed = Family::new("homeassistant");
    shed.hear(TEMPERATURE, fixture!("homeassistant/zigbee_temperature.json"));
    shed.hear(CONTACT, fixture!("homeassistant/zigbee_contact.json"));
    shed
}

#[test]
fn a_configuration_describes_the_device_with_all_its_entities() {
    let mut shed = Family::new("homeassistant");
    let labels = "manufacturer=Aqara,model=Temperature and humidity sensor (WSDCGQ11LM),version=3000-0001,\
                  via=zigbee2mqtt_bridge_0x00124b0024c2a1b3";
    shed.check(
        TEMPERATURE,
        fixture!("homeassistant/zigbee_temperature.json"),
        &[&format!("{SHED}: is \"shed\" {labels} | temperature[°C]")],
    );
    shed.check(
        CONTACT,
        fixture!("homeassistant/zigbee_contact.json"),
        &[&format!("{SHED}: is \"shed\" {labels} | contact temperature[°C]")],
    );
}

#[test]
fn x_09_what_the_server_announces_of_its_own_devices_is_no_device_when_it_comes_back() {
    let announced =
        Announced { device: "barn", name: "The barn", key: "temp", kind: Kind::Number, unit: Some("°C") };
    let message = announced.message();
    let mut home = Family::new("homeassistant");
    home.check(&message.topic, std::str::from_utf8(&message.payload).unwrap(), &[]);
    home.check("devices/barn/telemetry", r#"{"temp":1}"#, &[]);
}

#[test]
fn one_message_is_read_by_all_entities_of_its_topic() {
    let mut shed = shed();
    shed.check(
        "zigbee2mqtt/shed",
        r#"{"contact":false,"temperature":21.5,"battery":91}"#,
        &[&format!("{SHED}: contact=true temperature=21.5")],
    );
    shed.check("zigbee2mqtt/shed", r#"{"temperature":"20.5"}"#, &[&format!("{SHED}: temperature=20.5")]);
    shed.check("zigbee2mqtt/shed", r#"{"temperature":null}"#, &[&format!("{SHED}: stale temperature")]);
    shed.check("zigbee2mqtt/other", r#"{"temperature":1}"#, &[]);
}

#[test]
fn an_availability_is_presence_where_all_entities_share_it() {
    let mut shed = shed();
    shed.check("zigbee2mqtt/shed/availability", r#"{"state":"online"}"#, &[&format!("{SHED}: Online")]);
    shed.check("zigbee2mqtt/shed/availability", r#"{"state":"offline"}"#, &[&format!("{SHED}: Offline")]);
    shed.check(
        "zigbee2mqtt/bridge/state",
        r#"{"state":"offline"}"#,
        &[&format!("{SHED}: stale temperature")],
    );
}

#[test]
fn short_names_and_a_base_topic_are_expanded() {
    let mut plug = Family::new("homeassistant");
    plug.check(
        "homeassistant/switch/desk_relay/config",
        fixture!("homeassistant/short_switch.json"),
        &["desk-plug: is \"Desk plug\" manufacturer=Acme,model=P1,version=2.1 | desk_relay<-desk_relay"],
    );
    plug.check(
        "plugs/desk/state",
        r#"{"relay":1}"#,
        &["desk-plug: desk_relay=true", "desk-plug: reported {\"desk_relay\":true}"],
    );
    plug.check("plugs/desk/lwt", "down", &["desk-plug: Offline"]);
    for (params, payload) in [(json!(true), "1"), (json!("off"), "0")] {
        plug.tells(None, "desk_relay", params, ("plugs/desk/set", payload));
    }
    let wording = plug.word(Some("desk-plug"), "desk_relay", &json!(true)).unwrap();
    assert!(wording.messages[0].retain, "the configuration asks for it");
    let wished = plug.wish(None, json!({"desk_relay": true}), json!({"desk_relay": false}));
    assert_eq!(wished.iter().map(shown).collect::<Vec<_>>(), [("plugs/desk/set", "0")]);
}

#[test]
fn a_device_announces_all_its_components_at_once() {
    let mut kitchen = Family::new("homeassistant");
    let topic = "homeassistant/device/ea334450945afc/config";
    kitchen.check(topic, fixture!("homeassistant/device_based.json"), &[
        "ea334450945afc: is \"Kitchen\" manufacturer=Bla electronics,model=xya,version=1.0,hardware=1.0rev2,\
         serial=ea334450945afc | button<-button humidity[%] temperature[°C]",
    ]);
    let said = kitchen.hear("sensorBedroom/state", r#"{"temperature":21.5,"humidity":44}"#);
    assert_eq!(said, ["ea334450945afc: humidity=44 temperature=21.5"]);
    kitchen.tells(None, "button", json!(null), ("kitchen/reset", "PRESS"));
    kitchen.check(topic, "", &["ea334450945afc: stale button humidity temperature"]);
    kitchen.check("sensorBedroom/state", r#"{"temperature":21.5}"#, &[]);
    kitchen.refuses(None, "button", json!(null), "no device");
}

#[test]
fn a_light_in_json_is_read_and_set() {
    let mut lamp = Family::new("homeassistant");
    lamp.hear("homeassistant/light/lamp/lamp/config", fixture!("homeassistant/json_light.json"));
    lamp.check(
        "lamp/light/lamp/state",
        r#"{"state":"ON","brightness":192,"color":{"r":255}}"#,
        &[
            "a4cf12000001: lamp=true lamp.brightness=192 lamp.color.r=255",
            "a4cf12000001: reported {\"lamp\":true}",
        ],
    );
    lamp.tells(None, "lamp", json!(false), ("lamp/light/lamp/command", r#"{"state":"OFF"}"#));
    let params = json!({"state":"ON","brightness":5});
    lamp.tells(None, "lamp", params, ("lamp/light/lamp/command", r#"{"brightness":5,"state":"ON"}"#));
}

#[test]
fn a_climate_has_a_topic_for_each_of_its_members() {
    let mut valve = Family::new("homeassistant");
    valve.hear("homeassistant/climate/trv1/config", fixture!("homeassistant/climate.json"));
    valve.check(
        "trv/state",
        r#"{"now":"19.5","target":21}"#,
        &[
            "trv-1: trv1.current_temperature=19.5 trv1.temperature=21",
            "trv-1: reported {\"trv1.temperature\":21}",
        ],
    );
    valve.check(
        "trv/mode",
        "heat",
        &["trv-1: trv1.mode=\"heat\"", "trv-1: reported {\"trv1.mode\":\"heat\"}"],
    );
    valve.tells(None, "trv1.temperature", json!(20.55), ("trv/target/set", "{\"target\": 20.6}"));
    valve.tells(None, "trv1.mode", json!("auto"), ("trv/mode/set", "auto"));
    valve.refuses(None, "trv1", json!(true), "trv1.mode, trv1.temperature");
    valve.refuses(None, "trv1.fan_mode", json!("low"), "trv1.mode, trv1.temperature");
}

#[test]
fn controls_take_what_their_configurations_allow() {
    let mut board = Family::new("homeassistant");
    for (component, key, config) in [
        ("number", "limit", r#""min":5,"max":30"#),
        ("select", "program", r#""options":["eco","boost"]"#),
        ("cover", "blind", r#""set_pos_t":"c/blind/pos","pl_cls":"DOWN""#),
        ("lock", "door", r#""pl_unlk":"FREE""#),
        ("light", "lamp", r#""bri_cmd_t":"c/lamp/bri","bri_stat_t":"s/lamp/bri""#),
    ] {
        let config = format!(r#"{{"cmd_t":"c/{key}","stat_t":"s/{key}","dev":{{"ids":["b"]}},{config}}}"#);
        board.hear(&format!("homeassistant/{component}/b/{key}/config"), &config);
    }
    for (name, params, topic, payload) in [
        ("limit", json!(12.5), "c/limit", "12.5"),
        ("program", json!("boost"), "c/program", "boost"),
        ("blind", json!("close"), "c/blind", "DOWN"),
        ("blind", json!("stop"), "c/blind", "STOP"),
        ("blind.position", json!(40), "c/blind/pos", "40"),
        ("door", json!("unlock"), "c/door", "FREE"),
        ("lamp", json!(true), "c/lamp", "ON"),
        ("lamp.brightness", json!(200), "c/lamp/bri", "200"),
    ] {
        board.tells(Some("b"), name, params, (topic, payload));
    }
    for (name, params, word) in [
        ("limit", json!(31), "from 5 to 30"),
        ("limit", json!("much"), "a number"),
        ("program", json!("party"), "eco, boost"),
        ("blind", json!("sideways"), "open, close or stop"),
        ("door", json!("kick"), "lock or unlock"),
        ("lamp", json!("maybe"), "true or false"),
        ("nothing", json!(1), "no \"nothing\""),
    ] {
        board.refuses(Some("b"), name, params, word);
    }
    board.check("s/lamp/bri", "120", &["b: lamp.brightness=120", "b: reported {\"lamp.brightness\":120}"]);
    board.check("s/program", "eco", &["b: program=\"eco\"", "b: reported {\"program\":\"eco\"}"]);
}

/// Recorded from the library ha-mqtt-discoverable 0.26.0 (Python).
#[test]
fn a_recorded_session_of_a_workshop_is_understood() {
    let mut workshop = Family::new("homeassistant");
    let said = workshop.session(fixture!("homeassistant/session_ha_mqtt_discoverable.txt"));
    let spoken: Vec<_> = said.iter().filter(|line| !line.contains(": is ")).collect();
    let expected = [
        "workshop-1: Bench-temperature=21.5",
        "workshop-1: Online",
        "workshop-1: Door=true",
        "workshop-1: Lathe=false",
        "workshop-1: reported {\"Lathe\":false}",
        "workshop-1: Speed=1200",
        "workshop-1: reported {\"Speed\":1200}",
    ];
    assert_eq!(spoken, expected);
    assert!(
        said.contains(
            &"workshop-1: is \"Workshop\" manufacturer=Maker,model=M1,version=0.3 | Door \
          Speed<-Speed Bench-temperature[°C] Lathe<-Lathe"
                .to_owned()
        )
    );
    workshop.tells(None, "Lathe", json!(true), ("hmd/switch/Workshop/Lathe/command", "ON"));
    workshop.tells(None, "Speed", json!(3000), ("hmd/number/Workshop/Speed/command", "3000"));
}

#[test]
fn what_is_beyond_the_templates_says_so_and_spoils_nothing_else() {
    let mut board = Family::new("homeassistant");
    let config = |template: &str| {
        json!({"state_topic": "s", "value_template": template, "device": {"identifiers": ["b"]}}).to_string()
    };
    board.hear("homeassistant/sensor/b/odd/config", &config("{% if value %}1{% endif %}"));
    board.unread("s", b"1", "odd: its template: statements");
    board.hear("homeassistant/sensor/b/even/config", &config("{{ value }}"));
    board.check("s", "1", &["b: even=1"]);
}

#[test]
fn what_cannot_be_read_says_why_and_what_is_announced_has_a_bound() {
    let mut board = Family::new("homeassistant");
    board.unread("homeassistant/sensor/x/config", b"{\"a\":1,\"a\":2}", "given twice");
    board.unread("homeassistant/device/x/config", b"{}", "no components");
    for topic in ["homeassistant/status", "homeassistant/sensor/config", "homeassistant/a/b/c/d/config", "x"]
    {
        board.check(topic, "online", &[]);
    }
    board.check("homeassistant/device_automation/x/y/config", "{}", &[]);
    let long = "x".repeat(1_000);
    let config = json!({"state_topic": long, "value_template": long, "command_topic": long}).to_string();
    let refused = (0..5_000).find(|number| {
        let topic = format!("homeassistant/sensor/n/{number}/config");
        board.0.hear(&topic, config.as_bytes(), 0).is_err()
    });
    assert!(refused.is_some_and(|number| number > 500), "{refused:?}");
}
