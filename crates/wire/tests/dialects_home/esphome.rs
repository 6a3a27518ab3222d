use serde_json::json;

use super::{Family, fixture};

#[test]
fn states_are_readings_by_object_id() {
    let mut node = Family::new("esphome");
    node.check("livingroom/sensor/temperature/state", "21.54", &["livingroom: temperature=21.54"]);
    node.check("livingroom/binary_sensor/window/state", "OFF", &["livingroom: window=\"OFF\""]);
    node.check("livingroom/text_sensor/version/state", "2024.6.0", &["livingroom: version=\"2024.6.0\""]);
    node.check(
        "home/up/climate/heat/current_temperature/state",
        "19.8",
        &["home/up: heat.current_temperature=19.8"],
    );
    node.check("livingroom/sensor/temperature/state", "nan", &["livingroom: stale temperature"]);
    let light = r#"{"color_mode":"rgb","state":"ON","brightness":192,"color":{"r":255,"g":120,"b":0}}"#;
    node.check(
        "livingroom/light/lamp/state",
        light,
        &["livingroom: lamp.brightness=192 lamp.color.b=0 lamp.color.g=120 lamp.color.r=255 \
         lamp.color_mode=\"rgb\" lamp.state=\"ON\""],
    );
}

#[test]
fn status_log_and_announcement_are_understood() {
    let mut node = Family::new("esphome");
    node.check("livingroom/status", "online", &["livingroom: Online"]);
    node.check("livingroom/status", "offline", &["livingroom: Offline"]);
    node.check(
        "livingroom/debug",
        "[D][sensor:093]: got 21.5",
        &["livingroom: event debug [D][sensor:093]: got 21.5"],
    );
    node.check(
        "livingroom/event/bell/state",
        r#"{"event_type":"ring"}"#,
        &[r#"livingroom: event ring {"event_type":"ring"}"#],
    );
    node.check("esphome/discover/livingroom", fixture!("esphome/discover.json"), &[
        "livingroom: is \"Living room\" manufacturer=ESPHome,model=esp32dev,platform=ESP32,version=2024.6.0,\
         ip=192.168.1.44,mac=a4cf12000001 | ",
    ]);
}

#[test]
fn what_is_announced_for_home_assistant_gives_units_and_components() {
    let mut node = Family::new("esphome");
    node.check(
        "homeassistant/sensor/livingroom/temperature/config",
        fixture!("esphome/config_sensor.json"),
        &["livingroom: is \"\"  | temperature[°C]"],
    );
    node.check(
        "homeassistant/button/livingroom/restart/config",
        fixture!("esphome/config_button.json"),
        &["livingroom: is \"\"  | restart<-restart temperature[°C]"],
    );
    node.tells(None, "restart", json!(null), ("livingroom/button/restart/command", "PRESS"));
    node.check("homeassistant/sensor/livingroom/temperature/config", "", &[]);
    node.check("homeassistant/sensor/other/t/config", r#"{"stat_t":"other/t"}"#, &[]);
}

#[test]
fn a_command_finds_the_component_of_its_object() {
    let mut node = Family::new("esphome");
    node.hear("livingroom/binary_sensor/relay/state", "ON");
    node.hear("livingroom/switch/relay/state", "ON");
    node.hear("livingroom/climate/heat/mode/state", "heat");
    node.tells(None, "relay", json!(false), ("livingroom/switch/relay/command", "OFF"));
    node.tells(None, "relay", json!("TOGGLE"), ("livingroom/switch/relay/command", "TOGGLE"));
    node.tells(None, "heat.mode", json!("auto"), ("livingroom/climate/heat/mode/command", "auto"));
    node.tells(None, "number/limit", json!(12.5), ("livingroom/number/limit/command", "12.5"));
    node.tells(None, "button/restart", json!(null), ("livingroom/button/restart/command", "PRESS"));
    let params = json!({"state":"ON","brightness":10});
    let expected = ("porch/light/lamp/command", r#"{"brightness":10,"state":"ON"}"#);
    node.tells(Some("porch"), "light/lamp", params, expected);
}

#[test]
fn what_cannot_be_read_or_said_says_why() {
    let mut node = Family::new("esphome");
    node.unread("x/status", b"away", "neither online nor offline");
    node.unread("x/sensor/t/state", b"[1]", "array");
    node.unread("x/light/l/state", br#"{"a":1,"a":1}"#, "given twice");
    node.refuses(Some("x"), "relay", json!(true), "switch/relay");
    node.refuses(Some("x"), "sensor/t", json!(1), "takes no commands");
    node.refuses(Some("x"), "switch/", json!(1), "takes no commands");
    node.refuses(Some("x"), "switch/a+", json!(1), "makes no topic");
    for topic in ["x/other/t/state", "sensor/t/state", "x/sensor//state", "x/sensor/t/command", "/status"] {
        node.check(topic, "ON", &[]);
    }
}
