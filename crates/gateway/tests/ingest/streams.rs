//! Streams that tell how far they came, and streams that are sent again.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use roost_hub::reading::Value;
use serde_json::{Value as Json, json};

use crate::lines::written;
use crate::world::{Answer, Ingest, LINES, post, token};

const OWN: &str = "/api/v1/me/telemetry";

fn keyed(key: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = post(&token("a"), OWN, LINES, body);
    request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    request
}

fn told(body: Body) -> Request<Body> {
    let mut request = post(&token("a"), OWN, LINES, body);
    request.headers_mut().insert("accept", "text/plain, application/x-ndjson;q=1".parse().unwrap());
    request
}

/// Chunked, as nothing says that it is lines.
fn chunked(content_type: &str, body: impl Into<Body>) -> Request<Body> {
    let mut request = post(&token("a"), OWN, content_type, body);
    request.headers_mut().insert("transfer-encoding", "chunked".parse().unwrap());
    request
}

fn broken(text: &'static str) -> Body {
    Body::from_stream(futures_util::stream::iter([Ok(Bytes::from(text)), Err(io::Error::other("gone"))]))
}

async fn line(answer: &mut Body) -> Json {
    let frame = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(frame.last(), Some(&b'\n'));
    serde_json::from_slice(&frame).unwrap()
}

async fn trailers(answer: &mut Body) -> HeaderMap {
    let trailers = answer.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert!(answer.frame().await.is_none());
    trailers
}

async fn counts(ingest: &Ingest, request: Request<Body>) -> Json {
    let report = ingest.call(request).await.expect(200).json();
    json!([report["accepted"], report["last_line"]])
}

#[tokio::test]
async fn who_asks_is_told_what_is_stored_while_the_stream_is_open() {
    let ingest = Ingest::new().await;
    let (sender, body) = written();
    let response = ingest.respond(told(body)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], LINES);
    let mut answer = response.into_body();

    sender.send("{\"x\":1}\n{\"x\":2}\nno\n{\"x\"").await.unwrap();
    assert_eq!(line(&mut answer).await, json!({ "accepted": 2, "last_line": 3 }));
    assert_eq!(ingest.value("x"), Some(Value::Integer(2)));
    sender.send(":3}\n\n").await.unwrap();
    assert_eq!(line(&mut answer).await, json!({ "accepted": 3, "last_line": 5 }));
    drop(sender);

    let report = line(&mut answer).await;
    assert_eq!((&report["accepted"], &report["last_line"]), (&json!(3), &json!(5)));
    assert_eq!(report["rejected"][0]["line"], 3);
    let trailers = trailers(&mut answer).await;
    assert_eq!(["roost-stored", "roost-last-line"].map(|name| &trailers[name]), ["3", "5"]);
}

#[tokio::test]
async fn h_09_who_asks_is_told_why_the_stream_ended_and_what_is_stored() {
    let ingest = Ingest::new().await;
    let mut answer = ingest.respond(told(broken("{\"x\":1}\n{\"x\":2}"))).await.into_body();
    let mut last = line(&mut answer).await;
    if last["status"].is_null() {
        assert_eq!(last["accepted"], 1);
        last = line(&mut answer).await;
    }
    assert_eq!(
        json!([last["type"], last["status"], last["accepted"], last["last_line"]]),
        json!(["urn:roost:problem:unreadable", 400, 1, 1])
    );
    assert_eq!(trailers(&mut answer).await["roost-stored"], "1");
}

#[tokio::test]
async fn what_is_refused_before_the_stream_begins_is_refused_as_ever() {
    let ingest = Ingest::new().await;
    let mut request = told(Body::from("{\"x\":1}\n"));
    request.headers_mut().insert("authorization", "Bearer wrong".parse().unwrap());
    ingest.call(request).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_stream_that_is_sent_again_goes_on_where_it_broke_off() {
    let ingest = Ingest::new().await;
    let problem = ingest.call(keyed("monday", broken("{\"x\":1}\n\n{\"x\":2}\n{\"x\":3}"))).await;
    assert_eq!(problem.problem(400, "unreadable")["accepted"], 2);
    // Had the lines been taken again, they would be newer than this.
    ingest.post(OWN, "application/json", "{\"x\":99}").await.expect(204);

    // An empty body asks how far it came.
    assert_eq!(counts(&ingest, keyed("monday", "")).await, json!([2, 3]));
    assert_eq!(counts(&ingest, keyed("monday", "{\"x\":1}\n")).await, json!([2, 3]));
    let whole = "{\"x\":1}\n\n{\"x\":2}\n{\"y\":3}\nno\n";
    for _ in 0..2 {
        assert_eq!(counts(&ingest, keyed("monday", whole)).await, json!([3, 5]));
        assert_eq!(ingest.value("x"), Some(Value::Integer(99)));
        assert_eq!(ingest.value("y"), Some(Value::Integer(3)));
    }
    // The names of others are others.
    assert_eq!(counts(&ingest, keyed("tuesday", "")).await, json!([0, 0]));
}

#[tokio::test]
async fn h_26_the_same_key_with_another_stream_is_refused() {
    let ingest = Ingest::new().await;
    assert_eq!(counts(&ingest, keyed("k", "{\"x\":1}\n{\"x\":2}\n")).await, json!([2, 2]));
    let problem = ingest.call(keyed("k", "{\"x\":1}\n{\"x\":3}\n{\"x\":4}\n")).await;
    let problem = problem.problem(422, "idempotency-key-reused");
    assert_eq!(json!([problem["accepted"], problem["last_line"]]), json!([2, 2]));
    assert_eq!(ingest.value("x"), Some(Value::Integer(2)));
}

#[tokio::test]
async fn h_26_of_two_streams_with_one_key_the_later_goes_on() {
    let ingest = Ingest::new().await;
    let (sender, body) = written();
    let first = ingest.call(keyed("k", body));
    let second = async {
        sender.send("{\"x\":1}\n").await.unwrap();
        while ingest.value("x").is_none() {
            tokio::task::yield_now().await;
        }
        // The first connection is dead, but nobody has told the server.
        counts(&ingest, keyed("k", "{\"x\":1}\n{\"x\":2}\n")).await
    };
    let (first, second): (Answer, Json) = tokio::join!(first, second);
    assert_eq!(first.problem(409, "conflict")["accepted"], 1);
    assert_eq!(second, json!([2, 2]));
}

#[tokio::test]
async fn chunked_json_is_taken_document_by_document() {
    let ingest = Ingest::new().await;
    for content_type in ["application/json", ""] {
        let (sender, body) = written();
        let device = async {
            sender.send("{\"x\":1}\n[\n{\"x\":2},\n{\"y\":3}\n]\n{").await.unwrap();
            while ingest.value("y").is_none() {
                tokio::task::yield_now().await;
            }
            sender.send("\n\"x\":4}\nno\n").await.unwrap();
            drop(sender);
        };
        let (answer, ()) = tokio::join!(ingest.call(chunked(content_type, body)), device);
        let report = answer.expect(200).json();
        assert_eq!(json!([report["accepted"], report["last_line"]]), json!([3, 8]), "{report}");
        assert_eq!(report["rejected"][0]["line"], 8);
        assert_eq!(ingest.value("x"), Some(Value::Integer(4)));
    }
}

#[tokio::test]
async fn one_chunked_document_is_answered_as_one_that_is_sent_whole() {
    let ingest = Ingest::new().await;
    for text in ["{\"x\":1}", "{\n\"x\":1}\n", "[{\"x\":1}]\r\n"] {
        ingest.call(chunked("application/json", text)).await.expect(204);
    }
    for (text, status) in [("no", 400), ("", 400), ("{\"x\":1e400}", 422), ("{\"x\":", 400)] {
        let slug = if status == 400 { "unreadable" } else { "invalid" };
        assert!(!ingest.call(chunked("", text)).await.problem(status, slug)["offset"].is_null());
    }
}
