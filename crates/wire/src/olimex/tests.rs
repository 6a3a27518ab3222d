use serde_json::json;

use super::*;
use crate::telemetry::Value;

fn event(text: &str) -> Event {
    match read(text.as_bytes()) {
        Incoming::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

fn points(text: &str) -> Vec<(String, Value<'static>)> {
    event(text).points().into_iter().map(|point| (point.key.into_owned(), point.value)).collect()
}

#[test]
fn the_first_two_frames_say_who_it_is() {
    let log_in = read(br#"{"User" : "mia", "Password" : "secret1"}"#);
    assert_eq!(log_in, Incoming::LogIn(LogIn { user: "mia".into(), password: "secret1".into() }));
    assert!(!format!("{log_in:?}").contains("secret1"));
    let identification = Identification { name: "barn-relay".into(), token: "5CCF7F01A2B3".into() };
    assert_eq!(
        read(br#"{"Name" : "barn-relay", "Token" : "5CCF7F01A2B3"}"#),
        Incoming::Identification(identification)
    );
}

#[test]
fn a_quote_in_the_password_is_a_log_in_that_cannot_be_read() {
    assert_eq!(read(br#"{"User" : "mia", "Password" : "se"cret"}"#), Incoming::UnreadLogIn);
    let mended = read(br#"{"User" : "mia", "Password" : "se\cret"}"#);
    assert_eq!(mended, Incoming::LogIn(LogIn { user: "mia".into(), password: "se\\cret".into() }));
}

#[test]
fn readings_keep_the_names_of_the_node() {
    for (text, expected) in [
        (
            r#"{"EventURL" : "/relay", "EventData" : {"Device" : "ESP8266", "Status" : "OK", "Data" : {"Relay" : 1}, "ref" : "c-118"}}"#,
            vec![("Relay", Value::Integer(1))],
        ),
        (
            r#"{"EventURL":"/adc","EventData":{"Status":"OK","Data":{"ADC":{"Value":512,"Poll":{"Refresh":1,"Each":3,"Threshold":5}}}}}"#,
            vec![("ADC.Value", Value::Integer(512))],
        ),
        (
            r#"{"EventURL":"/battery","EventData":{"Data":{"Battery":{"State":"On Battery","Percent":81}}}}"#,
            vec![
                ("Battery.Percent", Value::Integer(81)),
                ("Battery.State", Value::Text("On Battery".into())),
            ],
        ),
        (
            r#"{"EventURL":"/mod-tc-mk2","EventData":{"I2C_Address":"0x23","Data":{"Temperature":21.25}}}"#,
            vec![("Temperature", Value::Number(21.25))],
        ),
        (
            r#"{"EventURL":"/mod-tc-mk2","EventData":{"Data":{"Temperature":"21.25"}}}"#,
            vec![("Temperature", Value::Number(21.25))],
        ),
        (r#"{"EventURL":"/mod-rgb/0x27","EventData":{"Data":{"R":7}}}"#, vec![("0x27.R", Value::Integer(7))]),
        (
            r#"{"EventURL":"/mod-finger","EventData":{"Status":"Match found","Match":{"ID":3,"Score":91}}}"#,
            vec![("Match.ID", Value::Integer(3)), ("Match.Score", Value::Integer(91))],
        ),
        (
            r#"{"EventURL":null,"EventData":{"Device":"ESP8266","Status":"WebSocket Reconnect","FreeHeap":20480}}"#,
            vec![("FreeHeap", Value::Integer(20_480))],
        ),
        (
            r#"{"EventURL":"/dht","EventsData":{"Data":{"Humidity":44.5,"Servo":[1,true]}}}"#,
            vec![
                ("Humidity", Value::Number(44.5)),
                ("Servo.0", Value::Integer(1)),
                ("Servo.1", Value::Boolean(true)),
            ],
        ),
    ] {
        let mut found = points(text);
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let expected: Vec<_> = expected.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn configuration_is_no_telemetry_and_shows_no_password() {
    let text = r#"{"EventURL":"/config/iot","EventData":{"Device":"ESP8266","Status":"OK","Data":{"IoT":
        {"User":"mia","Password":"secret1","Path":"/events"},"Station":{"StoredAccessPoints":
        [{"SSID":"farm","password":"wlan-key"}]}}}}"#;
    let event = event(text);
    assert!(event.is_about_node() && event.points().is_empty());
    let shown = event.to_json();
    assert!(!shown.contains("secret1") && !shown.contains("wlan-key"), "{shown}");
    assert_eq!(event.data().unwrap()["IoT"]["Password"], HIDDEN);
    assert_eq!(event.data().unwrap()["IoT"]["Path"], "/events");
}

#[test]
fn what_cannot_be_read_is_kept_as_text_up_to_a_password() {
    let Incoming::Unread(text) = read(br#"{"EventURL" : "/config/iot", "Password" : "se"cret"}"#) else {
        panic!("it is no JSON")
    };
    assert!(
        text.starts_with(r#"{"EventURL" : "/config/iot", "Password"#) && !text.contains("cret"),
        "{text}"
    );
    let Incoming::Unread(text) = read(br#"{"PrivateKey":"MII"E"#) else { panic!("it is no JSON") };
    assert!(!text.contains("MII"), "{text}");
    assert_eq!(read(b"[1,2]"), Incoming::Unread("[1,2]".to_owned()));
    assert_eq!(read(b""), Incoming::Unread(String::new()));
}

#[test]
fn j_03_a_frame_with_a_name_that_stands_twice_is_kept_as_text() {
    for frame in [
        r#"{"EventURL":"/relay","EventData":{"Data":{"Relay":1,"Relay":0}}}"#,
        r#"{"EventURL":"/relay","EventURL":"/adc","EventData":{}}"#,
    ] {
        assert_eq!(read(frame.as_bytes()), Incoming::Unread(frame.to_owned()));
    }
    assert_eq!(read(br#"{"User":"a","Password":"b","User":"c"}"#), Incoming::UnreadLogIn);
}

#[test]
fn strings_that_were_printed_without_escaping_are_mended_once() {
    let mended =
        event("{\"EventURL\":\"/mod-rfid\",\"EventData\":{\"Data\":{\"Tag\":\"a\\x\tb\\\\\"}}} trailing");
    assert_eq!(mended.data().unwrap()["Tag"], "a\\x\tb\\");
}

#[test]
fn a_command_fits_the_node_or_is_refused() {
    let data = json!({ "Relay": 2500 });
    let command = Command { url: "/relay", data: data.as_object(), reference: Some("c-119") };
    let sent: serde_json::Value = serde_json::from_str(&command.encode().unwrap()).unwrap();
    assert_eq!(sent, json!({"URL":"/relay","Method":"POST","Data":{"Relay":2500},"ref":"c-119"}));
    let asked = Command { data: None, reference: None, ..command };
    let sent: serde_json::Value = serde_json::from_str(&asked.encode().unwrap()).unwrap();
    assert_eq!(sent, json!({"URL":"/relay","Method":"GET"}));
    assert_eq!(asked.encode().unwrap(), r#"{"URL":"/relay","Method":"GET"}"#);
    // The node searches names at any depth, so what is the command's own comes first.
    let text = Command { data: json!({ "URL": "/x", "ref": "y" }).as_object(), ..command }.encode().unwrap();
    assert!(text.starts_with(r#"{"URL":"/relay","Method":"POST","ref":"c-119","Data":{"#), "{text}");
    let long = "/".repeat(150);
    for url in ["relay", "", "/a b", "/\"", "/ü", &long] {
        assert_eq!(Command { url, ..asked }.encode(), Err(CommandError::Url), "{url}");
    }
    for reference in ["", "a b", "a\"", &"x".repeat(50)] {
        let wrong = Command { reference: Some(reference), ..asked };
        assert_eq!(wrong.encode(), Err(CommandError::Reference), "{reference}");
    }
    let data = json!({ "Text": "x".repeat(1_200) });
    let wide = Command { url: "/badge", data: data.as_object(), reference: None };
    assert!(matches!(wide.encode(), Err(CommandError::TooLong(_))));
}

#[test]
fn the_catalogue_names_units_and_what_can_be_set() {
    let keys = describe(&["/relay", "/mod-tc-mk2", "/mod-tc-mk2/0x25", "/unknown"]);
    assert_eq!(
        keys,
        json!({"Relay":{"url":"/relay","writable":true},"Temperature":{"url":"/mod-tc-mk2","unit":"°C"}})
    );
}

#[test]
fn deep_nesting_ends_nothing() {
    let deep = format!("{{\"EventURL\":\"/x\",\"EventData\":{{\"Data\":{}}}}}", "[".repeat(100_000));
    assert!(matches!(read(deep.as_bytes()), Incoming::Unread(_)));
}
