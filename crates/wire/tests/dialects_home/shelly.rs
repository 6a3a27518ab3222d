use roost_wire::dialect::Awaited::Answer;
use serde_json::{Value, json};

use super::{Family, fixture};

const ID: &str = "shellyplus1pm-a8032abe54dc";

#[test]
fn a_status_notification_is_readings_at_its_time_and_state() {
    let mut unit = Family::new("shelly");
    unit.check(&format!("{ID}/events/rpc"), fixture!("shelly/notify_status.json"), &[
        &format!(
            "{ID}: switch:0.aenergy.by_minute.0=12.3@1709572925420 switch:0.aenergy.by_minute.1=0.0@1709572925420 \
             switch:0.aenergy.by_minute.2=4.5@1709572925420 switch:0.aenergy.minute_ts=1709572920@1709572925420 \
             switch:0.aenergy.total=1280.52@1709572925420 switch:0.apower=8.9@1709572925420 \
             switch:0.output=true@1709572925420 switch:0.source=\"MQTT\"@1709572925420"
        ),
        &format!(
            "{ID}: reported {{\"switch:0\":{{\"aenergy\":{{\"by_minute\":[12.3,0.0,4.5],\"minute_ts\":1709572920,\
             \"total\":1280.52}},\"apower\":8.9,\"output\":true,\"source\":\"MQTT\"}}}}"
        ),
    ]);
}

#[test]
fn a_full_status_describes_the_device_as_well() {
    let mut unit = Family::new("shelly");
    let said = unit.hear("shellyhtg3-543204539b34/events/rpc", fixture!("shelly/notify_full_status.json"));
    assert_eq!(said.len(), 3);
    assert!(said[0].contains("manufacturer=Shelly,mac=543204539B34,ip=192.168.33.7 | "), "{}", said[0]);
    for described in ["temperature:0.tC[°C]", "humidity:0.rh[%]", "devicepower:0.battery.percent[%]"] {
        assert!(said[0].contains(described), "{described} in {}", said[0]);
    }
    assert!(said[1].contains("temperature:0.tC=21.3@1709572925910"), "{}", said[1]);
}

#[test]
fn status_topics_presence_and_events_are_understood() {
    let mut unit = Family::new("shelly");
    let said = unit.hear("home/boiler/status/switch:0", fixture!("shelly/status_switch.json"));
    assert!(said[0].starts_with("home/boiler: switch:0.aenergy.by_minute.0=0.0 "), "{}", said[0]);
    assert!(said[0].contains("switch:0.temperature.tC=42.5"), "{}", said[0]);
    unit.check("home/boiler/online", "true", &["home/boiler: Online"]);
    unit.check("home/boiler/online", "false", &["home/boiler: Offline"]);
    let said = unit.hear("i4/events/rpc", fixture!("shelly/notify_event.json"));
    let [event] = said.as_slice() else { panic!("{said:?}") };
    assert!(event.starts_with("i4: event single_push {\"component\":\"input:0\""), "{event}");
}

#[test]
fn a_command_is_a_call_and_its_answer_comes_below_the_devices_prefix() {
    let mut unit = Family::new("shelly");
    unit.hear(&format!("{ID}/online"), "true");
    let wording = unit.word(None, "Switch.Set", &json!({"id":0,"on":true})).unwrap();
    assert_eq!(wording.answer, Answer);
    let [message] = wording.messages.as_slice() else { panic!("{wording:?}") };
    assert_eq!(message.topic, format!("{ID}/rpc"));
    let sent: Value = serde_json::from_slice(&message.payload).unwrap();
    let source = format!("{ID}/roost");
    assert_eq!(sent, json!({"id":"c-1","src":source,"method":"Switch.Set","params":{"id":0,"on":true}}));

    let answers = format!("{source}/rpc");
    let done = format!(r#"{{"id":"c-1","src":"{ID}","dst":"{source}","result":{{"was_on":false}}}}"#);
    unit.check(&answers, &done, &[&format!("{ID}: answer c-1 {{\"was_on\":false}}")]);
    let refused = r#"{"id":"c-2","src":"x","dst":"y","error":{"code":-105,"message":"Argument 'id', value 9 not found!"}}"#;
    unit.check(&answers, refused, &[&format!("{ID}: refusal c-2 Argument 'id', value 9 not found! (-105)")]);
    let said = unit.hear(&answers, fixture!("shelly/device_info.json"));
    assert!(
        said[0].contains("is \"Boiler\" manufacturer=Shelly,model=SNSW-001P16EU,app=Plus1PM"),
        "{said:?}"
    );
    assert!(said[1].contains("answer c-1 {"), "{said:?}");
}

#[test]
fn what_cannot_be_read_or_said_says_why() {
    let mut unit = Family::new("shelly");
    unit.unread("x/online", b"maybe", "neither true nor false");
    unit.unread("x/events/rpc", b"{}", "no params");
    unit.unread("x/events/rpc", br#"{"method":"NotifyEvent","params":{}}"#, "no events");
    unit.unread("x/roost/rpc", br#"{"result":1}"#, "no id");
    unit.unread("x/status/switch:0", b"[", "byte");
    unit.refuses(Some("x"), "on", json!({}), "method such as");
    unit.refuses(Some("x"), "Switch.Set", json!(true), "must be an object");
    unit.refuses(Some("x#"), "Switch.Set", json!({}), "makes no topic");
    for topic in ["x/rpc", "x/status/", "x/status/a b", "other"] {
        unit.check(topic, "{}", &[]);
    }
}
