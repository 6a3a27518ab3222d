use roost_hub::broker::Outgoing;
use roost_hub::message::QoS;
use roost_hub::principal::Role;
use roost_hub::reading::Value;

use crate::world::{Ingest, JSON, OWNER, options, post, token};

const PUBLISH: &str = "/api/v1/publish";

async fn heard(body: &'static str) -> (String, String) {
    let ingest = Ingest::new().await;
    let mut session = ingest.world.connect("listener", options());
    ingest.world.subscribe(&mut session, "#", QoS::ExactlyOnce);
    ingest.call(post(OWNER, PUBLISH, JSON, body)).await.expect(204);
    ingest.world.deliver_deferred();
    let mut out = Vec::new();
    session.next_outgoing(&mut out, 10);
    let found = out.iter().find_map(|outgoing| match outgoing {
        Outgoing::Publish(delivery) => Some(&delivery.message),
        _ => None,
    });
    let message = found.unwrap();
    (message.topic.as_str().to_owned(), String::from_utf8(message.payload.to_vec()).unwrap())
}

#[tokio::test]
async fn a_text_is_the_payload_and_anything_else_its_json() {
    for (body, payload) in [
        (r#"{"topic":"home/door","payload":"open"}"#, "open"),
        (r#"{"topic":"home/door","payload":{"is":"open"},"qos":1}"#, r#"{"is":"open"}"#),
        (r#"{"topic":"home/door","payload":9007199254740993,"qos":2}"#, "9007199254740993"),
        (r#"{"topic":"home/door","payload":""}"#, ""),
    ] {
        assert_eq!(heard(body).await, ("home/door".to_owned(), payload.to_owned()));
    }
}

#[tokio::test]
async fn a_retained_message_is_there_for_who_comes_later() {
    let ingest = Ingest::new().await;
    let body = r#"{"topic":"home/door","payload":"open","retain":true,"qos":1}"#;
    ingest.post(PUBLISH, JSON, body).await.expect(204);
    let mut session = ingest.world.connect("late", options());
    ingest.world.subscribe(&mut session, "home/+", QoS::AtLeastOnce);
    let mut out = Vec::new();
    session.next_outgoing(&mut out, 10);
    assert!(matches!(out.first(), Some(Outgoing::Publish(delivery)) if delivery.retain));
}

#[tokio::test]
async fn telemetry_that_is_published_becomes_readings() {
    let ingest = Ingest::new().await;
    ingest.post(PUBLISH, JSON, r#"{"topic":"me/telemetry","payload":{"x":1}}"#).await.expect(204);
    ingest
        .call(post(OWNER, PUBLISH, JSON, r#"{"topic":"devices/a/telemetry/y","payload":21.5}"#))
        .await
        .expect(204);
    assert_eq!(ingest.value("x"), Some(Value::Integer(1)));
    assert_eq!(ingest.value("y"), Some(Value::Number(21.5)));
    let unreadable = r#"{"topic":"me/telemetry","payload":"nonsense"}"#;
    ingest.post(PUBLISH, JSON, unreadable).await.problem(400, "unreadable");
    let overflow = r#"{"topic":"me/telemetry","payload":"{\"x\":1e400}"}"#;
    ingest.post(PUBLISH, JSON, overflow).await.problem(422, "invalid");
}

#[tokio::test]
async fn m_37_what_only_the_server_says_nobody_else_does() {
    let ingest = Ingest::new().await;
    let viewer = ingest.application(Role::Viewer).await;
    for (who, topic) in [
        (token("a"), "$SYS/x"),
        (token("a"), "me/status"),
        (token("a"), "devices/b/telemetry/x"),
        (token("a"), "devices/b/events/x"),
        (OWNER.to_owned(), "me/telemetry/x"),
        (OWNER.to_owned(), "devices/a/commands"),
        (viewer, "home/door"),
    ] {
        let body = format!(r#"{{"topic":"{topic}","payload":"1"}}"#);
        ingest.call(post(&who, PUBLISH, JSON, body)).await.problem(403, "forbidden");
    }
    let nobody = r#"{"topic":"devices/nobody/events/x","payload":"1"}"#;
    ingest.call(post(OWNER, PUBLISH, JSON, nobody)).await.problem(404, "not-found");
}

#[tokio::test]
async fn m_34_to_m_36_and_j_05_a_text_that_is_no_topic_is_refused() {
    let ingest = Ingest::new().await;
    for topic in ["", "a/+", "#", "a\\u0000b", &"a/".repeat(200), &"a".repeat(1_025)] {
        let body = format!(r#"{{"topic":"{topic}","payload":"1"}}"#);
        ingest.post(PUBLISH, JSON, body).await.problem(422, "invalid");
    }
}

#[tokio::test]
async fn h_23_what_is_not_asked_for_is_refused() {
    let ingest = Ingest::new().await;
    for body in [
        r#"{"topic":"t"}"#,
        r#"{"payload":"1"}"#,
        r#"{"topic":"t","payload":"1","tenant":"other"}"#,
        r#"{"topic":"t","payload":"1","qos":3}"#,
        r#"{"topic":"t","payload":"1","qos":-1}"#,
        r#"{"topic":"t","payload":"1","retain":"yes"}"#,
        r#"[]"#,
    ] {
        ingest.post(PUBLISH, JSON, body).await.problem(422, "invalid");
    }
    let broken = ingest.post(PUBLISH, JSON, r#"{"topic":"t","payload":}"#).await.problem(400, "unreadable");
    assert!(broken["offset"].is_u64());
    ingest.post(PUBLISH, "text/plain", "{}").await.problem(415, "media-type");
}
