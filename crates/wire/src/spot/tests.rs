use std::time::Duration;

use serde_json::{Value as Json, json};

use super::*;
use crate::telemetry::Value;

const TRACE: &str = concat!(
    "[\"spot\",\"create\",{\"spot_id\":1187,\"version\":\"61-4-gab12cd3\",\"rfid_swr\":[1,2,3,4,5,6,7]}]\n\n",
    "[\"config\",\t\"create\",\n{\"rfid_power_dbm\":24,\"dns_secondary\":null,\"hostname\":\"w\u{00fc}rzburg\"}]\n\n",
    "[\"presence\",\"create\",{\"item_code\":\"E2\",\"item_codetype\":\"EPC Gen2\",\"proximity\":\"far\",\"hold_delay_s\":5}]\n\n",
    "[\"hit\",\"create\",{\"time\":\"2015-03-02T08:00:01.250Z\",\"item_code\":\"E2\",\"antenna\":1,\"signal_strength\":-512}]\n\n",
);

/// Every message and every fault, with the stream cut into pieces of this size.
fn split(stream: &[u8], size: usize) -> Vec<Result<String, Broken>> {
    let mut splitter = Splitter::default();
    let mut found = Vec::new();
    for mut chunk in stream.chunks(size) {
        while let Some(message) = splitter.next(&mut chunk) {
            found.push(message.map(|bytes| String::from_utf8(bytes.into_owned()).unwrap()));
        }
    }
    found
}

#[test]
fn a_trace_cut_anywhere_gives_the_same_messages() {
    let whole = split(TRACE.as_bytes(), TRACE.len());
    assert_eq!(whole.len(), 4);
    for size in 1..TRACE.len() {
        assert_eq!(split(TRACE.as_bytes(), size), whole, "pieces of {size}");
    }
    assert!(whole.iter().all(|message| read(message.as_ref().unwrap().as_bytes()).is_ok()));
}

#[test]
fn separators_may_be_sloppy() {
    for stream in ["[1]\n \n[2]\n", "[1][2]", "[1]\n[2]", "\n\n\n[1]\r\n\r\n\t[2]"] {
        assert_eq!(split(stream.as_bytes(), 3), [Ok("[1]".to_owned()), Ok("[2]".to_owned())], "{stream:?}");
    }
}

#[test]
fn after_a_broken_message_the_next_one_counts() {
    for (stream, broken) in [
        ("nonsense [3]\n\n[2]", Broken::NoArray),
        ("{\"a\":1}\n\n[2]", Broken::NoArray),
        ("[\"never closed\n\n[2]", Broken::Unended),
        ("[[1]\n \n[2]", Broken::Unended),
    ] {
        for size in 1..stream.len() {
            assert_eq!(split(stream.as_bytes(), size), [Err(broken), Ok("[2]".to_owned())], "{stream:?}");
        }
    }
}

#[test]
fn a_message_that_never_ends_is_dropped_at_64_kib() {
    let mut stream = vec![b'['; 200_000];
    stream.extend_from_slice(b"\n\n[2]");
    for size in [1, 7, 1_000, 300_000] {
        assert_eq!(split(&stream, size), [Err(Broken::TooLong), Ok("[2]".to_owned())]);
    }
}

#[test]
fn brackets_in_texts_are_text() {
    let message = r#"["a]","b\"]",{"c":"[[\\"}]"#;
    assert_eq!(split(format!("{message}\n\n").as_bytes(), 2), [Ok(message.to_owned())]);
}

#[test]
fn a_hit_is_read_without_a_tree() {
    let text = br#"["hit","create",{"time":"2015-03-02T08:00:01.250Z","item_code":"E2","antenna":1,"signal_strength":-512,"new":null,"more":[1]}]"#;
    let hit = read(text).unwrap();
    assert_eq!((&*hit.resource, &*hit.action), ("hit", "create"));
    assert_eq!((hit.text("item_code"), hit.integer("signal_strength")), (Some("E2"), Some(-512)));
    let Body::Fields(fields) = &hit.body else { panic!("a hit has fields") };
    assert_eq!(fields.len(), 4);
    assert_eq!(fields[2], Field { name: "antenna".into(), value: Value::Integer(1) });
}

#[test]
fn what_is_no_message_is_refused() {
    for text in
        ["[]", "[1,2,3]", r#"["hit","create"]"#, r#"["hit","create",{},1]"#, r#"["hit","create",[]]"#, "["]
    {
        assert!(read(text.as_bytes()).is_err(), "{text}");
    }
    let other = read(br#"["sense","create",{"bs1":true}]"#).unwrap();
    assert_eq!(other.body, Body::Object(json!({ "bs1": true }).as_object().unwrap().clone()));
}

#[test]
fn j_03_a_name_that_stands_twice_in_a_message_is_refused() {
    for text in [
        r#"["hit","create",{"antenna":1,"antenna":2}]"#,
        r#"["hit","create",{"antenna":1,"\u0061ntenna":2}]"#,
        r#"["config","update",{"rfid_power_dbm":25,"rfid_power_dbm":27}]"#,
        r#"["config","update",{"control_schema":{"out1":"in1","out1":"in2"}}]"#,
    ] {
        assert!(read(text.as_bytes()).unwrap_err().to_string().contains("given twice"), "{text}");
    }
}

#[test]
fn times_are_read_as_decimals_and_marked_where_that_is_a_guess() {
    for (text, expected) in [
        ("2015-03-02T08:00:01.250Z", Some((1_425_283_201_250, true))),
        ("2015-03-02T08:00:01.29Z", Some((1_425_283_201_290, false))),
        ("2015-03-02T08:00:01.0Z", Some((1_425_283_201_000, false))),
        ("2015-03-02T08:00:01Z", Some((1_425_283_201_000, true))),
        ("1970-01-01T00:00:07.713Z", None),
        ("yesterday", None),
    ] {
        assert_eq!(stamp(text).map(|stamp| (stamp.ts, stamp.is_exact)), expected, "{text}");
    }
}

#[test]
fn commands_have_no_line_feed_inside() {
    let mut out = Vec::new();
    encode("config", "update", json!({ "rfid_power_dbm": 27 }).as_object().unwrap(), &mut out);
    assert_eq!(out, b"[\"config\",\"update\",{\"rfid_power_dbm\":27}]\n\n");
    out.clear();
    encode("config", "update", json!({ "hostname": "a\n\nb" }).as_object().unwrap(), &mut out);
    let mut rest = out.as_slice();
    let message = Splitter::default().next(&mut rest).unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Json>(&message).unwrap()[2]["hostname"], "a\n\nb");
    assert_eq!(rest, b"\n\n");
}

#[test]
fn items_that_a_restarted_spot_does_not_repeat_lapse() {
    let at = Duration::from_secs;
    let mut presences = Presences::default();
    assert_eq!(presences.seen(("EPC Gen2", "A"), Some(5)), Change::Unannounced);
    assert_eq!(presences.seen(("EPC Gen2", "B"), None), Change::Unannounced);
    assert_eq!(presences.seen(("EPC Gen2", "A"), Some(5)), Change::AsSaid);
    presences.restarted(at(100));
    presences.seen(("EPC Gen2", "A"), Some(5));
    assert!(presences.lapsed(at(114)).is_empty());
    let gone = presences.lapsed(at(115));
    assert_eq!(gone, [("EPC Gen2".into(), "B".into())]);
    assert_eq!((presences.count(), presences.gone(("EPC Gen2", "B"))), (1, Change::Unannounced));
}
