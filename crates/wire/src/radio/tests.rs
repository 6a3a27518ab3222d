use std::borrow::Cow;

use serde_json::{Value as Json, json};

use super::{Downlink, Kind, Operator, Progress, Uplink, chirpstack_queued, queue_item, read, reason};
use crate::dialect::Command;
use crate::telemetry::Value;

fn heard<'a>(operator: Operator, event: &'a str, body: &'a str) -> Uplink<'a> {
    read(operator, (!event.is_empty()).then_some(event), body.as_bytes()).unwrap()
}

fn values<'a>(uplink: &'a Uplink<'_>) -> Vec<(&'a str, &'a Value<'a>)> {
    uplink.points.iter().map(|point| (&*point.key, &point.value)).collect()
}

const THINGS_STACK_UP: &str = r#"{
  "end_device_ids": {"device_id":"dev1","application_ids":{"application_id":"app1"},
    "dev_eui":"0004A30B001C0530","join_eui":"800000000000000C","dev_addr":"00BCB929"},
  "correlation_ids":["as:up:01E0WZGT6Y7657CPFPE5WEYDSQ"],
  "received_at":"2020-02-12T15:15:45.787Z",
  "uplink_message":{"session_key_id":"AXBSH1Pk6Z0G166/E3BeGQ==","f_port":15,"f_cnt":1,
    "frm_payload":"Aw==","decoded_payload":{"temperature":1.5,"led":{"on":true}},
    "rx_metadata":[
      {"gateway_ids":{"gateway_id":"gw1","eui":"9C5C8E00001A05C4"},"rssi":-110,"channel_rssi":-110,"snr":-4.2},
      {"gateway_ids":{"gateway_id":"gw2"},"rssi":-35,"channel_rssi":-35,"snr":5,"time":"2020-02-12T15:15:45.1Z"}],
    "settings":{"data_rate":{"lora":{"bandwidth":125000,"spreading_factor":7}},"frequency":"868300000"},
    "received_at":"2020-02-12T15:15:45.587Z"}}"#;

#[test]
fn the_things_stack_hands_on_what_a_device_sent_and_the_best_gateway_counts() {
    let uplink = heard(Operator::ThingsStack, "", THINGS_STACK_UP);
    assert_eq!(uplink.device, "0004a30b001c0530");
    assert_eq!(uplink.name.as_deref(), Some("dev1"));
    assert_eq!(uplink.kind, Kind::Data);
    assert_eq!(values(&uplink), [("temperature", &Value::Number(1.5)), ("led.on", &Value::Boolean(true))]);
    assert_eq!(uplink.raw.as_deref(), Some(b"\x03".as_slice()));
    assert_eq!((uplink.port, uplink.rssi, uplink.snr), (Some(15), Some(-35.0), Some(5.0)));
    assert_eq!(uplink.time, Some(1_581_520_545_587));
    assert_eq!(uplink.points.first().and_then(|point| point.ts), uplink.time);
}

#[test]
fn the_things_stack_says_how_a_downlink_goes() {
    let check = |member: &str, progress: Progress<'_>| {
        let body = format!(
            r#"{{"end_device_ids":{{"device_id":"dev-1"}},"received_at":"2020-02-12T15:15:45Z",{member}}}"#
        );
        let uplink = heard(Operator::ThingsStack, "", &body);
        assert_eq!(uplink.device, "dev-1");
        assert_eq!(uplink.kind, Kind::Downlink { id: Some(Cow::Borrowed("c7")), progress });
    };
    let item = r#"{"f_port":15,"frm_payload":"vu8=","correlation_ids":["as:down:1","roost:command:c7"]}"#;
    check(&format!(r#""downlink_queued":{item}"#), Progress::Queued);
    check(&format!(r#""downlink_sent":{item}"#), Progress::Sent);
    check(&format!(r#""downlink_ack":{item}"#), Progress::Acknowledged);
    check(&format!(r#""downlink_nack":{item}"#), Progress::Queued);
    let failed = format!(
        r#""downlink_failed":{{"downlink":{item},"error":{{"namespace":"pkg/x","message_format":"queue full"}}}}"#
    );
    check(&failed, Progress::Failed("queue full".into()));
}

#[test]
fn the_things_stack_says_joins_and_places() {
    let ids = r#""end_device_ids":{"device_id":"dev1","dev_eui":"0004A30B001C0530"}"#;
    let body = format!(r#"{{{ids},"join_accept":{{"session_key_id":"AX=="}}}}"#);
    assert_eq!(heard(Operator::ThingsStack, "", &body).kind, Kind::Joined);
    let body = format!(
        r#"{{{ids},"location_solved":{{"service":"x","location":{{"latitude":37.9,"longitude":-87.5}}}}}}"#
    );
    let uplink = heard(Operator::ThingsStack, "", &body);
    assert_eq!(uplink.kind, Kind::Note("location".into()));
    assert_eq!(values(&uplink), [("latitude", &Value::Number(37.9)), ("longitude", &Value::Number(-87.5))]);
}

#[test]
fn what_the_things_stack_says_twice_is_a_note_and_no_second_reading() {
    let body = r#"{"end_device_ids":{"device_id":"dev1","dev_eui":"0004A30B001C0530"},
        "uplink_normalized":{"f_port":15,"f_cnt":1,"frm_payload":"Ag==","normalized_payload":{"air":{"temperature":20}}}}"#;
    let uplink = heard(Operator::ThingsStack, "", body);
    assert_eq!(uplink.kind, Kind::Note("uplink_normalized".into()));
    assert!(uplink.raw.is_none() && values(&uplink).is_empty());
}

#[test]
fn j_30_a_place_that_is_not_on_earth_is_left_out() {
    for (latitude, longitude, is_place) in [
        ("37.9", "-87.5", true),
        ("-90", "180", true),
        ("91", "0", false),
        ("0", "180.5", false),
        // Swapped.
        ("-122.4", "37.8", false),
        ("1e300", "0", false),
    ] {
        let place = format!(r#"{{"latitude":{latitude},"longitude":{longitude},"altitude":12}}"#);
        let stack = format!(
            r#"{{"end_device_ids":{{"device_id":"d","dev_eui":"0004A30B001C0530"}},
               "location_solved":{{"location":{place}}}}}"#
        );
        let chirp = format!(r#"{{"deviceInfo":{{"devEui":"0101010101010101"}},"location":{place}}}"#);
        let heard =
            [heard(Operator::ThingsStack, "", &stack), heard(Operator::ChirpStack, "location", &chirp)];
        for uplink in heard {
            assert_eq!(values(&uplink).len(), if is_place { 3 } else { 0 }, "{latitude} {longitude}");
        }
    }
    let nan = r#"{"deviceInfo":{"devEui":"0101010101010101"},"location":{"latitude":NaN}}"#;
    assert!(read(Operator::ChirpStack, Some("location"), nan.as_bytes()).is_err());
}

const CHIRPSTACK_UP: &str = r#"{
  "deduplicationId":"3ac7e3c4-4401-4b8d-9386-a5c902f9202d","time":"2022-07-18T09:34:15.775023242+00:00",
  "deviceInfo":{"tenantId":"52f14cd4-c6f1-4fbd-8f87-4025e1d49242","tenantName":"ChirpStack",
    "applicationId":"17c82e96-be03-4f38-aef3-f83d48582d97","applicationName":"Test application",
    "deviceProfileId":"14855bf7-d10d-4aee-b618-ebfcb64dc7ad","deviceProfileName":"Test device-profile",
    "deviceName":"Test device","devEui":"0101010101010101","tags":{"key":"value"}},
  "devAddr":"00189440","dr":1,"fCnt":4,"fPort":1,"confirmed":false,"data":"qrs=","object":{"humidity":41},
  "rxInfo":[{"gatewayId":"0016c001f153a14c","uplinkId":4217106255,"rssi":-36,"snr":10.5,"crcStatus":"CRC_OK"}],
  "txInfo":{"frequency":867100000,"modulation":{"lora":{"bandwidth":125000,"spreadingFactor":11}}}}"#;

#[test]
fn chirpstack_hands_on_what_a_device_sent() {
    let uplink = heard(Operator::ChirpStack, "up", CHIRPSTACK_UP);
    assert_eq!((&*uplink.device, uplink.name.as_deref()), ("0101010101010101", Some("Test device")));
    assert_eq!(uplink.kind, Kind::Data);
    assert_eq!(values(&uplink), [("humidity", &Value::Integer(41))]);
    assert_eq!(uplink.raw.as_deref(), Some(b"\xaa\xbb".as_slice()));
    assert_eq!((uplink.port, uplink.rssi, uplink.snr), (Some(1), Some(-36.0), Some(10.5)));
    assert_eq!(uplink.time, Some(1_658_136_855_775));
}

#[test]
fn chirpstack_says_joins_states_and_how_a_downlink_goes() {
    let body = |rest: &str| {
        format!(r#"{{"time":"2022-07-18T09:34:15Z","deviceInfo":{{"devEui":"0101010101010101"}},{rest}}}"#)
    };
    let check = |event: &str, rest: &str, kind: Kind<'_>| {
        assert_eq!(heard(Operator::ChirpStack, event, &body(rest)).kind, kind, "{event}");
    };
    let of = |progress| Kind::Downlink { id: Some("q-1".into()), progress };
    check("join", r#""devAddr":"00189440""#, Kind::Joined);
    check("txack", r#""queueItemId":"q-1","fCntDown":2"#, of(Progress::Sent));
    check("ack", r#""queueItemId":"q-1","acknowledged":true"#, of(Progress::Acknowledged));
    check(
        "ack",
        r#""queueItemId":"q-1","acknowledged":false"#,
        of(Progress::Failed("the device did not acknowledge it".into())),
    );
    check("log", r#""level":"ERROR","code":"UPLINK_CODEC""#, Kind::Note("log".into()));
    let status = body(
        r#""margin":10,"externalPowerSource":false,"batteryLevelUnavailable":false,"batteryLevel":75.5"#,
    );
    let status = heard(Operator::ChirpStack, "status", &status);
    assert_eq!(
        values(&status),
        [
            ("margin", &Value::Number(10.0)),
            ("batteryLevel", &Value::Number(75.5)),
            ("externalPowerSource", &Value::Boolean(false))
        ]
    );
}

#[test]
fn a_sigfox_template_may_quote_its_numbers() {
    let body = r#"{"device":"1A2B3C","time":"1510000000","data":"01ff","seqNumber":"12","ack":"true",
        "rssi":"-121.00","snr":"9.5","temp":"21.5","state":"open","battery":null,"lat":""}"#;
    let uplink = heard(Operator::Sigfox, "", body);
    assert_eq!((&*uplink.device, uplink.time), ("1A2B3C", Some(1_510_000_000_000)));
    assert_eq!((uplink.rssi, uplink.snr, uplink.listens), (Some(-121.0), Some(9.5), true));
    assert_eq!(uplink.raw.as_deref(), Some(b"\x01\xff".as_slice()));
    assert_eq!(values(&uplink), [("state", &Value::Text("open".into())), ("temp", &Value::Number(21.5))]);
}

#[test]
fn sigfox_says_states_and_whether_a_downlink_was_taken() {
    let uplink = heard(Operator::Sigfox, "", r#"{"device":"1A2B","time":1510000000,"batt":3.2,"temp":24}"#);
    assert_eq!(uplink.kind, Kind::Note("status".into()));
    assert_eq!(uplink.points.len(), 2);
    let check = |body: &str, progress: Progress<'_>| {
        assert_eq!(heard(Operator::Sigfox, "", body).kind, Kind::Downlink { id: None, progress });
    };
    let taken = r#"{"device":"1A2B","infoCode":0,"infoMessage":"Acked","downlinkAck":true}"#;
    check(taken, Progress::Acknowledged);
    let lost = r#"{"device":"1A2B","infoCode":2,"infoMessage":"No downlink","downlinkAck":"false"}"#;
    check(lost, Progress::Failed("No downlink".into()));
}

#[test]
fn what_is_no_call_back_is_refused_in_words() {
    let check = |operator: Operator, body: &str| {
        assert!(read(operator, Some("up"), body.as_bytes()).is_err(), "{body}");
    };
    for operator in [Operator::Sigfox, Operator::ThingsStack, Operator::ChirpStack] {
        for body in ["", "null", "[]", "{}", "{\"device\":\"1\",\"device\":\"2\"}", "{\"device\":1}", "\u{1}"]
        {
            check(operator, body);
        }
    }
    check(Operator::Sigfox, r#"{"device":"123456789","data":"00"}"#);
    check(Operator::Sigfox, r#"{"device":"a/b","data":"00"}"#);
    check(Operator::Sigfox, r#"{"device":"12","data":"0"}"#);
    check(Operator::Sigfox, r#"{"device":"12","data":"zz"}"#);
    check(Operator::ChirpStack, r#"{"deviceInfo":{"devEui":"+/#"},"fPort":1}"#);
    check(Operator::ChirpStack, r#"{"deviceInfo":{"devEui":"0101010101010101"},"fPort":300}"#);
    check(Operator::ChirpStack, r#"{"deviceInfo":{"devEui":"0101010101010101"},"data":"!"}"#);
    check(Operator::ThingsStack, r#"{"end_device_ids":{"device_id":"dev1"}}"#);
    check(Operator::ThingsStack, r#"{"end_device_ids":{"device_id":"a/b"},"join_accept":{}}"#);
    let event = read(Operator::ChirpStack, Some("a/b"), CHIRPSTACK_UP.as_bytes());
    assert!(event.is_err());
}

fn worded(operator: Operator, params: Json) -> Result<Json, String> {
    let command = Command { id: "c7", name: "downlink", params: &params };
    let downlink = Downlink::of(&command).map_err(|error| error.to_string())?;
    let body = downlink.encode(operator, "1A2B").map_err(|error| error.to_string())?;
    Ok(serde_json::from_str(&body).unwrap())
}

#[test]
fn a_command_becomes_a_downlink_in_the_operators_words() {
    let check = |operator, params, body: Json| assert_eq!(worded(operator, params), Ok(body));
    check(
        Operator::Sigfox,
        json!({"hex": "0011223344556677"}),
        json!({"1A2B": {"downlinkData": "0011223344556677"}}),
    );
    check(
        Operator::ThingsStack,
        json!({"hex": "beef", "port": 15, "confirmed": true}),
        json!({"downlinks": [{"frm_payload": "vu8=", "f_port": 15, "confirmed": true, "priority": "NORMAL",
            "correlation_ids": ["roost:command:c7"]}]}),
    );
    check(
        Operator::ThingsStack,
        json!({"object": {"led": "on"}}),
        json!({"downlinks": [{"decoded_payload": {"led": "on"}, "f_port": 1, "confirmed": false,
            "priority": "NORMAL", "correlation_ids": ["roost:command:c7"]}]}),
    );
    check(
        Operator::ChirpStack,
        json!({"base64": "AQID", "port": 10}),
        json!({"queueItem": {"id": queue_item("c7"), "data": "AQID", "fPort": 10, "confirmed": false}}),
    );
    assert_eq!(chirpstack_queued(br#"{"id":"q-1"}"#).as_deref(), Some("q-1"));
    assert_eq!(chirpstack_queued(b"queue"), None);
}

#[test]
fn the_id_of_a_queue_item_is_a_uuid_that_a_command_always_has() {
    let id = queue_item("c7");
    assert_eq!((queue_item("c7"), queue_item("c8") == id), (id.clone(), false));
    let groups: Vec<_> = id.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
    assert_eq!(id.chars().nth(14), Some('8'), "{id}");
    assert!(id.chars().nth(19).is_some_and(|variant| "89ab".contains(variant)), "{id}");
}

#[test]
fn of_a_refusal_only_its_message_is_handed_on() {
    for (answer, expected) in [
        (
            r#"{"code":7,"message":"no rights\nto write","details":[{"secret":1}]}"#,
            Some("no rights to write"),
        ),
        (r#"{"message":""}"#, None),
        (r#"{"message":{"a":1}}"#, None),
        ("<html>inner page</html>", None),
        ("", None),
    ] {
        assert_eq!(reason(answer.as_bytes()).as_deref(), expected, "{answer}");
    }
    let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(5_000));
    assert_eq!(reason(long.as_bytes()).map(|text| text.len()), Some(200));
}

#[test]
fn a_command_that_is_no_downlink_fails_in_words() {
    let check = |params: Json| assert!(worded(Operator::ChirpStack, params.clone()).is_err(), "{params}");
    for params in [
        json!(null),
        json!({"hex": "0"}),
        json!({"hex": "00", "base64": "AA=="}),
        json!({"base64": "!"}),
        json!({"hex": "00", "port": 0}),
        json!({"hex": "00", "port": 224}),
        json!({"hex": "00".repeat(243)}),
    ] {
        check(params);
    }
    assert!(worded(Operator::Sigfox, json!({"hex": "00"})).is_err());
    assert!(worded(Operator::Sigfox, json!({"object": {}})).is_err());
}
