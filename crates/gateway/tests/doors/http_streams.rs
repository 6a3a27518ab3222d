//! Streams of readings over HTTP, on raw sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{ADMIN, PATIENCE, TOKEN, World, device, hasty, tenant};
use crate::http::{bearer, exchange};

const LINES: &str = "Content-Type: application/x-ndjson\r\n";

fn head(token: &str, more: &str) -> String {
    let bearer = bearer(token);
    format!(
        "POST /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\n{bearer}Transfer-Encoding: chunked\r\n{more}\r\n"
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// A connection as a device sees it.
struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Wire {
    async fn open(world: &World, head: String) -> Self {
        let mut wire = Self { stream: TcpStream::connect(world.http).await.unwrap(), input: Vec::new() };
        wire.say(&head).await;
        wire
    }

    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads on until `end` came; gives all up to there.
    async fn hear(&mut self, end: &str) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.input).into_owned();
            if let Some((before, _)) = text.split_once(end) {
                let length = before.len() + end.len();
                self.input.drain(..length);
                return text[..length].to_owned();
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
            assert_ne!(read.expect("nothing came").unwrap(), 0, "closed after {text}");
        }
    }
}

fn has(world: &World, key: &str) -> bool {
    world.hub.latest(&tenant(), &device()).unwrap().keys().any(|name| &**name == key)
}

async fn until_there(world: &World, key: &str) {
    tokio::time::timeout(PATIENCE, async {
        while !has(world, key) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the reading does not come");
}

#[tokio::test]
async fn a_line_is_there_for_everybody_while_the_request_is_open() {
    let world = World::new().await;
    let mut live = world.owner("watcher").await;
    live.subscribe("devices/s1/telemetry", roost_wire::mqtt::QoS::AtMostOnce).await;
    let mut device = Wire::open(&world, head(TOKEN, LINES)).await;
    device.say(&chunk("{\"one\":1}\n{\"tw")).await;
    assert_eq!(live.expect_publish().await.1, "{\"one\":1}");
    until_there(&world, "one").await;
    device.say(&chunk("o\":2}\nnonsense\n{\"three\":3}")).await;
    assert_eq!(live.expect_publish().await.1, "{\"two\":2}");
    device.say("0\r\n\r\n").await;
    let answer = device.hear("}]}").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"accepted\":3,\"last_line\":4") && answer.contains("\"line\":3"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("trailer"), "{answer}");
}

#[tokio::test]
async fn who_asks_for_lines_is_told_how_far_the_server_is_and_gets_trailers_if_it_takes_them() {
    let world = World::new().await;
    for (te, has_trailers) in [("TE: trailers\r\n", true), ("", false)] {
        let more = format!("{LINES}Accept: application/x-ndjson\r\n{te}");
        let mut device = Wire::open(&world, head(TOKEN, &more)).await;
        device.say(&chunk("{\"a\":1}\n")).await;
        let first = device.hear("{\"accepted\":1,\"last_line\":1}\n").await;
        assert!(first.starts_with("HTTP/1.1 200"), "{first}");
        device.say(&chunk("{\"a\":2}\n{\"a\":3}\n")).await;
        device.hear("{\"accepted\":3,\"last_line\":3}\n").await;
        device.say("0\r\n\r\n").await;
        device.hear("{\"accepted\":3,\"last_line\":3,\"rejected\":[]}\n").await;
        let end = device.hear("0\r\n").await + &device.hear("\r\n").await;
        assert_eq!(end.contains("roost-stored: 3"), has_trailers, "{end}");
        if has_trailers {
            let rest = device.hear("\r\n\r\n").await;
            assert_eq!(rest, "roost-last-line: 3\r\n\r\n");
        }
        // The connection serves on.
        device.say(&head(TOKEN, "Connection: close\r\n")).await;
        device.say(&(chunk("{\"a\":4}") + "0\r\n\r\n")).await;
        assert!(device.hear("\r\n\r\n").await.starts_with("HTTP/1.1 204"));
    }
}

#[tokio::test]
async fn who_expects_100_continue_and_asks_for_lines_gets_both() {
    let world = World::new().await;
    let more = format!("{LINES}Accept: application/x-ndjson\r\nExpect: 100-continue\r\n");
    let mut device = Wire::open(&world, head(TOKEN, &more)).await;
    assert!(device.hear("\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    device.say(&chunk("{\"a\":1}\n")).await;
    assert!(device.hear("\"last_line\":1}\n").await.starts_with("HTTP/1.1 200"));
    device.say("0\r\n\r\n").await;
    device.hear("\"rejected\":[]}\n").await;
}

#[tokio::test]
async fn h_10_who_expects_100_continue_is_refused_before_the_body_is_read() {
    let world = World::with(hasty()).await;
    let post = |path: &str, token: &str, more: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{}{more}\r\n", bearer(token))
    };
    let own = "/api/v1/me/telemetry";
    let length = "Content-Length: 100\r\n";
    for (request, status) in [
        (post(own, "wrong", &format!("{length}{LINES}")), 401),
        (post(own, ADMIN, &format!("{length}{LINES}")), 403),
        (post("/api/v1/devices/nobody/telemetry", ADMIN, length), 404),
        (post(own, TOKEN, "Content-Length: 10000000\r\n"), 413),
        (post(own, TOKEN, &format!("{length}Content-Type: text/html\r\n")), 415),
        (post(own, TOKEN, &format!("{length}{LINES}Content-Encoding: br\r\n")), 415),
    ] {
        // The server does not wait for the body: it answers, and the connection is of no more use.
        assert_eq!(exchange(&world, request.as_bytes()).await.0, status, "{request}");
    }
    let mut last = 0;
    for _ in 0..40 {
        last = exchange(&world, post(own, "wrong", &format!("{length}{LINES}")).as_bytes()).await.0;
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn h_10_the_refusal_arrives_although_the_body_is_on_its_way() {
    let world = World::new().await;
    let body = "x".repeat(3_000_000);
    let request = format!(
        "POST /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\n{}Content-Length: {}\r\n\r\n{body}",
        bearer(TOKEN),
        body.len()
    );
    for _ in 0..5 {
        let mut stream = TcpStream::connect(world.http).await.unwrap();
        // Whether all of it is taken or not, the answer comes.
        stream.write_all(request.as_bytes()).await.ok();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        read.expect("the server does not close").expect("the answer is lost");
        assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[tokio::test]
async fn h_09_a_stream_whose_connection_breaks_keeps_what_came_and_goes_on_by_its_key() {
    let world = World::new().await;
    let more = format!("{LINES}Accept: application/x-ndjson\r\nIdempotency-Key: monday\r\n");
    let mut device = Wire::open(&world, head(TOKEN, &more)).await;
    device.say(&chunk("{\"a\":1}\n{\"a\":2}\n")).await;
    device.hear("{\"accepted\":2,\"last_line\":2}\n").await;
    device.say(&chunk("{\"b\":1}\n{\"never\":")).await;
    until_there(&world, "b").await;
    drop(device);

    let mut device = Wire::open(&world, head(TOKEN, &more)).await;
    device.say(&(chunk("{\"a\":1}\n{\"a\":2}\n{\"b\":1}\n{\"c\":1}\n") + "0\r\n\r\n")).await;
    device.hear("{\"accepted\":4,\"last_line\":4,\"rejected\":[]}\n").await;
    assert!(has(&world, "c") && !has(&world, "never"));
}

#[tokio::test]
async fn a_stream_of_any_length_is_taken() {
    let world = World::new().await;
    let mut device = Wire::open(&world, head(TOKEN, LINES)).await;
    let piece = chunk(&format!("{{\"a\":1,\"text\":\"{}\"}}\n", "t".repeat(300)).repeat(100));
    // More than any body that is read whole may have.
    for _ in 0..60 {
        device.say(&piece).await;
    }
    device.say("0\r\n\r\n").await;
    assert!(device.hear("\"rejected\":[]}").await.contains("\"accepted\":6000,"));
}
