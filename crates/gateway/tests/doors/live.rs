//! JSON over WebSocket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use roost_gateway::Settings;
use roost_wire::mqtt::{QoS, Version};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::common::{ADMIN, PATIENCE, TOKEN, World, hasty, publish};
use crate::websocket::upgraded;

struct Live(WebSocketStream<TcpStream>);

impl Live {
    async fn new(world: &World, query: &str) -> Self {
        Self::at(world, &format!("/api/v1/ws{query}")).await
    }

    async fn at(world: &World, path: &str) -> Self {
        let stream = TcpStream::connect(world.http).await.unwrap();
        let url = format!("ws://{}{path}", world.http);
        Self(tokio_tungstenite::client_async(url, stream).await.unwrap().0)
    }

    async fn say(&mut self, text: impl ToString) {
        self.0.send(Message::text(text.to_string())).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await.unwrap();
            if let Message::Text(text) = next.unwrap().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    async fn close_code(&mut self) -> u16 {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.unwrap() {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_is_subscribed_to_comes_as_json() {
    let world = World::new().await;
    let mut live = Live::new(&world, &format!("?token={ADMIN}")).await;
    live.say(json!({ "subscribe": "devices/+/telemetry", "id": 1 })).await;
    assert_eq!(live.hear().await, json!({ "ack": 1 }));
    let mut device = world.connected(Version::V3).await;
    device.publish(publish("me/telemetry", r#"{"t":1.50}"#, QoS::AtMostOnce, 0)).await;
    let heard = live.hear().await;
    assert_eq!(heard["topic"], "devices/s1/telemetry");
    assert_eq!(heard["payload"], json!({ "t": 1.5 }));
    assert!(heard["ts"].is_i64());
    live.say(json!({ "unsubscribe": "devices/+/telemetry", "id": "two" })).await;
    assert_eq!(live.hear().await, json!({ "ack": "two" }));
}

#[tokio::test]
async fn a_device_says_who_it_is_in_its_first_frame_and_has_a_me() {
    let world = World::new().await;
    let mut live = Live::new(&world, "").await;
    live.say(json!({ "token": TOKEN, "id": 0 })).await;
    assert_eq!(live.hear().await, json!({ "ack": 0 }));
    live.say(json!({ "subscribe": "me/telemetry" })).await;
    live.say(json!({ "publish": { "topic": "me/telemetry", "payload": { "t": 7 }, "qos": 1 }, "id": 2 }))
        .await;
    let (first, second) = (live.hear().await, live.hear().await);
    let (heard, acked) = if first.get("ack").is_some() { (second, first) } else { (first, second) };
    assert_eq!(acked, json!({ "ack": 2 }));
    assert_eq!((&heard["topic"], &heard["payload"]), (&json!("me/telemetry"), &json!({ "t": 7 })));
}

fn pinged_every(millis: u64) -> Settings {
    Settings { live_ping_every: Duration::from_millis(millis), ..hasty() }
}

#[tokio::test]
async fn w_16_two_pings_without_an_answer_end_the_connection() {
    let world = World::with(pinged_every(50)).await;
    for path in ["ws", "echo"] {
        let mut silent = upgraded(&world, &format!("/api/v1/{path}?token={TOKEN}"), "").await;
        let mut heard = Vec::new();
        tokio::time::timeout(PATIENCE, silent.read_to_end(&mut heard)).await.unwrap().unwrap();
        let (pings, close) = heard.split_at(4);
        assert_eq!(pings, b"\x89\x00\x89\x00", "{path}");
        assert_eq!((close[0], &close[2..4]), (0x88, &1008_u16.to_be_bytes()[..]), "{path}");
    }
}

#[tokio::test]
async fn w_18_a_reader_that_stalls_holds_back_nobody_and_is_told_when_it_reads_again() {
    let world = World::with(pinged_every(500)).await;
    let counters = &world.hub.counters;
    let mut stalled = upgraded(&world, &format!("/api/v1/ws?token={ADMIN}"), "").await;
    stalled.write_all(b"\x81\x91\x00\x00\x00\x00{\"subscribe\":\"t\"}").await.unwrap();
    let mut sender = world.owner("sender").await;
    let large = "x".repeat(64 * 1024);
    let publishing = async {
        while counters.messages_dropped_slow_total.value() == 0 {
            sender.publish(publish("t", &large, QoS::AtMostOnce, 0)).await;
            sender.ping().await;
            // It does not read, but is there: a PONG is a sign of life.
            stalled.write_all(b"\x8A\x80\x00\x00\x00\x00").await.unwrap();
        }
        // Closed, although it reads nothing: its session is the first thing to go.
        while counters.sessions.value() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, publishing).await.expect("the stalled reader keeps its session");
    let mut heard = Vec::new();
    tokio::time::timeout(PATIENCE, stalled.read_to_end(&mut heard)).await.unwrap().unwrap();
    let said = b"\x88\x0A\x03\xF5too slow";
    assert!(heard.ends_with(said), "{:x?}", &heard[heard.len() - 16..]);
    sender.ping().await;
}

#[tokio::test]
async fn w_17_who_never_says_who_it_is_is_closed() {
    let world = World::with(hasty()).await;
    assert_eq!(Live::new(&world, "").await.close_code().await, 1008);
    let mut wrong = Live::new(&world, "").await;
    wrong.say(json!({ "token": "wrong" })).await;
    assert_eq!(wrong.close_code().await, 1008);
}

#[tokio::test]
async fn w_19_a_revoked_client_is_closed() {
    let world = World::new().await;
    let mut live = Live::new(&world, &format!("?token={TOKEN}")).await;
    live.say(json!({ "subscribe": "me/#", "id": 1 })).await;
    live.hear().await;
    world.hub.delete_device(&crate::common::tenant(), &crate::common::device()).await.unwrap();
    assert_eq!(live.close_code().await, 1008);
}

#[tokio::test]
async fn w_19_the_echo_of_a_client_that_is_let_in_no_longer_is_closed() {
    let world = World::with(pinged_every(50)).await;
    let mut echo = Live::at(&world, &format!("/api/v1/echo?token={TOKEN}")).await;
    echo.say("1").await;
    assert_eq!(echo.hear().await, 1);
    world.hub.delete_device(&crate::common::tenant(), &crate::common::device()).await.unwrap();
    assert_eq!(echo.close_code().await, 1008);
}

#[tokio::test]
async fn w_21_mistakes_are_answered_and_only_many_of_them_close() {
    let world = World::new().await;
    let mut live = Live::new(&world, &format!("?token={TOKEN}")).await;
    for (frame, status) in [
        (r#"{"id":1,"publish":{"topic":"t","payload":NaN}}"#, 400),
        (r#"{"id":1,"publish":{"topic":"t\u0000","payload":1}}"#, 422),
        (r#"{"id":1,"hello":"world"}"#, 400),
        (r#"{"id":1}"#, 400),
        (r#"{"id":1,"subscribe":"a/#/b"}"#, 422),
        (r#"{"id":1,"subscribe":"devices/other/#"}"#, 403),
        (r#"{"id":1,"publish":{"topic":"devices/other/telemetry","payload":{"a":1}}}"#, 403),
        (r#"{"id":1,"publish":{"topic":"me/telemetry","payload":"no telemetry"}}"#, 400),
        ("[1]", 400),
    ] {
        live.say(frame).await;
        assert_eq!(live.hear().await["error"]["status"], status, "{frame}");
    }
    live.say("{").await;
    assert_eq!(live.close_code().await, 1008);
}

#[tokio::test]
async fn w_22_a_server_that_stops_says_so() {
    let world = World::new().await;
    let mut live = Live::new(&world, &format!("?token={TOKEN}")).await;
    live.say(json!({ "subscribe": "me/x", "id": 1 })).await;
    live.hear().await;
    let mut echo = Live::at(&world, &format!("/api/v1/echo?token={TOKEN}")).await;
    echo.say("1").await;
    echo.hear().await;
    world.ask_to_stop();
    assert_eq!(live.close_code().await, 1001);
    assert_eq!(echo.close_code().await, 1001);
    drop((live, echo));
    world.stop().await;
}

#[tokio::test]
async fn who_comes_back_goes_on_behind_the_last_position_it_has() {
    let world = World::new().await;
    let mut device = world.connected(Version::V5).await;
    let mut live = Live::new(&world, &format!("?token={ADMIN}")).await;
    live.say(json!({ "subscribe": "devices/+/telemetry", "id": 1 })).await;
    assert_eq!(live.hear().await, json!({ "ack": 1 }));
    device.publish(publish("me/telemetry", r#"{"n":1}"#, QoS::AtMostOnce, 0)).await;
    let position = live.hear().await["position"].as_u64().unwrap();
    drop(live);
    for number in 2..5 {
        let payload = format!(r#"{{"n":{number}}}"#);
        device.publish(publish("me/telemetry", &payload, QoS::AtMostOnce, 0)).await;
    }
    device.ping().await;
    let mut live = Live::new(&world, &format!("?token={ADMIN}")).await;
    live.say(json!({ "subscribe": "devices/+/telemetry", "after": position, "id": 2 })).await;
    assert_eq!(live.hear().await, json!({ "ack": 2 }));
    for number in 2..5 {
        let heard = live.hear().await;
        assert_eq!(heard["payload"], json!({ "n": number }));
        assert!(heard["position"].as_u64().unwrap() > position);
    }
    device.publish(publish("me/telemetry", r#"{"n":5}"#, QoS::AtMostOnce, 0)).await;
    assert_eq!(live.hear().await["payload"], json!({ "n": 5 }));
}

#[tokio::test]
async fn a_subscription_over_websocket_begins_in_the_past_or_says_why_not() {
    let world = World::new().await;
    let mut device = world.connected(Version::V5).await;
    device.publish(publish("me/telemetry", r#"{"n":1}"#, QoS::AtMostOnce, 0)).await;
    device.ping().await;
    let mut live = Live::new(&world, &format!("?token={ADMIN}")).await;
    for bad in [
        json!({ "subscribe": "a", "since": "yesterday" }),
        json!({ "subscribe": "a", "since": "1h", "after": 3 }),
        json!({ "unsubscribe": "a", "since": "1h" }),
        json!({ "subscribe": "$share/g/a", "since": "1h" }),
    ] {
        live.say(&bad).await;
        assert!(live.hear().await["error"]["detail"].is_string(), "{bad}");
    }
    live.say(json!({ "subscribe": "devices/s1/telemetry", "since": 3_600 })).await;
    assert_eq!(live.hear().await["payload"], json!({ "n": 1 }));
}
