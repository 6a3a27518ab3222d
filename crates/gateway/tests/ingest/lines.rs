use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use roost_hub::reading::Value;
use serde_json::json;
use tokio::sync::mpsc;

use crate::world::{Ingest, LINES, OWNER, pieces, post};

const OWN: &str = "/api/v1/me/telemetry";
/// How many pieces a test's body is ahead.
const PIECES: usize = 1;

fn line(value: usize) -> String {
    format!("{{\"x\":{value}}}\n")
}

/// A body that is written while it is read.
pub(crate) fn written() -> (mpsc::Sender<&'static str>, Body) {
    let (sender, receiver) = mpsc::channel(PIECES);
    let pieces = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<&'static str>| {
        let piece = receiver.recv().await?;
        Some((Ok::<_, io::Error>(piece), receiver))
    });
    (sender, Body::from_stream(pieces))
}

#[tokio::test]
async fn each_line_counts_wherever_the_pieces_end() {
    let ingest = Ingest::new().await;
    let text = "{\"x\":1}\r\n\n{\"x\":2}\n  \n[{\"x\":3},{\"y\":4}]";
    for size in [1, 2, 5, 100] {
        let chunks: Vec<_> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
        let answer = ingest.post(OWN, LINES, pieces(chunks)).await.expect(200);
        assert_eq!(answer.json(), json!({ "accepted": 3, "rejected": [], "last_line": 5 }), "{size}");
    }
    assert_eq!(ingest.value("x"), Some(Value::Integer(3)));
    assert_eq!(ingest.value("y"), Some(Value::Integer(4)));
    let empty = ingest.post(OWN, LINES, "").await.expect(200);
    assert_eq!(empty.json(), json!({ "accepted": 0, "rejected": [], "last_line": 0 }));
}

#[tokio::test]
async fn a_line_is_taken_before_the_next_one_comes() {
    let ingest = Ingest::new().await;
    let (sender, body) = written();
    let device = async {
        sender.send("{\"x\":1}\n{\"x\"").await.unwrap();
        while ingest.value("x") != Some(Value::Integer(1)) {
            tokio::task::yield_now().await;
        }
        sender.send(":2}\n").await.unwrap();
        drop(sender);
    };
    let (answer, ()) = tokio::join!(ingest.post(OWN, LINES, body), device);
    assert_eq!(answer.expect(200).json()["accepted"], 2);
}

#[tokio::test]
async fn a_bad_line_is_named_and_the_others_are_taken() {
    let ingest = Ingest::new().await;
    let answer = ingest.post(OWN, LINES, "{\"x\":1}\nnonsense\n{\"x\":1e400}\n{\"x\":2}\n").await.expect(200);
    let report = answer.json();
    assert_eq!((&report["accepted"], &report["last_line"]), (&json!(2), &json!(4)));
    let rejected = report["rejected"].as_array().unwrap();
    assert_eq!(rejected.iter().map(|one| one["line"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3]);
    assert!(rejected.iter().all(|one| !one["detail"].as_str().unwrap().is_empty()));
}

#[tokio::test]
async fn the_first_hundred_bad_lines_are_named() {
    let ingest = Ingest::new().await;
    let report = ingest.post(OWN, LINES, "no\n".repeat(150)).await.expect(200).json();
    assert_eq!((report["rejected"].as_array().unwrap().len(), &report["last_line"]), (100, &json!(150)));
}

#[tokio::test]
async fn a_long_stream_is_larger_than_any_body_may_be() {
    let ingest = Ingest::new().await;
    let line = format!("{{\"x\":\"{}\"}}\n", "y".repeat(1_000));
    let chunks = vec![Bytes::from(line.repeat(10)); 300];
    let answer = ingest.post(OWN, LINES, pieces(chunks)).await.expect(200);
    assert_eq!(answer.json()["accepted"], 3_000);
}

#[tokio::test]
async fn d_06_an_endless_line_is_refused_and_what_came_before_it_stays() {
    let ingest = Ingest::new().await;
    let chunks = std::iter::once(Bytes::from("{\"x\":1}\n"))
        .chain(std::iter::repeat_n(Bytes::from(vec![b'y'; 1_000]), 100));
    let problem = ingest.post(OWN, LINES, pieces(chunks)).await.problem(413, "too-large");
    assert_eq!((&problem["accepted"], &problem["last_line"]), (&json!(1), &json!(1)));
    assert_eq!(ingest.value("x"), Some(Value::Integer(1)));
}

#[tokio::test(start_paused = true)]
async fn h_02_a_stream_that_falls_silent_is_ended_after_a_minute() {
    let ingest = Ingest::new().await;
    let begun = tokio::time::Instant::now();
    let body = stream::iter([Ok::<_, io::Error>(line(1))]).chain(stream::pending());
    let problem = ingest.post(OWN, LINES, Body::from_stream(body)).await.problem(408, "too-slow");
    assert_eq!((&problem["accepted"], &problem["last_line"]), (&json!(1), &json!(1)));
    let waited = begun.elapsed();
    assert!((Duration::from_secs(60)..Duration::from_secs(61)).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn h_02_a_slow_stream_goes_on_for_hours() {
    let ingest = Ingest::new().await;
    let body = stream::iter(0..100).then(async |number| {
        tokio::time::sleep(Duration::from_secs(59)).await;
        Ok::<_, io::Error>(line(number))
    });
    let answer = ingest.post(OWN, LINES, Body::from_stream(body.boxed())).await.expect(200);
    assert_eq!(answer.json()["accepted"], 100);
}

#[tokio::test]
async fn h_09_what_was_taken_of_a_stream_that_breaks_off_stays() {
    let ingest = Ingest::new().await;
    let broken = [Ok(line(1)), Ok("{\"x\":2}".to_owned()), Err(io::Error::other("gone"))];
    let body = Body::from_stream(stream::iter(broken));
    let problem = ingest.post(OWN, LINES, body).await.problem(400, "unreadable");
    assert_eq!((&problem["accepted"], &problem["last_line"]), (&json!(1), &json!(1)));
    assert_eq!(ingest.value("x"), Some(Value::Integer(1)));
}

#[tokio::test]
async fn x_04_a_stream_ends_when_its_token_is_revoked() {
    let ingest = Ingest::new().await;
    let (sender, body) = written();
    let device = async {
        sender.send("{\"x\":1}\n").await.unwrap();
        while ingest.value("x").is_none() {
            tokio::task::yield_now().await;
        }
        ingest.revoke().await;
        // The body may be gone already.
        sender.send("{\"x\":2}\n").await.ok();
    };
    let (answer, ()) = tokio::join!(ingest.post(OWN, LINES, body), device);
    assert_eq!(answer.problem(401, "unauthenticated")["accepted"], 1);
    assert_eq!(ingest.value("x"), Some(Value::Integer(1)));
}

#[tokio::test]
async fn a_device_deleted_meanwhile_ends_the_stream_of_an_application() {
    let ingest = Ingest::new().await;
    let (sender, body) = written();
    let device = async {
        sender.send("{\"x\":1}\n").await.unwrap();
        while ingest.value("x").is_none() {
            tokio::task::yield_now().await;
        }
        ingest.hub().delete_device(&crate::world::tenant(), &crate::world::id("a")).await.unwrap();
        sender.send("{\"x\":2}\n").await.ok();
    };
    let (answer, ()) =
        tokio::join!(ingest.call(post(OWNER, "/api/v1/devices/a/telemetry", LINES, body)), device);
    assert_eq!(answer.problem(404, "not-found")["accepted"], 1);
}
