use serde_json::{Value as Json, json};

use super::payload::{Metric, Payload, Raw};
use super::protobuf::{Content, Writer};
use super::{REBIRTH_PAUSE, Sparkplug};
use crate::dialect::{About, Awaited, Command, Dialect, Outgoing, Presence, Said, What};
use crate::telemetry::Value;

pub(super) const NOW: i64 = 1_795_269_864_000;

/// One metric as a device would write it, with properties.
#[derive(Clone, Default)]
pub(super) struct Written {
    metric: Metric<'static>,
    unit: Option<&'static str>,
    quality: Option<u64>,
}

pub(super) fn metric(name: &'static str, datatype: u32, value: Raw<'static>) -> Written {
    let metric =
        Metric { name: Some(name), datatype: Some(datatype), value: Some(value), ..Metric::default() };
    Written { metric, ..Written::default() }
}

fn aliased(name: &'static str, alias: u64, datatype: u32, value: Raw<'static>) -> Written {
    let mut written = metric(name, datatype, value);
    written.metric.alias = Some(alias);
    written
}

fn by_alias(alias: u64, value: Raw<'static>) -> Written {
    let metric = Metric { alias: Some(alias), value: Some(value), ..Metric::default() };
    Written { metric, ..Written::default() }
}

fn birth_death(number: u64) -> Written {
    metric("bdSeq", 4, Raw::Long(number))
}

pub(super) fn payload(seq: Option<u64>, metrics: &[Written]) -> Vec<u8> {
    let mut out = Writer::default();
    out.field(1, Content::Varint(1_700_000_000_000));
    for written in metrics {
        let payload = Payload { metrics: vec![written.metric.clone()], ..Payload::default() }.encode();
        // The metric alone, without the tag and length in front of it: the properties follow it.
        let mut one = payload.get(2..).unwrap().to_vec();
        assert!(one.len() < 120, "one byte says the length");
        let mut properties = Writer::default();
        let mut value = Writer::default();
        if let Some(unit) = written.unit {
            properties.field(1, Content::Bytes(b"engUnit"));
            value.field(1, Content::Varint(12));
            value.field(8, Content::Bytes(unit.as_bytes()));
        } else if let Some(quality) = written.quality {
            properties.field(1, Content::Bytes(b"Quality"));
            value.field(1, Content::Varint(3));
            value.field(3, Content::Varint(quality));
        }
        properties.field(2, Content::Bytes(&value.into_bytes()));
        let mut tail = Writer::default();
        tail.field(9, Content::Bytes(&properties.into_bytes()));
        one.extend(tail.into_bytes());
        out.field(2, Content::Bytes(&one));
    }
    if let Some(seq) = seq {
        out.field(3, Content::Varint(seq));
    }
    out.into_bytes()
}

/// What was said, in short: who, and what in words.
fn short(said: Vec<Said<'_>>) -> Vec<String> {
    said.into_iter().map(|said| format!("{}{}", who(&said.about), what(said.what))).collect()
}

fn who(about: &About<'_>) -> String {
    match about {
        About::Connection => String::new(),
        About::Named(name) => format!("{name}: "),
    }
}

fn what(what: What<'_>) -> String {
    match what {
        What::Readings(points) => {
            let one = |point: crate::telemetry::Point<'_>| format!("{}={}", point.key, value(&point.value));
            points.into_iter().map(one).collect::<Vec<_>>().join(" ")
        }
        What::Presence(Presence::Online) => "online".to_owned(),
        What::Presence(Presence::Offline) => "offline".to_owned(),
        What::Stale(keys) => format!("stale {}", keys.join(" ")),
        What::Event { name, payload } => format!("event {name} {}", String::from_utf8_lossy(&payload)),
        What::Description(about) => {
            let keys =
                about.keys.iter().map(|key| format!("{}[{}]", key.key, key.unit.as_deref().unwrap_or("")));
            let labels = about.labels.iter().map(|(name, value)| format!(" {name}={value}"));
            format!("is {}", keys.chain(labels).collect::<Vec<_>>().join(""))
        }
        What::Reply(reply) => format!("publish {}", reply.topic),
        other => format!("{other:?}"),
    }
}

fn value(value: &Value<'_>) -> String {
    match value {
        Value::Number(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Unsigned(value) => value.to_string(),
        Value::Boolean(value) => value.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Gap => "gap".to_owned(),
    }
}

#[derive(Default)]
struct Line {
    dialect: Sparkplug,
    now: i64,
}

impl Line {
    fn hear(&mut self, topic: &str, seq: Option<u64>, metrics: &[Written]) -> Vec<String> {
        short(self.dialect.hear(topic, &payload(seq, metrics), NOW + self.now).unwrap())
    }

    fn born() -> Self {
        let mut line = Self::default();
        let mut temperature = aliased("Inputs/T", 7, 9, Raw::Float(21.5));
        temperature.unit = Some("°C");
        let metrics = [
            birth_death(3),
            metric("Node Control/Rebirth", 11, Raw::Boolean(false)),
            metric("Properties/Model", 12, Raw::Text("X1")),
            temperature,
        ];
        let said = line.hear("spBv1.0/plant/NBIRTH/edge", Some(0), &metrics);
        assert_eq!(
            said,
            [
                "online",
                "is Properties/Model[]Inputs/T[°C] Model=X1",
                "Properties/Model=X1 Inputs/T=21.5",
                "publish spBv1.0/STATE/roost"
            ]
        );
        let said = line.hear(
            "spBv1.0/plant/DBIRTH/edge/pump",
            Some(1),
            &[aliased("Speed", 9, 3, Raw::Int(40)), aliased("On", 10, 11, Raw::Boolean(true))],
        );
        assert_eq!(said, ["pump: online", "pump: is Speed[]On[]", "pump: Speed=40 On=true"]);
        line
    }

    fn said(&mut self, device: Option<&str>, name: &str, params: Json) -> Result<Outgoing, String> {
        let command = Command { id: "c1", name, params: &params };
        let wording = self.dialect.command(device, command).map_err(|error| error.to_string())?;
        assert_eq!(wording.answer, Awaited::Nothing);
        Ok(wording.messages.into_iter().next().unwrap())
    }
}

#[test]
fn after_a_birth_an_alias_and_a_datatype_are_enough() {
    let mut line = Line::born();
    let said = line.hear("spBv1.0/plant/NDATA/edge", Some(2), &[by_alias(7, Raw::Float(22.25))]);
    assert_eq!(said, ["Inputs/T=22.25"]);
    // A negative number of 32 bits.
    let said = line.hear("spBv1.0/plant/DDATA/edge/pump", Some(3), &[by_alias(9, Raw::Int(u32::MAX))]);
    assert_eq!(said, ["pump: online", "pump: Speed=-1"]);
}

#[test]
fn a_reading_has_its_own_time_or_that_of_its_message() {
    let mut line = Line::born();
    let mut old = by_alias(7, Raw::Float(1.0));
    old.metric.timestamp = Some(1_600_000_000_000);
    let bytes = payload(Some(2), &[old, by_alias(7, Raw::Float(2.0))]);
    let said = line.dialect.hear("spBv1.0/plant/NDATA/edge", &bytes, NOW).unwrap();
    let What::Readings(points) = &said.first().unwrap().what else { panic!() };
    let times: Vec<_> = points.iter().map(|point| point.ts).collect();
    assert_eq!(times, [Some(1_600_000_000_000), Some(1_700_000_000_000)]);
}

#[test]
fn every_scalar_datatype_is_read_as_what_it_is() {
    let check = |datatype: u32, raw: Raw<'static>, expected: &str| {
        let mut line = Line::default();
        let said = line.hear("spBv1.0/g/NBIRTH/n", Some(0), &[metric("m", datatype, raw)]);
        assert_eq!(said.get(2).unwrap(), &format!("m={expected}"), "{datatype}");
    };
    check(1, Raw::Int(0xFF), "-1");
    check(1, Raw::Int(u32::MAX), "-1");
    check(2, Raw::Int(0x8000), "-32768");
    check(3, Raw::Int(0x8000_0000), "-2147483648");
    check(4, Raw::Long(u64::MAX), "-1");
    check(5, Raw::Int(255), "255");
    check(6, Raw::Int(65_535), "65535");
    check(7, Raw::Int(u32::MAX), "4294967295");
    check(7, Raw::Long(u64::from(u32::MAX)), "4294967295");
    check(8, Raw::Long(u64::MAX), "18446744073709551615");
    check(9, Raw::Float(0.5), "0.5");
    check(9, Raw::Float(f32::NAN), "gap");
    check(10, Raw::Double(0.1), "0.1");
    check(11, Raw::Boolean(true), "true");
    check(12, Raw::Text("a"), "a");
    check(13, Raw::Long(1_700_000_000_000), "1700000000000");
    check(14, Raw::Text("b"), "b");
    check(15, Raw::Text("550e8400-e29b-41d4-a716-446655440000"), "550e8400-e29b-41d4-a716-446655440000");
}

#[test]
fn a_null_is_a_gap_and_a_doubtful_value_is_stale() {
    let mut line = Line::born();
    let mut null = by_alias(7, Raw::Float(0.0));
    (null.metric.value, null.metric.is_null) = (None, true);
    let said = line.hear("spBv1.0/plant/NDATA/edge", Some(2), &[null]);
    assert_eq!(said, ["Inputs/T=gap"]);
    let mut doubtful = by_alias(7, Raw::Float(3.0));
    doubtful.quality = Some(500);
    let said = line.hear("spBv1.0/plant/NDATA/edge", Some(3), &[doubtful]);
    assert_eq!(said, ["Inputs/T=3", "stale Inputs/T"]);
}

#[test]
fn a_gap_in_seq_asks_for_a_birth_and_keeps_the_values() {
    let mut line = Line::born();
    let said = line.hear("spBv1.0/plant/NDATA/edge", Some(9), &[by_alias(7, Raw::Float(1.0))]);
    assert_eq!(said, ["Inputs/T=1", "publish spBv1.0/plant/NCMD/edge"]);
    let said = line.hear("spBv1.0/plant/NDATA/edge", Some(10), &[by_alias(7, Raw::Float(2.0))]);
    assert_eq!(said, ["Inputs/T=2"]);
}

#[test]
fn seq_goes_on_with_0_after_255() {
    let mut line = Line::born();
    for seq in (2..=255).chain(0..3) {
        let said = line.hear("spBv1.0/plant/NDATA/edge", Some(seq), &[by_alias(7, Raw::Float(1.0))]);
        assert_eq!(said.len(), 1, "{seq}");
    }
}

#[test]
fn an_unknown_alias_or_node_asks_for_a_birth_but_not_over_and_over() {
    let mut line = Line::default();
    let ask = ["publish spBv1.0/plant/NCMD/edge"];
    let data = [by_alias(7, Raw::Float(1.0))];
    assert_eq!(line.hear("spBv1.0/plant/NDATA/edge", Some(4), &data), ask);
    assert_eq!(line.hear("spBv1.0/plant/NDATA/edge", Some(5), &data), [""; 0]);
    assert_eq!(line.hear("spBv1.0/plant/DDATA/edge/pump", Some(6), &data), ["pump: online"]);
    line.now = REBIRTH_PAUSE;
    assert_eq!(line.hear("spBv1.0/plant/NDATA/edge", Some(7), &data), ask);
    // A clock that is set back.
    line.now = 0;
    assert_eq!(line.hear("spBv1.0/plant/NDATA/edge", Some(8), &data), ask);
    // What names itself is kept.
    let said = line.hear("spBv1.0/plant/NDATA/edge", Some(9), &[metric("a", 3, Raw::Int(1))]);
    assert_eq!(said, ["a=1"]);
}

#[test]
fn the_rebirth_command_is_what_nodes_look_for() {
    let mut line = Line::born();
    let message = line.said(Some("plant/edge"), "rebirth", json!(null)).unwrap();
    assert_eq!((message.topic.as_str(), message.retain), ("spBv1.0/plant/NCMD/edge", false));
    let payload = Payload::decode(&message.payload).unwrap();
    assert_eq!(payload.timestamp, Some(1_795_269_864_000));
    let metric = payload.metrics.first().unwrap();
    assert_eq!(metric.name, Some("Node Control/Rebirth"));
    assert_eq!((metric.datatype, metric.value), (Some(11), Some(Raw::Boolean(true))));
}

#[test]
fn a_death_takes_the_node_and_its_devices() {
    let mut line = Line::born();
    let said = line.hear("spBv1.0/plant/NDEATH/edge", None, &[birth_death(3)]);
    assert_eq!(said, ["offline", "stale ", "pump: offline", "pump: stale "]);
    let said = line.hear("spBv1.0/plant/NDATA/edge", Some(2), &[by_alias(7, Raw::Float(1.0))]);
    assert_eq!(said, ["publish spBv1.0/plant/NCMD/edge"]);
}

#[test]
fn the_will_of_an_earlier_connection_takes_nobody() {
    let mut line = Line::born();
    assert_eq!(line.hear("spBv1.0/plant/NDEATH/edge", None, &[birth_death(2)]), [""; 0]);
    let said = line.hear("spBv1.0/plant/NDATA/edge", Some(2), &[by_alias(7, Raw::Float(1.0))]);
    assert_eq!(said, ["Inputs/T=1"]);
}

#[test]
fn a_death_that_has_counted_on_is_taken() {
    assert_eq!(Line::born().hear("spBv1.0/plant/NDEATH/edge", None, &[birth_death(4)]).len(), 4);
    let mut line = Line::default();
    line.hear("spBv1.0/plant/NBIRTH/edge", Some(0), &[birth_death(0)]);
    assert_eq!(line.hear("spBv1.0/plant/NDEATH/edge", None, &[birth_death(255)]), [""; 0]);
}

#[test]
fn a_devices_death_is_its_own() {
    let mut line = Line::born();
    let said = line.hear("spBv1.0/plant/DDEATH/edge/pump", Some(2), &[]);
    assert_eq!(said, ["pump: offline", "pump: stale "]);
    let said = line.hear("spBv1.0/plant/NDATA/edge", Some(3), &[by_alias(7, Raw::Float(1.0))]);
    assert_eq!(said, ["Inputs/T=1"]);
}

#[test]
fn a_command_writes_a_metric_in_the_datatype_of_its_birth() {
    let mut line = Line::born();
    let mut check = |device: &str, name: &str, params: Json, topic: &str, raw: Raw<'_>| {
        let device = (!device.is_empty()).then_some(device);
        let message = line.said(device, name, params).unwrap();
        assert_eq!(message.topic, topic);
        let payload = Payload::decode(&message.payload).unwrap();
        let metric = payload.metrics.first().unwrap();
        assert_eq!((metric.name, metric.value), (Some(name), Some(raw)));
    };
    let pump = "spBv1.0/plant/DCMD/edge/pump";
    check("plant/edge/pump", "Speed", json!(-1), pump, Raw::Int(u32::MAX));
    check("pump", "Speed", json!({"value": 5}), pump, Raw::Int(5));
    check("", "Inputs/T", json!(4), "spBv1.0/plant/NCMD/edge", Raw::Float(4.0));
    check("pump", "On", json!(false), pump, Raw::Boolean(false));
    check("plant/edge", "Inputs/T", json!(3), "spBv1.0/plant/NCMD/edge", Raw::Float(3.0));
    let several = line.said(Some("plant/edge/pump"), "set", json!({"Speed": 1, "On": true})).unwrap();
    assert_eq!(Payload::decode(&several.payload).unwrap().metrics.len(), 2);
    assert_eq!(line.said(None, "rebirth", json!(null)).unwrap().topic, "spBv1.0/plant/NCMD/edge");
}

#[test]
fn what_a_metric_cannot_take_fails_in_words() {
    let mut line = Line::born();
    let mut check = |device: Option<&str>, name: &str, params: Json, words: &str| {
        let error = line.said(device, name, params).unwrap_err();
        assert!(error.contains(words), "{error}");
    };
    let pump = Some("plant/edge/pump");
    check(pump, "Speed", json!(1.5), "whole number of 32 bits");
    check(pump, "Speed", json!(3_000_000_000_u64), "whole number of 32 bits");
    check(pump, "On", json!("yes"), "true or false");
    check(pump, "Colour", json!(1), "no metric of its birth");
    check(pump, "Speed", json!({"a": 1, "b": 2}), "metric's name");
    check(Some("plant/+"), "Speed", json!(1), "group/node");
    let unknown = Sparkplug::default().command(None, Command { id: "c1", name: "a", params: &json!(1) });
    assert!(unknown.unwrap_err().to_string().contains("which node"));
}

#[test]
fn a_template_is_read_by_its_members_and_a_table_is_an_event() {
    let mut template = Writer::default();
    let inner = Payload { metrics: vec![metric("Amps", 10, Raw::Double(1.5)).metric], ..Payload::default() };
    template.field(4, Content::Bytes(b"Motor"));
    let mut bytes = template.into_bytes();
    bytes.extend(inner.encode());
    let said = Line::default().hear(
        "spBv1.0/g/NBIRTH/n",
        Some(0),
        &[metric("M1", 19, Raw::Template(bytes.leak())), metric("f/g", 17, Raw::Bytes(b"raw"))],
    );
    assert_eq!(said.get(2).map(String::as_str), Some("M1/Amps=1.5"));
    assert_eq!(said.get(3).map(String::as_str), Some("event f.g raw"));

    let mut element = Writer::default();
    element.field(1, Content::Varint(5));
    let mut row = Writer::default();
    row.field(1, Content::Bytes(&element.into_bytes()));
    let mut table = Writer::default();
    table.field(2, Content::Bytes(b"a"));
    table.field(3, Content::Varint(3));
    table.field(4, Content::Bytes(&row.into_bytes()));
    let table = table.into_bytes().leak();
    let said = Line::default().hear("spBv1.0/g/NBIRTH/n", Some(0), &[metric("t", 16, Raw::DataSet(table))]);
    assert_eq!(said.get(2).map(String::as_str), Some(r#"event t {"columns":["a"],"rows":[[5]]}"#));
}

#[test]
fn further_nodes_and_those_of_a_bridge_have_their_full_names() {
    let mut line = Line::born();
    let said = line.hear("spBv1.0/plant/NDATA/other", Some(0), &[metric("a", 3, Raw::Int(1))]);
    assert_eq!(said, ["plant/other: a=1", "publish spBv1.0/plant/NCMD/other"]);
    let profile = json!({"dialect": {"name": "sparkplug", "bridge": true}});
    let mut line = Line { dialect: Sparkplug::of_profile(profile.as_object().unwrap()), now: 0 };
    line.hear("spBv1.0/plant/NBIRTH/edge", Some(0), &[]);
    let said = line.hear("spBv1.0/plant/DDATA/edge/pump", Some(1), &[metric("a", 3, Raw::Int(1))]);
    assert_eq!(said.get(1).unwrap(), "plant/edge/pump: a=1");
}

#[test]
fn what_is_not_the_familys_is_left_alone_and_what_is_broken_is_refused() {
    let mut line = Line::default();
    for topic in ["plant/temp", "spBv1.0/STATE/scada", "spBv1.0/g/NCMD/n", "spBv1.0/g/DCMD/n/d"] {
        assert_eq!(line.dialect.hear(topic, b"\xff", NOW), Ok(Vec::new()), "{topic}");
    }
    for topic in [
        "spBv1.0/g/NBIRTH",
        "spBv1.0/g/NBIRTH/n/d",
        "spBv1.0/g/DDATA/n",
        "spBv1.0/g/NDATA//",
        "spBv1.0/g/X/n",
    ] {
        assert!(line.dialect.hear(topic, b"", NOW).is_err(), "{topic}");
    }
    let broken: [&[u8]; 6] = [
        b"\x12",
        b"\x12\x05a",
        b"\x0b",
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        b"\x22\x12SPBV1.0_COMPRESSED",
        b"\x12\x03\x0a\x01\xff",
    ];
    for bytes in broken {
        assert!(line.dialect.hear("spBv1.0/g/NBIRTH/n", bytes, NOW).is_err(), "{bytes:?}");
    }
    let unnamed = payload(Some(0), &[by_alias(1, Raw::Int(1))]);
    assert!(line.dialect.hear("spBv1.0/g/NBIRTH/n", &unnamed, NOW).is_err());
    let twice = [aliased("a", 1, 3, Raw::Int(1)), aliased("b", 1, 3, Raw::Int(1))];
    assert!(line.dialect.hear("spBv1.0/g/NBIRTH/n", &payload(Some(0), &twice), NOW).is_err());
    assert!(line.dialect.nodes.is_empty());
}

/// What a metric with a table of these bytes is heard as, or why it is not.
fn table(bytes: Vec<u8>) -> Result<Vec<String>, String> {
    let mut one = Writer::default();
    for (field, content) in
        [(1, Content::Bytes(b"t")), (4, Content::Varint(16)), (17, Content::Bytes(&bytes))]
    {
        one.field(field, content);
    }
    let mut whole = Writer::default();
    whole.field(2, Content::Bytes(&one.into_bytes()));
    whole.field(3, Content::Varint(0));
    let bytes = whole.into_bytes();
    let mut line = Line::default();
    line.dialect.hear("spBv1.0/g/NBIRTH/n", &bytes, NOW).map(short).map_err(|unread| unread.0.into_owned())
}

#[test]
fn j_28_fields_that_nobody_knows_are_passed_over() {
    let mut bytes = payload(Some(0), &[metric("a", 3, Raw::Int(1))]);
    let mut unknown = Writer::default();
    for content in
        [Content::Varint(u64::MAX), Content::Fixed64(1), Content::Fixed32(1), Content::Bytes(b"\xff\xff")]
    {
        unknown.field(5_000, content);
    }
    bytes.extend(unknown.into_bytes());
    let said = short(Line::default().dialect.hear("spBv1.0/g/NBIRTH/n", &bytes, NOW).unwrap());
    assert_eq!(said.get(2).map(String::as_str), Some("a=1"));
}

#[test]
fn j_28_numbers_that_are_too_long_and_fields_that_are_none_are_refused() {
    let mut line = Line::default();
    let overlong: &[u8] = b"\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01";
    let length_beyond_64_bits: &[u8] = b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02";
    // A number may have zeros in front, which Protocol Buffers allow, but no more than ten bytes.
    for bytes in [overlong, length_beyond_64_bits, b"\x12\xff\xff\xff\x7f", b"\x0f", b"\x0e"] {
        assert!(line.dialect.hear("spBv1.0/g/NBIRTH/n", bytes, NOW).is_err(), "{bytes:x?}");
    }
    let padded = b"\x08\x81\x80\x00\x18\x80\x00";
    assert!(line.dialect.hear("spBv1.0/g/NBIRTH/n", padded, NOW).is_ok());
}

#[test]
fn j_28_what_is_packed_or_repeated_without_end_is_refused() {
    let mut types = Writer::default();
    types.field(3, Content::Bytes(&[3; 10_001]));
    assert!(table(types.into_bytes()).unwrap_err().contains("at most 10000 cells"));
    let mut row = Writer::default();
    row.field(4, Content::Bytes(&[0x0A, 0].repeat(10_001)));
    assert!(table(row.into_bytes()).unwrap_err().contains("at most 10000 cells"));
    assert!(table([0x22, 0].repeat(10_001)).unwrap_err().contains("at most 10000 cells"));
    let many = [0x12, 0].repeat(10_001);
    assert!(Line::default().dialect.hear("spBv1.0/g/NBIRTH/n", &many, NOW).is_err());
}

#[test]
fn a_connection_speaks_for_a_bounded_number_of_nodes_and_devices() {
    let mut line = Line::default();
    let birth = payload(Some(0), &[]);
    for node in 0..super::NODES_MAX {
        line.dialect.hear(&format!("spBv1.0/g/NBIRTH/n{node}"), &birth, NOW).unwrap();
    }
    assert!(line.dialect.hear("spBv1.0/g/NBIRTH/more", &birth, NOW).is_err());
    assert!(line.dialect.hear("spBv1.0/g/NDATA/more", &birth, NOW).is_err());
    for device in 0..super::DEVICES_MAX {
        line.dialect.hear(&format!("spBv1.0/g/DBIRTH/n0/d{device}"), &birth, NOW).unwrap();
    }
    assert!(line.dialect.hear("spBv1.0/g/DBIRTH/n0/more", &birth, NOW).is_err());
    line.dialect.hear("spBv1.0/g/DBIRTH/n0/d1", &birth, NOW).unwrap();
}
