use serde_json::json;

use super::{Family, fixture, shown};

#[test]
fn a_state_is_readings_and_what_can_be_written_is_reported() {
    let mut plug = Family::new("tasmota");
    let expected = [
        "plug: Dimmer=40 Heap=25 LoadAvg=19 MqttCount=1 POWER=\"ON\" Sleep=50 SleepMode=\"Dynamic\" \
         Uptime=\"3T04:05:06\" UptimeSec=273906 Wifi.AP=1 Wifi.BSSId=\"60:38:E0:01:02:03\" Wifi.Channel=11 \
         Wifi.Downtime=\"0T00:00:03\" Wifi.LinkCount=1 Wifi.Mode=\"11n\" Wifi.RSSI=74 Wifi.SSId=\"home\" \
         Wifi.Signal=-63",
        "plug: reported {\"Dimmer\":40,\"POWER\":\"ON\"}",
    ];
    plug.check("tele/plug/STATE", fixture!("tasmota/state.json"), &expected);
    plug.check("stat/plug/POWER", "OFF", &["plug: POWER=\"OFF\""]);
    plug.check("stat/plug/POWER2", "ON", &["plug: POWER2=\"ON\""]);
}

#[test]
fn sensors_flatten_and_their_units_are_told_once() {
    let mut plug = Family::new("tasmota");
    let said = plug.hear("tele/home/cellar/plug/SENSOR", fixture!("tasmota/sensor.json"));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("home/cellar/plug: is \"\"  | "), "{}", said[0]);
    for described in
        ["ENERGY.Power[W]", "ENERGY.Total[kWh]", "DS18B20.Temperature[°C]", "SDS0X1.PM2.5[µg/m³]"]
    {
        assert!(said[0].contains(described), "{described} in {}", said[0]);
    }
    for reading in ["ENERGY.Power=41", "ENERGY.Factor=0.74", "DS18B20.Id=\"0316A279C254\"", "TempUnit=\"C\""]
    {
        assert!(said[1].contains(reading), "{reading} in {}", said[1]);
    }
    assert!(!said[1].contains("Time=\"2024"), "local time without a zone is left out");
    assert_eq!(plug.hear("tele/home/cellar/plug/SENSOR", fixture!("tasmota/sensor.json")).len(), 1);
}

#[test]
fn discovery_describes_a_device_by_its_topic() {
    let mut plug = Family::new("tasmota");
    let expected = "tasmota_A19ABC: is \"Tasmota\" manufacturer=Tasmota,model=Sonoff Basic,version=13.4.0,\
                    hostname=tasmota-9ABC-6844,ip=192.168.15.10,mac=D8BFC0A19ABC | POWER<-POWER";
    plug.check(
        "tasmota/discovery/D8BFC0A19ABC/config",
        fixture!("tasmota/discovery_config.json"),
        &[expected],
    );
    let said =
        plug.hear("tasmota/discovery/D8BFC0A19ABC/sensors", fixture!("tasmota/discovery_sensors.json"));
    let [said] = said.as_slice() else { panic!("{said:?}") };
    for described in ["ENERGY.Voltage.1[V]", "BME280.Pressure[hPa]", "BME280.Humidity[%]"] {
        assert!(said.contains(described), "{described} in {said}");
    }
    plug.check("tasmota/discovery/000000000000/sensors", fixture!("tasmota/discovery_sensors.json"), &[]);
    plug.check("tasmota/discovery/D8BFC0A19ABC/config", "", &[]);
    let info = "p: is \"\" model=Sonoff Basic,version=13.4.0(tasmota) | ";
    plug.check("tele/p/INFO1", fixture!("tasmota/info1.json"), &[info]);
    plug.check(
        "tele/p/INFO1",
        r#"{"Module":"Sonoff Basic","Version":"9.1.0"}"#,
        &["p: is \"\" model=Sonoff Basic,version=9.1.0 | "],
    );
}

#[test]
fn the_last_will_is_presence() {
    let mut plug = Family::new("tasmota");
    plug.check("tele/plug/LWT", "Online", &["plug: Online"]);
    plug.check("tele/plug/LWT", "Offline", &["plug: Offline"]);
    plug.check("tele/plug/LWT", "", &[]);
    plug.unread("tele/plug/LWT", b"Away", "neither");
}

#[test]
fn a_command_goes_out_and_its_result_answers_it_by_the_name_it_was_given() {
    let mut plug = Family::new("tasmota");
    plug.hear("tele/plug/LWT", "Online");
    plug.asks(None, "Power1", json!("TOGGLE"), ("cmnd/plug/Power1", "TOGGLE"));
    plug.check(
        "stat/plug/RESULT",
        r#"{"POWER":"ON"}"#,
        &["plug: reported {\"POWER\":\"ON\"}", "plug: answer Power1 {\"POWER\":\"ON\"}"],
    );
    plug.asks(Some("plug"), "Dimmer", json!(30), ("cmnd/plug/Dimmer", "30"));
    let said = plug.hear("stat/plug/RESULT", r#"{"POWER":"ON","Dimmer":30}"#);
    assert_eq!(said[1], "plug: answer Dimmer {\"Dimmer\":30,\"POWER\":\"ON\"}");
    plug.asks(None, "Status", json!(8), ("cmnd/plug/Status", "8"));
    let said = plug.hear("stat/plug/STATUS8", fixture!("tasmota/status8.json"));
    assert!(said[1].starts_with("plug: AM2301.DewPoint=10.6"), "{said:?}");
    assert!(said[2].starts_with("plug: answer Status {"), "{said:?}");
    plug.tells(None, "Backlog", json!("Power on; Delay 10"), ("cmnd/plug/Backlog", "Power on; Delay 10"));
    plug.asks(None, "State", json!(null), ("cmnd/plug/State", ""));
    plug.check(
        "stat/plug/RESULT",
        r#"{"Command":"Unknown"}"#,
        &["plug: refusal  the device answers: command unknown"],
    );
}

#[test]
fn the_topic_may_stand_before_the_prefix() {
    let mut plug = Family::new("tasmota");
    plug.check("attic/fan/stat/POWER", "ON", &["attic/fan: POWER=\"ON\""]);
    plug.asks(Some("attic/fan"), "POWER", json!(false), ("attic/fan/cmnd/POWER", "false"));
}

#[test]
fn buttons_and_received_codes_are_events() {
    let mut plug = Family::new("tasmota");
    for (topic, payload, name) in [
        ("stat/plug/RESULT", r#"{"Button1":{"Action":"SINGLE"}}"#, "Button1"),
        ("stat/plug/SWITCH1", r#"{"ACTION":"TOGGLE"}"#, "SWITCH1"),
        ("tele/plug/RESULT", r#"{"RfReceived":{"Data":"0x5510","Bits":24}}"#, "RESULT"),
    ] {
        plug.check(topic, payload, &[&format!("plug: event {name} {payload}")]);
    }
}

#[test]
fn wishes_become_commands() {
    let mut plug = Family::new("tasmota");
    plug.hear("tele/plug/LWT", "Online");
    let wished =
        plug.wish(None, json!({"POWER":"ON","CT":200}), json!({"POWER":"OFF","CT":200,"not a name":1}));
    assert_eq!(wished.iter().map(shown).collect::<Vec<_>>(), [("cmnd/plug/POWER", "OFF")]);
}

#[test]
fn what_cannot_be_read_or_said_says_why() {
    let mut plug = Family::new("tasmota");
    plug.unread("tele/plug/STATE", br#"{"a":1,"a":2}"#, "given twice");
    plug.unread("tele/plug/SENSOR", br#"{"a":NaN}"#, "NaN");
    plug.unread("tele/plug/SENSOR", b"[1]", "no JSON object");
    plug.unread("stat/plug/RESULT", b"\xff", "UTF-8");
    plug.refuses(None, "POWER", json!(1), "has not said its name");
    plug.refuses(Some("plug"), "two words", json!(1), "one word");
    plug.refuses(Some("a+"), "POWER", json!(1), "makes no topic");
    plug.hear("tele/a/LWT", "Online");
    plug.hear("tele/b/LWT", "Online");
    plug.refuses(None, "POWER", json!(1), "several");
    plug.check("some/other/topic", "{}", &[]);
    plug.check("cmnd/plug/POWER", "ON", &[]);
}
