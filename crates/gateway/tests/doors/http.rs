//! HTTP: what comes in at the door, before anybody answers it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{PATIENCE, TOKEN, World, hasty};

/// Sends bytes and gives the status and body of the one answer; the server closes or was asked to.
pub(crate) async fn exchange(world: &World, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    drop(
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the server does not close"),
    );
    let text = String::from_utf8(answer).unwrap();
    let status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn h_01_a_head_that_comes_too_slowly_is_closed() {
    let world = World::with(hasty()).await;
    assert_eq!(exchange(&world, b"GET / HTTP/1.1\r\nHost:").await.0, 408);
}

#[tokio::test]
async fn h_03_to_h_06_a_head_that_can_be_read_in_two_ways_is_refused() {
    let world = World::new().await;
    for (head, status) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n".to_owned(), 400),
        ("Content-Length: +3\r\n".to_owned(), 400),
        ("Content-Length : 3\r\n".to_owned(), 400),
        ("A: b\r\n c\r\n".to_owned(), 400),
        ("A: b\nC: d\r\n".to_owned(), 400),
        ("Host: y\r\n".to_owned(), 400),
        ("A: b\r\n".repeat(200), 431),
        (format!("A: {}\r\n", "b".repeat(65_536)), 431),
    ] {
        let request = format!("POST /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\n{head}\r\nabc");
        assert_eq!(exchange(&world, request.as_bytes()).await.0, status, "{:?}", head.get(..30));
    }
}

#[tokio::test]
async fn h_07_broken_chunks_are_refused() {
    let world = World::new().await;
    let token = bearer(TOKEN);
    for chunk in ["FFFFFFFFFFFFFFFFF\r\n", "-1\r\n", "0x10\r\n", "3\r\nabcX"] {
        let head = format!(
            "POST /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\n{token}Transfer-Encoding: chunked\r\n\r\n"
        );
        let (status, _) = exchange(&world, format!("{head}{chunk}").as_bytes()).await;
        assert_eq!(status, 400, "{chunk:?}");
    }
}

#[tokio::test]
async fn h_10_a_body_over_the_limit_is_refused_before_it_is_read() {
    let world = World::new().await;
    let head = "POST /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n";
    for expect in ["", "Expect: 100-continue\r\n"] {
        let request = format!("{head}{}{expect}\r\n", bearer(TOKEN));
        assert_eq!(exchange(&world, request.as_bytes()).await.0, 413);
    }
}

#[tokio::test]
async fn h_14_h_15_what_is_no_request_of_ours_is_refused() {
    let world = World::new().await;
    for (request, status) in [
        (&b"GET /\r\n\r\n"[..], 400),
        (b"GET / HTTP/1.0\r\n\r\n", 400),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03", 0),
        (b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3C", 0),
    ] {
        assert_eq!(exchange(&world, request).await.0, status, "{request:?}");
    }
}

#[tokio::test]
async fn h_16_a_connection_serves_many_requests() {
    let world = World::new().await;
    let one = format!("GET /api/v1/me/commands HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer(TOKEN));
    let last = one.replace("Host: x\r\n", "Host: x\r\nConnection: close\r\n");
    let (status, rest) = exchange(&world, format!("{}{last}", one.repeat(20)).as_bytes()).await;
    assert_eq!((status, rest.matches("HTTP/1.1 200").count()), (200, 20));
}
