use std::time::Duration;

use axum::body::BodyDataStream;
use futures_util::StreamExt;
use roost_hub::reading::Value as Reading;
use serde_json::{Value, json};

use crate::world::{ADMIN, NOW, World, request};

/// Follows a feed: its first piece, the comment by which it opens, is read already.
async fn follow(world: &World, token: &str, query: &str) -> BodyDataStream {
    let response = world.open(request(token, &format!("GET /api/v1/live{query}"), Value::Null)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body().into_data_stream();
    assert_eq!(stream.next().await.unwrap().unwrap(), ": open\n\n");
    stream
}

async fn next(stream: &mut BodyDataStream) -> (String, Value) {
    let piece = stream.next().await.unwrap().unwrap();
    let text = std::str::from_utf8(&piece).unwrap();
    let text = text.strip_prefix("id: ").map_or(text, |text| text.split_once('\n').unwrap().1);
    let (event, data) = text.trim_end().split_once("\ndata: ").unwrap();
    (event.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap())
}

#[tokio::test]
async fn everything_is_heard_as_it_happens() {
    let world = World::new().await;
    world.device("a").await;
    let mut feed = follow(&world, ADMIN, "?kinds=telemetry,command,twin,log").await;
    world.measure("a", ("temp", NOW), Reading::Number(21.5)).await;
    let heard = next(&mut feed).await;
    let data = json!({ "device": "a", "ts": NOW, "values": { "temp": 21.5 } });
    assert_eq!(heard, ("telemetry".to_owned(), data));
    world.admin("PATCH /api/v1/devices/a/twin", json!({ "desired": { "x": 1 } })).await.expect(200);
    let sent =
        world.admin("POST /api/v1/devices/a/commands", json!({ "name": "ping" })).await.expect(202).json();
    let mut kinds = Vec::new();
    loop {
        let (kind, data) = next(&mut feed).await;
        assert_eq!(data["device"], "a");
        kinds.push(kind.clone());
        if kind == "twin" {
            assert_eq!(data["version"], 1);
        }
        if kind == "command" {
            assert_eq!(data, sent);
        }
        if ["twin", "command", "log"].iter().all(|wanted| kinds.iter().any(|kind| kind == wanted)) {
            break;
        }
    }
}

#[tokio::test]
async fn a_feed_gives_only_what_was_asked_for() {
    let world = World::new().await;
    world.device("a").await;
    world.device("b").await;
    let mut feed = follow(&world, ADMIN, "?devices=b&kinds=telemetry").await;
    world.measure("a", ("temp", NOW), Reading::Integer(1)).await;
    world.measure("b", ("temp", NOW), Reading::Integer(2)).await;
    assert_eq!(next(&mut feed).await.1["values"]["temp"], 2);
    world.get("/api/v1/live?devices=b,none").await.expect(404);
    world.get("/api/v1/live?kinds=odd").await.expect(422);
}

#[tokio::test]
async fn h_19_a_feed_gives_nothing_of_another_tenant() {
    let world = World::new().await;
    let other = world.tenant("acme").await;
    world.device("a").await;
    let mut feed = follow(&world, &other, "").await;
    world.measure("a", ("temp", NOW), Reading::Integer(1)).await;
    world.ask(&other, "POST /api/v1/devices", json!({ "id": "theirs" })).await.expect(201);
    world
        .ask(&other, "PATCH /api/v1/devices/theirs/twin", json!({ "desired": { "x": 1 } }))
        .await
        .expect(200);
    assert_eq!(next(&mut feed).await.1["device"], "theirs");
    world.ask(&other, "GET /api/v1/live?devices=a", Value::Null).await.expect(404);
}

#[tokio::test]
async fn a_device_hears_of_itself_only() {
    let world = World::new().await;
    let token = world.device("a").await;
    world.device("b").await;
    let mut feed = follow(&world, &token, "?kinds=telemetry").await;
    world.measure("b", ("temp", NOW), Reading::Integer(1)).await;
    world.measure("a", ("temp", NOW), Reading::Integer(2)).await;
    assert_eq!(next(&mut feed).await.1["device"], "a");
    world.ask(&token, "GET /api/v1/live?devices=b", Value::Null).await.expect(403);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_feed_says_that_it_is_there() {
    let world = World::new().await;
    let mut feed = follow(&world, ADMIN, "?kinds=telemetry").await;
    let piece = tokio::time::timeout(Duration::from_secs(20), feed.next()).await.unwrap();
    assert_eq!(piece.unwrap().unwrap(), ": still here\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_feed_ends_with_the_credential_that_opened_it() {
    let world = World::new().await;
    let made =
        world.admin("POST /api/v1/tokens", json!({ "name": "x", "role": "viewer" })).await.expect(201).json();
    let mut feed = follow(&world, made["token"].as_str().unwrap(), "").await;
    world
        .admin(&format!("DELETE /api/v1/tokens/{}", made["id"].as_str().unwrap()), Value::Null)
        .await
        .expect(204);
    assert!(feed.next().await.is_none());
}

#[tokio::test]
async fn a_slow_follower_is_told_what_it_missed() {
    let world = World::new().await;
    world.device("a").await;
    let mut feed = follow(&world, ADMIN, "?kinds=telemetry").await;
    for number in 0..5_000 {
        world.measure("a", ("temp", NOW), Reading::Integer(number)).await;
    }
    let (kind, data) = next(&mut feed).await;
    assert_eq!(kind, "missed");
    assert!(data["count"].as_u64().unwrap() > 0);
    assert_eq!(next(&mut feed).await.0, "telemetry");
}

#[tokio::test]
async fn h_25_one_caller_has_64_feeds_at_most() {
    let world = World::new().await;
    let viewer = world.token("viewer").await;
    let mut feeds = Vec::new();
    for _ in 0..64 {
        feeds.push(follow(&world, &viewer, "").await);
    }
    let refused = world.ask(&viewer, "GET /api/v1/live", Value::Null).await.expect(429);
    assert_eq!(refused.header("retry-after"), "5");
    drop(follow(&world, ADMIN, "").await);
    feeds.pop();
    drop(follow(&world, &viewer, "").await);
}

/// Everything that comes at once, as `id` and the value of `n`.
async fn ids_and_numbers(stream: &mut BodyDataStream, count: usize) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    while found.len() < count {
        let piece = stream.next().await.unwrap().unwrap();
        let text = std::str::from_utf8(&piece).unwrap();
        let (id, rest) = text.strip_prefix("id: ").unwrap().split_once('\n').unwrap();
        let data = rest.trim_end().split_once("\ndata: ").unwrap().1;
        let data: Value = serde_json::from_str(data).unwrap();
        found.push((id.parse().unwrap(), data["values"]["n"].as_u64().unwrap()));
    }
    found
}

async fn measure(world: &World, numbers: std::ops::Range<i64>) {
    for number in numbers {
        world.measure("a", ("n", NOW), Reading::Integer(number)).await;
    }
}

#[tokio::test]
async fn a_feed_begins_in_the_past_and_goes_on_live() {
    let world = World::new().await;
    world.device("a").await;
    measure(&world, 0..300).await;
    let mut feed = follow(&world, ADMIN, "?since=1h&kinds=telemetry").await;
    measure(&world, 300..310).await;
    let mut found = ids_and_numbers(&mut feed, 310).await;
    measure(&world, 310..320).await;
    found.extend(ids_and_numbers(&mut feed, 10).await);
    assert_eq!(found.iter().map(|(_, number)| *number).collect::<Vec<_>>(), (0..320).collect::<Vec<_>>());
    assert!(found.is_sorted_by(|one, other| one.0 < other.0));
    // Who comes back goes on where it was.
    let (id, _) = found[99];
    let mut again = follow(&world, ADMIN, &format!("?after={id}&kinds=telemetry")).await;
    assert_eq!(ids_and_numbers(&mut again, 220).await, found[100..]);
    let mut request = request(ADMIN, "GET /api/v1/live?since=1h", Value::Null);
    request.headers_mut().insert("last-event-id", id.into());
    let mut again = world.open(request).await.into_body().into_data_stream();
    assert_eq!(again.next().await.unwrap().unwrap(), ": open\n\n");
    assert_eq!(ids_and_numbers(&mut again, 220).await, found[100..]);
}

#[tokio::test]
async fn h_19_a_feed_from_the_past_gives_nothing_of_others() {
    let world = World::new().await;
    let other = world.tenant("acme").await;
    world.device("a").await;
    let device = world.device("b").await;
    measure(&world, 0..3).await;
    world.measure("b", ("n", NOW), Reading::Integer(7)).await;
    let mut feed = follow(&world, &device, "?since=1h&kinds=telemetry").await;
    assert_eq!(ids_and_numbers(&mut feed, 1).await[0].1, 7);
    let mut theirs = follow(&world, &other, "?since=1h&kinds=telemetry,twin").await;
    world.ask(&other, "POST /api/v1/devices", json!({ "id": "theirs" })).await.expect(201);
    let desired = json!({ "desired": { "x": 1 } });
    world.ask(&other, "PATCH /api/v1/devices/theirs/twin", desired).await.expect(200);
    assert_eq!(next(&mut theirs).await.1["device"], "theirs");
    for query in ["since=yesterday", "since=-1h", "after=x"] {
        world.get(&format!("/api/v1/live?{query}")).await.expect(422);
    }
}

#[tokio::test]
async fn a_feed_is_told_that_the_log_does_not_go_back_so_far() {
    let world = World::new().await;
    world.device("a").await;
    measure(&world, 0..10).await;
    world.store.log.trim(world.store.log.end());
    let mut feed = follow(&world, ADMIN, "?since=1h&kinds=telemetry").await;
    assert_eq!(next(&mut feed).await.0, "trimmed");
    assert_eq!(ids_and_numbers(&mut feed, 1).await[0].1, 9);
}
