use axum::body::Body;
use http::Request;
use roost_gateway::{Settings, TelemetryByQuery};
use roost_hub::mailbox::NewCommand;
use roost_hub::reading::Value;
use roost_hub::time::Timestamp;

use crate::world::{Answer, Ingest, JSON, OWNER, World, id, tenant, token};

const OWN: &str = "/api/v1/me/telemetry";

async fn ask(ingest: &Ingest, method: &str, query: &str) -> Answer {
    let request = Request::builder().method(method).uri(format!("{OWN}?{query}"));
    ingest.call(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_get_writes_readings_as_bare_values() {
    let ingest = Ingest::new().await;
    let query = "temp=21.5&count=7&on=true&name=b%C3%A4d+1&quoted=%227%22&nothing=null&deep.er=-1";
    let answer = ingest.get("a", &format!("{OWN}?{query}")).await.expect(204);
    assert_eq!(answer.headers["cache-control"], "no-store");
    for (key, value) in [
        ("temp", Value::Number(21.5)),
        ("count", Value::Integer(7)),
        ("on", Value::Boolean(true)),
        ("name", Value::Text("b\u{e4}d 1".into())),
        ("quoted", Value::Text("7".into())),
        ("deep.er", Value::Integer(-1)),
    ] {
        assert_eq!(ingest.value(key), Some(value), "{key}");
    }
    assert_eq!(ingest.value("nothing"), None);
}

#[tokio::test]
async fn a_body_may_be_one_bare_value_whose_key_stands_in_the_path() {
    let ingest = Ingest::new().await;
    for (key, kind, body, value) in [
        ("temp", "text/plain", "21.5\n", Value::Number(21.5)),
        ("on", JSON, "true", Value::Boolean(true)),
        // What curl says of everything.
        ("count", "application/x-www-form-urlencoded", "7", Value::Integer(7)),
        ("b%C3%A4d.er", "text/plain; charset=utf-8", "warm & wet", Value::Text("warm & wet".into())),
    ] {
        ingest.post(&format!("{OWN}/{key}"), kind, body).await.expect(204);
        let key = key.replace("%C3%A4", "\u{e4}");
        assert_eq!(ingest.value(&key), Some(value), "{key}");
    }
    ingest.post(&format!("{OWN}/temp"), "text/plain", vec![0xFF]).await.problem(400, "unreadable");
    assert_eq!(ingest.value("temp"), Some(Value::Number(21.5)));
}

#[tokio::test]
async fn a_token_and_a_time_may_stand_beside_the_readings() {
    let ingest = Ingest::new().await;
    let now = ingest.hub().now();
    let before = now.0 - 60_000;
    ask(&ingest, "GET", &format!("temp=1&ts={before}&token={}", token("a"))).await.expect(204);
    let reading = ingest.latest("temp").unwrap();
    assert_eq!((reading.value, reading.ts), (Value::Integer(1), Timestamp(before)));
    let written = Timestamp(now.0 - 1_000).to_string();
    ask(&ingest, "GET", &format!("temp=2&ts={written}&token={}", token("a"))).await.expect(204);
    assert_eq!(ingest.latest("temp").unwrap().ts, Timestamp(now.0 - 1_000));
    assert!(ingest.latest("token").is_none() && ingest.latest("ts").is_none());
}

#[tokio::test]
async fn h_17_a_token_in_the_query_counts_only_where_it_is_documented() {
    let ingest = Ingest::new().await;
    let token = token("a");
    for path in ["/api/v1/me/commands", "/api/v1/devices/a/telemetry", "/api/v1/publish"] {
        for method in ["GET", "POST"] {
            let request = Request::builder().method(method).uri(format!("{path}?token={token}"));
            let answer = ingest.call(request.body(Body::empty()).unwrap()).await;
            assert!([401, 405].contains(&answer.status.as_u16()), "{method} {path}: {}", answer.status);
        }
    }
    let post = Request::post(format!("{OWN}?token={token}")).body(Body::from(r#"{"x":1}"#)).unwrap();
    ingest.call(post).await.problem(401, "unauthenticated");
    ask(&ingest, "GET", "x=1&token=wrong").await.problem(401, "unauthenticated");
    ask(&ingest, "GET", "x=1").await.problem(401, "unauthenticated");
    ask(&ingest, "GET", &format!("x=1&token={OWNER}")).await.problem(403, "forbidden");
    assert_eq!(ingest.value("x"), None);
}

#[tokio::test]
async fn what_is_no_reading_is_refused_and_nothing_is_kept() {
    let ingest = Ingest::new().await;
    for (query, status) in [
        ("x=1&x=2", 400),
        ("x=1&token=a&token=b", 400),
        ("x=%zz", 400),
        ("x=%ff", 400),
        ("x=NaN", 400),
        ("x=1e400", 422),
        ("x=1&=2", 422),
        ("x=1&y", 422),
        ("x=1&y=%7B%7D", 422),
        ("x=1&ts=yesterday", 422),
        ("x=1&commands=perhaps", 422),
    ] {
        let answer = ingest.get("a", &format!("{OWN}?{query}")).await;
        let found = answer.status.as_u16();
        assert!(found == status || (status == 422 && found == 400), "{query}: {found} {}", answer.text());
    }
    assert_eq!(ingest.value("x"), None);
    let head = format!("x=1&token={}", token("a"));
    assert_eq!(ask(&ingest, "HEAD", &head).await.status, 405);
    assert_eq!(ingest.value("x"), None);
}

#[tokio::test]
async fn an_operator_may_switch_it_off() {
    let settings = Settings { telemetry_by_query: TelemetryByQuery::Off, ..Settings::default() };
    let ingest = Ingest::with(World::new(), settings).await;
    let answer = ingest.get("a", &format!("{OWN}?x=1")).await;
    assert_eq!(answer.headers["allow"], "POST");
    answer.problem(405, "method-not-allowed");
    ingest.post(OWN, JSON, r#"{"x":1}"#).await.expect(204);
}

#[tokio::test]
async fn waiting_commands_come_in_the_answer_when_they_are_asked_for() {
    let ingest = Ingest::new().await;
    let new = || NewCommand { name: "set".to_owned(), ..NewCommand::default() };
    ingest.hub().send_command(&tenant(), &id("a"), new()).await.unwrap();
    ingest.post(OWN, JSON, r#"{"x":1}"#).await.expect(204);
    ingest.post(&format!("{OWN}?commands=0"), JSON, r#"{"x":1}"#).await.expect(204);
    let asked = format!("{OWN}?commands=1");
    let answer = ingest.post(&asked, JSON, r#"{"x":2}"#).await.expect(200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let items = answer.json()["items"].clone();
    assert_eq!((items.as_array().unwrap().len(), &items[0]["name"]), (1, &"set".into()));
    assert_eq!(items[0]["state"], "sent");
    let none = ingest.post(&asked, JSON, r#"{"x":3}"#).await.expect(200).json();
    assert_eq!(none, serde_json::json!({ "items": [] }));

    ingest.hub().send_command(&tenant(), &id("a"), new()).await.unwrap();
    let report = ingest.post(&asked, "application/x-ndjson", "{\"x\":4}\n").await.expect(200).json();
    assert_eq!((&report["accepted"], report["items"].as_array().unwrap().len()), (&1.into(), 1));

    ingest.hub().send_command(&tenant(), &id("a"), new()).await.unwrap();
    let report = ingest.get("a", &format!("{asked}&x=5")).await.expect(200).json();
    assert_eq!(report["items"].as_array().unwrap().len(), 1);
    // What is refused takes no command along.
    ingest.hub().send_command(&tenant(), &id("a"), new()).await.unwrap();
    ingest.post(&asked, JSON, "nonsense").await.problem(400, "unreadable");
    ingest.post(&format!("{OWN}?commands=yes"), JSON, "{}").await.problem(422, "invalid");
    ingest.post(&format!("{OWN}?other=1"), JSON, "{}").await.problem(422, "invalid");
    assert_eq!(ingest.post(&asked, JSON, "{}").await.json()["items"].as_array().unwrap().len(), 1);
}
