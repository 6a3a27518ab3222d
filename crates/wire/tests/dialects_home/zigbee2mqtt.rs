use roost_wire::dialect::Awaited::Answer;
use serde_json::{Value, json};

use super::{Family, fixture, shown};

fn network() -> Family {
    let mut network = Family::new("zigbee2mqtt");
    network.hear("zigbee2mqtt/bridge/devices", fixture!("zigbee2mqtt/devices.json"));
    network
}

#[test]
fn the_bridge_describes_its_devices_with_units_and_what_writes_them() {
    let mut network = Family::new("zigbee2mqtt");
    network.check("zigbee2mqtt/bridge/devices", fixture!("zigbee2mqtt/devices.json"), &[
        "garden/shed climate: is \"garden/shed climate\" ieee_address=0x00158d0005b1c2d3,type=EndDevice,\
         power_source=Battery,manufacturer=Aqara,model=WSDCGQ11LM | battery[%] temperature[°C] humidity[%]",
        "lamp: is \"lamp\" ieee_address=0x90fd9ffffe6494fc,type=Router,power_source=Mains (single phase),\
         version=1.3.009,manufacturer=IKEA,model=LED1624G9 | state<-state brightness<-brightness color.x<-color \
         color.y<-color effect<-effect linkquality[lqi]",
    ]);
    network.check("zigbee2mqtt/bridge/info", fixture!("zigbee2mqtt/info.json"), &[
        "-: is \"\" manufacturer=Zigbee2MQTT,version=1.36.0,coordinator=zStack3x0,ieee_address=0x00124b0024c2a1b3 | ",
    ]);
    network.check(
        "zigbee2mqtt/bridge/groups",
        r#"[{"id":1,"friendly_name":"hall","scenes":[],"members":[]}]"#,
        &["hall: is \"hall\" type=Group | "],
    );
}

#[test]
fn a_device_that_is_no_longer_listed_is_gone() {
    let mut network = network();
    network.check("zigbee2mqtt/bridge/devices", "[]", &["garden/shed climate: Offline", "lamp: Offline"]);
    network.check("zigbee2mqtt/bridge/devices", "[]", &[]);
}

#[test]
fn states_are_readings_also_of_names_with_slashes() {
    let mut network = network();
    network.check(
        "zigbee2mqtt/garden/shed climate",
        r#"{"battery":91,"humidity":44.7,"linkquality":120,"temperature":null}"#,
        &["garden/shed climate: battery=91 humidity=44.7 linkquality=120"],
    );
    network.check(
        "zigbee2mqtt/lamp",
        r#"{"state":"ON","color":{"x":0.3,"y":0.4},"linkquality":9}"#,
        &[
            "lamp: color.x=0.3 color.y=0.4 linkquality=9 state=\"ON\"",
            "lamp: reported {\"color\":{\"x\":0.3,\"y\":0.4},\"state\":\"ON\"}",
        ],
    );
    let fresh = &mut Family::new("zigbee2mqtt");
    fresh.check(
        "zigbee2mqtt/up/stairs/button",
        r#"{"action":"single","device":{"model":"x"}}"#,
        &["up/stairs/button: action=\"single\"", "up/stairs/button: event action single"],
    );
    fresh.check("zigbee2mqtt/up/stairs/button", r#"{"action":""}"#, &["up/stairs/button: "]);
}

#[test]
fn single_attributes_are_readings() {
    let mut network = network();
    network.check(
        "zigbee2mqtt/garden/shed climate/humidity",
        "44.7",
        &["garden/shed climate: humidity=44.7"],
    );
    network.check("zigbee2mqtt/lamp/color", r#"{"x":0.3}"#, &["lamp: color.x=0.3"]);
}

#[test]
fn availability_comes_in_two_forms_and_the_bridges_state_too() {
    let mut network = network();
    network.check("zigbee2mqtt/garden/shed climate/availability", "online", &["garden/shed climate: Online"]);
    network.check("zigbee2mqtt/lamp/availability", r#"{"state":"offline"}"#, &["lamp: Offline"]);
    network.check("zigbee2mqtt/bridge/state", "online", &["-: Online"]);
    network.check("zigbee2mqtt/bridge/state", r#"{"state":"offline"}"#, &["-: Offline"]);
}

#[test]
fn joins_and_warnings_are_events_of_the_bridge() {
    let mut network = network();
    let joined = fixture!("zigbee2mqtt/event_joined.json");
    network.check("zigbee2mqtt/bridge/event", joined, &[&format!("-: event device_joined {joined}")]);
    let warning = r#"{"level":"warning","message":"no route"}"#;
    network.check("zigbee2mqtt/bridge/logging", warning, &[&format!("-: event logging {warning}")]);
    network.check("zigbee2mqtt/bridge/logging", r#"{"level":"info","message":"MQTT publish"}"#, &[]);
}

#[test]
fn a_command_sets_a_property_or_asks_the_bridge() {
    let mut network = network();
    network.tells(Some("lamp"), "state", json!("ON"), ("zigbee2mqtt/lamp/set", r#"{"state":"ON"}"#));
    let params = json!({"brightness":100,"transition":2});
    let expected = ("zigbee2mqtt/garden/lamp/set", r#"{"brightness":100,"transition":2}"#);
    network.tells(Some("garden/lamp"), "set", params, expected);
    let expected = ("zigbee2mqtt/lamp/get", r#"{"state":""}"#);
    network.tells(Some("lamp"), "get", json!({"state":""}), expected);
    let wording = network.word(None, "device/rename", &json!({"from":"lamp","to":"desk lamp"})).unwrap();
    assert_eq!(wording.answer, Answer);
    assert_eq!(wording.messages[0].topic, "zigbee2mqtt/bridge/request/device/rename");
    let sent: Value = serde_json::from_slice(&wording.messages[0].payload).unwrap();
    assert_eq!(sent, json!({"from":"lamp","to":"desk lamp","transaction":"c-1"}));
    network.check(
        "zigbee2mqtt/bridge/response/device/rename",
        fixture!("zigbee2mqtt/response_rename.json"),
        &["-: answer c-7 {\"from\":\"lamp\",\"homeassistant_rename\":false,\"to\":\"desk lamp\"}"],
    );
    network.check(
        "zigbee2mqtt/bridge/response/device/remove",
        fixture!("zigbee2mqtt/response_refused.json"),
        &["-: refusal c-8 Device 'nobody' does not exist"],
    );
    network.check("zigbee2mqtt/bridge/response/permit_join", r#"{"data":{},"status":"ok"}"#, &[]);
    let wished = network.wish(Some("lamp"), json!({"state":"ON"}), json!({"state":"ON","brightness":9}));
    assert_eq!(
        wished.iter().map(shown).collect::<Vec<_>>(),
        [("zigbee2mqtt/lamp/set", r#"{"brightness":9}"#)]
    );
}

#[test]
fn another_base_topic_is_learnt_from_the_bridge() {
    let mut network = Family::new("zigbee2mqtt");
    network.check("home/zigbee/lamp", r#"{"state":"ON"}"#, &[]);
    network.hear("home/zigbee/bridge/state", "online");
    network.check("home/zigbee/lamp", r#"{"state":"ON"}"#, &["lamp: state=\"ON\""]);
    network.tells(Some("lamp"), "state", json!("OFF"), ("home/zigbee/lamp/set", r#"{"state":"OFF"}"#));
    let wording = network.word(None, "health_check", &json!(null)).unwrap();
    assert_eq!(
        shown(&wording.messages[0]),
        ("home/zigbee/bridge/request/health_check", r#"{"transaction":"c-1"}"#)
    );
}

#[test]
fn what_cannot_be_read_or_said_says_why() {
    let mut network = network();
    network.unread("zigbee2mqtt/lamp", br#"{"state":"ON","state":"OFF"}"#, "given twice");
    network.unread("zigbee2mqtt/lamp", b"ON", "a JSON object");
    network.unread("zigbee2mqtt/lamp/availability", b"asleep", "neither online nor offline");
    network.unread("zigbee2mqtt/bridge/devices", b"{}", "no list");
    network.refuses(Some("lamp"), "set", json!("ON"), "must be an object");
    network.refuses(None, "permit_join", json!(true), "must be an object");
    network.refuses(Some("la#mp"), "state", json!("ON"), "makes no topic");
    for topic in
        ["zigbee2mqtt/lamp/set", "zigbee2mqtt/lamp/set/state", "zigbee2mqtt/lamp/get", "zigbee2mqtt/", "x"]
    {
        network.check(topic, "{}", &[]);
    }
    network.check("zigbee2mqtt/lamp", "", &[]);
}
