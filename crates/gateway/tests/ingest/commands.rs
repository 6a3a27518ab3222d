use std::time::Duration;

use axum::body::Body;
use http::Request;
use roost_hub::id::CommandId;
use roost_hub::mailbox::{CommandState, NewCommand};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::world::{Answer, Ingest, JSON, OWNER, id, post, tenant, token};

const COMMANDS: &str = "/api/v1/me/commands";

async fn send(ingest: &Ingest, name: &str) -> CommandId {
    let new = NewCommand { name: name.to_owned(), params: json!({ "relay": 1 }), ..NewCommand::default() };
    ingest.hub().send_command(&tenant(), &id("a"), new).await.unwrap().id
}

fn state(ingest: &Ingest, command: &CommandId) -> CommandState {
    ingest.hub().command(&tenant(), &id("a"), command).unwrap().unwrap().state
}

async fn answer(ingest: &Ingest, command: &str, body: &'static str) -> Answer {
    ingest.post(&format!("{COMMANDS}/{command}/result"), JSON, body).await
}

#[tokio::test]
async fn waiting_commands_are_fetched_once_in_order_and_count_as_sent() {
    let ingest = Ingest::new().await;
    let (first, second) = (send(&ingest, "one").await, send(&ingest, "two").await);
    let fetched = ingest.get("a", COMMANDS).await.expect(200);
    assert_eq!(fetched.headers["cache-control"], "no-store");
    let items = fetched.json()["items"].clone();
    assert_eq!((&items[0]["id"], &items[1]["id"]), (&json!(first.as_str()), &json!(second.as_str())));
    assert_eq!((&items[0]["name"], &items[0]["params"]), (&json!("one"), &json!({ "relay": 1 })));
    assert_eq!((&items[0]["state"], &items[0]["device"]), (&json!("sent"), &json!("a")));
    assert!(items[0]["sent_at"].is_string() && items[0]["created_at"].is_string());
    assert_eq!(state(&ingest, &first), CommandState::Sent);
    assert_eq!(ingest.get("a", COMMANDS).await.expect(200).json(), json!({ "items": [] }));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_is_answered_as_soon_as_a_command_comes() {
    let ingest = Ingest::new().await;
    let begun = Instant::now();
    let sender = async {
        sleep(Duration::from_secs(5)).await;
        send(&ingest, "one").await
    };
    let (fetched, _) = tokio::join!(ingest.get("a", "/api/v1/me/commands?wait=30s"), sender);
    assert_eq!(fetched.expect(200).json()["items"].as_array().unwrap().len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_is_empty_after_the_wait_and_waits_two_minutes_at_most() {
    let ingest = Ingest::new().await;
    for (wait, seconds) in [("30s", 30), ("7", 7), ("1h", 120), ("0", 0)] {
        let begun = Instant::now();
        let fetched = ingest.get("a", &format!("{COMMANDS}?wait={wait}")).await.expect(200);
        assert_eq!(fetched.json(), json!({ "items": [] }));
        assert_eq!(begun.elapsed().as_secs(), seconds, "{wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_polls_of_a_device_share_what_comes_and_get_nothing_twice() {
    let ingest = Ingest::new().await;
    let sender = async {
        sleep(Duration::from_secs(1)).await;
        send(&ingest, "one").await;
        sleep(Duration::from_secs(1)).await;
        send(&ingest, "two").await;
    };
    let path = "/api/v1/me/commands?wait=30s";
    let (one, two, ()) = tokio::join!(ingest.get("a", path), ingest.get("a", path), sender);
    let mut names = [one, two].map(|fetched| fetched.json()["items"][0]["name"].as_str().unwrap().to_owned());
    names.sort();
    assert_eq!(names, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn h_25_so_many_polls_of_a_device_wait_and_the_next_is_turned_away() {
    let ingest = Ingest::new().await;
    let path = "/api/v1/me/commands?wait=30s";
    let polls = futures_util::future::join_all((0..8).map(|_| ingest.get("a", path)));
    let late = async {
        sleep(Duration::from_secs(1)).await;
        let refused = ingest.get("a", path).await;
        assert!(refused.headers.contains_key("retry-after"));
        refused.problem(429, "too-many");
        // Who does not wait, and who is another, is let in.
        ingest.get("a", COMMANDS).await.expect(200);
        ingest.get("b", "/api/v1/me/commands?wait=1s").await.expect(200);
    };
    let (answers, ()) = tokio::join!(polls, late);
    assert!(answers.iter().all(|answer| answer.status == 200));
    ingest.get("a", "/api/v1/me/commands?wait=1s").await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn x_04_a_poll_whose_token_was_revoked_meanwhile_gets_no_command() {
    let ingest = Ingest::new().await;
    let revoker = async {
        sleep(Duration::from_secs(1)).await;
        ingest.revoke().await;
        send(&ingest, "secret").await
    };
    let (fetched, command) = tokio::join!(ingest.get("a", "/api/v1/me/commands?wait=30s"), revoker);
    fetched.problem(401, "unauthenticated");
    assert_eq!(state(&ingest, &command), CommandState::Queued);
}

#[tokio::test(start_paused = true)]
async fn a_poll_ends_when_its_device_is_deleted() {
    let ingest = Ingest::new().await;
    let begun = Instant::now();
    let deleter = async {
        sleep(Duration::from_secs(1)).await;
        ingest.hub().delete_device(&tenant(), &id("a")).await.unwrap();
    };
    let (fetched, ()) = tokio::join!(ingest.get("a", "/api/v1/me/commands?wait=30s"), deleter);
    assert_eq!(fetched.expect(200).json(), json!({ "items": [] }));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn h_15_head_takes_no_command() {
    let ingest = Ingest::new().await;
    let command = send(&ingest, "one").await;
    let head = Request::head(COMMANDS).header("authorization", format!("Bearer {}", token("a")));
    let refused = ingest.call(head.body(Body::empty()).unwrap()).await;
    assert_eq!(refused.status, 405);
    assert_eq!(state(&ingest, &command), CommandState::Queued);
}

#[tokio::test]
async fn h_24_a_query_that_nobody_knows_is_refused() {
    let ingest = Ingest::new().await;
    for query in ["wait=-1", "wait=soon", "wait=", "limit=5", "wait=1s&wait=2s"] {
        ingest.get("a", &format!("{COMMANDS}?{query}")).await.problem(422, "invalid");
    }
}

#[tokio::test]
async fn a_device_answers_a_command() {
    let ingest = Ingest::new().await;
    for (body, expected) in [
        (r#"{"ok":true,"result":{"was":0}}"#, CommandState::Succeeded),
        (r#"{"ok":true}"#, CommandState::Succeeded),
        (r#"{"ok":false,"error":"stuck"}"#, CommandState::Failed),
    ] {
        let command = send(&ingest, "one").await;
        ingest.get("a", COMMANDS).await.expect(200);
        answer(&ingest, command.as_str(), body).await.expect(204);
        // Sent again because the answer was lost, it is the same answer.
        answer(&ingest, command.as_str(), body).await.expect(204);
        assert_eq!(state(&ingest, &command), expected, "{body}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_changes_nothing() {
    let ingest = Ingest::new().await;
    let command = send(&ingest, "one").await;
    ingest.get("a", COMMANDS).await.expect(200);
    for (body, status, slug) in [
        ("", 400, "unreadable"),
        ("{\"ok\":tru", 400, "unreadable"),
        (r#"{"ok":true,"ok":false}"#, 400, "unreadable"),
        ("[]", 422, "invalid"),
        (r#"{"ok":1}"#, 422, "invalid"),
        (r#"{"result":1}"#, 422, "invalid"),
        (r#"{"ok":true,"state":"failed"}"#, 422, "invalid"),
    ] {
        answer(&ingest, command.as_str(), body).await.problem(status, slug);
    }
    let path = format!("{COMMANDS}/{}/result", command.as_str());
    ingest.post(&path, "text/plain", r#"{"ok":true}"#).await.problem(415, "media-type");
    assert_eq!(state(&ingest, &command), CommandState::Sent);
}

#[tokio::test]
async fn a_late_answer_does_not_revive_a_cancelled_command() {
    let ingest = Ingest::new().await;
    let command = send(&ingest, "one").await;
    ingest.get("a", COMMANDS).await.expect(200);
    ingest.hub().cancel_command(&tenant(), &id("a"), &command).await.unwrap();
    answer(&ingest, command.as_str(), r#"{"ok":true}"#).await.problem(409, "conflict");
    assert_eq!(state(&ingest, &command), CommandState::Cancelled);
}

#[tokio::test]
async fn h_19_the_commands_of_others_are_unknown() {
    let ingest = Ingest::new().await;
    let command = send(&ingest, "one").await;
    assert_eq!(ingest.get("b", COMMANDS).await.expect(200).json(), json!({ "items": [] }));
    let path = format!("{COMMANDS}/{}/result", command.as_str());
    ingest.call(post(&token("b"), &path, JSON, r#"{"ok":true}"#)).await.problem(404, "not-found");
    ingest.call(post(OWNER, &path, JSON, r#"{"ok":true}"#)).await.problem(403, "forbidden");
    for unknown in ["nothing", "%2e%2e", "%ff"] {
        answer(&ingest, unknown, r#"{"ok":true}"#).await.problem(404, "not-found");
    }
    assert_eq!(state(&ingest, &command), CommandState::Queued);
}
