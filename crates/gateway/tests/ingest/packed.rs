use std::io::Write;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Request;
use roost_hub::reading::Value;
use serde_json::json;

use crate::world::{Answer, Ingest, JSON, LINES, pieces, post, token};

const OWN: &str = "/api/v1/me/telemetry";
const MEBIBYTE: usize = 1024 * 1024;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

type Pack = fn(&[u8]) -> Vec<u8>;

const CODINGS: [(&str, Pack); 2] = [("gzip", gzip), ("zstd", zstd)];

fn packed(coding: &str, content_type: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = post(&token("a"), OWN, content_type, body);
    request.headers_mut().insert("content-encoding", coding.parse().unwrap());
    request
}

async fn send(ingest: &Ingest, coding: &str, content_type: &str, body: impl Into<Body>) -> Answer {
    ingest.call(packed(coding, content_type, body)).await
}

/// JSON of this length that does not shrink to a tenth.
fn varied(length: usize) -> String {
    let mut number = 1_u64;
    let mut text = "[{\"x\":0}".to_owned();
    while text.len() < length {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!(",{{\"x\":{}}}", number >> 11));
    }
    text.push(']');
    text
}

#[tokio::test]
async fn a_packed_body_says_the_same() {
    let ingest = Ingest::new().await;
    for (number, (coding, pack)) in (1_i64..).zip(CODINGS) {
        let body = pack(format!(r#"{{"x":{number}}}"#).as_bytes());
        send(&ingest, coding, JSON, body.clone()).await.expect(204);
        assert_eq!(ingest.value("x"), Some(Value::Integer(number)), "{coding}");
        let one_by_one: Vec<Bytes> = body.chunks(1).map(Bytes::copy_from_slice).collect();
        send(&ingest, coding, JSON, pieces(one_by_one)).await.expect(204);
        let large = varied(MEBIBYTE / 8);
        send(&ingest, coding, JSON, pack(large.as_bytes())).await.expect(204);
    }
    send(&ingest, "identity", JSON, r#"{"x":7}"#).await.expect(204);
    assert_eq!(ingest.value("x"), Some(Value::Integer(7)));
}

#[tokio::test]
async fn a_head_with_a_name_and_members_behind_each_other_are_read() {
    let ingest = Ingest::new().await;
    let builder = flate2::GzBuilder::new().filename("x.json").comment("of a device").extra(vec![1, 2, 3]);
    let mut encoder = builder.write(Vec::new(), Compression::fast());
    encoder.write_all(br#"{"x":"#).unwrap();
    let two = [encoder.finish().unwrap(), gzip(b"1}")].concat();
    send(&ingest, "GZIP", JSON, two).await.expect(204);
    let two = [zstd(br#"{"y":"#), zstd(b"2}")].concat();
    send(&ingest, "zstd", JSON, two).await.expect(204);
    assert_eq!((ingest.value("x"), ingest.value("y")), (Some(Value::Integer(1)), Some(Value::Integer(2))));
}

#[tokio::test]
async fn packed_lines_are_taken_as_they_come() {
    let ingest = Ingest::new().await;
    let lines = (0..1_000).map(|number| format!("{{\"x\":{number}}}\n")).collect::<String>();
    for (coding, pack) in CODINGS {
        let body: Vec<Bytes> = pack(lines.as_bytes()).chunks(100).map(Bytes::copy_from_slice).collect();
        let report = send(&ingest, coding, LINES, pieces(body)).await.expect(200).json();
        assert_eq!(report, json!({ "accepted": 1_000, "rejected": [], "last_line": 1_000 }), "{coding}");
    }
    let mut cut = gzip(lines.as_bytes());
    cut.truncate(cut.len() - 9);
    let problem = send(&ingest, "gzip", LINES, cut).await.problem(400, "unreadable");
    assert!(problem["accepted"].as_u64().unwrap() > 0, "{problem}");
}

#[tokio::test]
async fn h_11_a_coding_that_is_unknown_or_within_another_is_refused() {
    let ingest = Ingest::new().await;
    for coding in ["br", "deflate", "gzip, gzip", "gzip,zstd", "identity, zstd, zstd", "x", "\u{e4}"] {
        for content_type in [JSON, LINES] {
            let answer = send(&ingest, coding, content_type, gzip(br#"{"x":1}"#)).await;
            assert_eq!(answer.headers["accept-encoding"], "gzip, zstd", "{coding}");
            answer.problem(415, "media-type");
        }
    }
    assert_eq!(ingest.value("x"), None);
}

#[tokio::test]
async fn h_11_what_is_not_packed_as_it_says_or_breaks_off_is_refused() {
    let ingest = Ingest::new().await;
    for (coding, pack) in CODINGS {
        let whole = pack(br#"{"x":1}"#);
        let mut bad: Vec<Vec<u8>> = (0..whole.len()).map(|length| whole[..length].to_vec()).collect();
        bad.push(br#"{"x":1}"#.to_vec());
        bad.push([whole.clone(), b"more".to_vec()].concat());
        bad.push(pack(&whole));
        for body in bad {
            send(&ingest, coding, JSON, body).await.problem(400, "unreadable");
        }
    }
    let mut wrong_sum = gzip(br#"{"x":1}"#);
    *wrong_sum.iter_mut().rev().nth(5).unwrap() ^= 1;
    send(&ingest, "gzip", JSON, wrong_sum).await.problem(400, "unreadable");
    let endless_name = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0][..], &[b'a'; 10_000]].concat();
    send(&ingest, "gzip", JSON, endless_name).await.problem(400, "unreadable");
    assert_eq!(ingest.value("x"), None);
}

#[tokio::test]
async fn h_11_a_bomb_is_refused_while_it_is_unpacked() {
    let ingest = Ingest::new().await;
    let spaces = |length: usize| [br#"{"x":1"#.to_vec(), vec![b' '; length], b"}".to_vec()].concat();
    for (coding, pack) in CODINGS {
        // As much as would be taken plain is taken.
        send(&ingest, coding, JSON, pack(&spaces(MEBIBYTE - 10))).await.expect(204);
        for length in [2 * MEBIBYTE, 30 * MEBIBYTE] {
            send(&ingest, coding, JSON, pack(&spaces(length))).await.problem(413, "too-large");
        }
        let lines = format!("{{\"x\":1}}{}\n", " ".repeat(60_000)).repeat(400);
        let problem = send(&ingest, coding, LINES, pack(lines.as_bytes())).await.problem(413, "too-large");
        assert!((130..300).contains(&problem["accepted"].as_u64().unwrap()), "{problem}");
    }
}

#[tokio::test]
async fn h_11_even_what_shrinks_little_is_eight_mebibytes_at_most() {
    let ingest = Ingest::new().await;
    let text = format!("[{}]", varied(9 * MEBIBYTE));
    let mut request = packed("gzip", JSON, gzip(text.as_bytes()));
    *request.uri_mut() = OWN.parse().unwrap();
    ingest.call(request).await.problem(413, "too-large");
}
