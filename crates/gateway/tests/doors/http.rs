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
async fn a_request_may_be_written_as_for_a_proxy_first_or_later() {
    let world = World::new().await;
    let path = "/api/v1/me/telemetry";
    let post = |target: &str| {
        let bearer = bearer(TOKEN);
        format!("POST {target} HTTP/1.1\r\nHost: x\r\n{bearer}Content-Length: 7\r\n\r\n{{\"x\":1}}")
    };
    let absolute = post(&format!("http://x{path}"));
    let last = post(&format!("http://y{path}"));
    let (status, rest) =
        exchange(&world, format!("{absolute}{}{absolute}{last}", post(path)).as_bytes()).await;
    assert_eq!((status, rest.matches("HTTP/1.1 204").count()), (204, 2), "{rest}");
    assert!(rest.contains("HTTP/1.1 400"), "{rest}");
}

#[tokio::test]
async fn h_16_a_connection_serves_many_requests() {
    let world = World::new().await;
    let one = format!("GET /api/v1/me/commands HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer(TOKEN));
    let last = one.replace("Host: x\r\n", "Host: x\r\nConnection: close\r\n");
    let (status, rest) = exchange(&world, format!("{}{last}", one.repeat(20)).as_bytes()).await;
    assert_eq!((status, rest.matches("HTTP/1.1 200").count()), (200, 20));
}

/// Reads one answer, whose body has a length, and leaves the connection open.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut input = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&input).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut input)).await.unwrap().unwrap();
        assert_ne!(read, 0, "{text}");
    }
}

#[tokio::test]
async fn h_08_many_small_chunks_are_one_body_and_one_without_end_is_none() {
    let world = World::new().await;
    let head = format!(
        "POST /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}Transfer-Encoding: chunked\r\n\r\n",
        bearer(TOKEN)
    );
    let spaces = "1\r\n \r\n".repeat(50_000);
    let body = format!("{spaces}7\r\n{{\"x\":1}}\r\n");
    let (status, _) = exchange(&world, format!("{head}{body}0\r\n\r\n").as_bytes()).await;
    assert_eq!(status, 204);

    // The zero chunk never comes, and the connection ends.
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    stream.write_all(format!("{head}7\r\n{{\"y\":1}}\r\n").as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest).await);
    let latest = world.hub.latest(&crate::common::tenant(), &crate::common::device()).unwrap();
    assert_eq!(latest.keys().map(|key| &**key).collect::<Vec<_>>(), ["x"]);

    // What follows the zero chunk is another request, or none.
    let kept = head.replace("Connection: close\r\n", "");
    let text = format!("{kept}7\r\n{{\"x\":2}}\r\n0\r\n\r\nnonsense\r\n\r\n");
    let (status, rest) = exchange(&world, text.as_bytes()).await;
    assert_eq!((status, rest.contains("HTTP/1.1 400")), (204, true), "{rest}");
}

#[tokio::test]
async fn who_waits_for_100_continue_is_told_before_the_body_and_not_when_it_is_refused() {
    let world = World::new().await;
    let head = |token: &str| {
        let bearer = bearer(token);
        format!(
            "POST /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\n{bearer}Content-Type: application/x-ndjson\r\n\
             Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    stream.write_all(head(TOKEN).as_bytes()).await.unwrap();
    assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"8\r\n{\"x\":1}\n\r\n0\r\n\r\n").await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"accepted\":1"), "{answer}");

    let mut stream = TcpStream::connect(world.http).await.unwrap();
    stream.write_all(head("wrong").as_bytes()).await.unwrap();
    assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 401"));
}

#[tokio::test]
async fn h_20_who_says_to_be_somebody_else_is_not_believed() {
    let world = World::new().await;
    let mut last = 0;
    for number in 0..40 {
        let claimed = format!("X-Forwarded-For: 10.0.0.{number}\r\nForwarded: for=10.0.0.{number}\r\n");
        let request = format!(
            "GET /api/v1/me/commands HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{claimed}{}\r\n",
            bearer("wrong")
        );
        last = exchange(&world, request.as_bytes()).await.0;
    }
    // Wrong tokens are counted by the address that they came from.
    assert_eq!(last, 429);
    let proxy = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01";
    assert!([0, 400].contains(&exchange(&world, proxy).await.0));
}

#[tokio::test]
async fn h_30_a_request_during_the_drain_is_told_to_come_again_and_a_begun_one_ends_well() {
    let world = World::new().await;
    let (one, other) = (TcpStream::connect(world.http).await, TcpStream::connect(world.http).await);
    let (mut begun, mut late) = (one.unwrap(), other.unwrap());
    let idle = TcpStream::connect(world.http).await.unwrap();
    let head = format!("POST /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\n{}", bearer(TOKEN));
    begun
        .write_all(format!("{head}Content-Length: 7\r\nExpect: 100-continue\r\n\r\n").as_bytes())
        .await
        .unwrap();
    assert!(read_answer(&mut begun).await.starts_with("HTTP/1.1 100 "));
    late.write_all(head.as_bytes()).await.unwrap();
    // Its first bytes are with the server once this later connection was answered.
    assert_eq!(exchange(&world, b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n").await.0, 405);

    world.ask_to_stop();
    late.write_all(b"Content-Length: 2\r\n\r\n{}").await.unwrap();
    let refused = read_answer(&mut late).await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    let head = refused.to_ascii_lowercase();
    assert!(head.contains("connection: close") && head.contains("retry-after: 1"), "{refused}");

    begun.write_all(b"{\"x\":1}").await.unwrap();
    let answer = read_answer(&mut begun).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    drop(idle);
    world.stop().await;
}

#[tokio::test]
async fn pages_of_the_named_hosts_may_ask_with_a_token_and_never_with_a_cookie() {
    let origins = roost_gateway::http::Origins::parse("https://farm.example").unwrap();
    let world = World::with(roost_gateway::Settings { origins, ..roost_gateway::Settings::default() }).await;
    let ask = async |method: &str, more: &str| {
        let request = format!(
            "{method} /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Length: 7\r\n{more}\r\n{{\"x\":1}}"
        );
        let mut stream = TcpStream::connect(world.http).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    };
    let origin = "Origin: https://farm.example\r\n";
    let asked = "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n";
    let preflight = ask("OPTIONS", &format!("{origin}{asked}")).await;
    assert!(preflight.starts_with("HTTP/1.1 204"), "{preflight}");
    for header in [
        "access-control-allow-origin: https://farm.example",
        "access-control-allow-methods: GET, HEAD, POST",
        "access-control-allow-headers: Authorization",
        "vary: Origin",
    ] {
        assert!(preflight.contains(header), "{header}: {preflight}");
    }
    let with_token = ask("POST", &format!("{origin}{}", bearer(TOKEN))).await;
    assert!(with_token.starts_with("HTTP/1.1 204"), "{with_token}");
    assert!(with_token.contains("access-control-allow-origin: https://farm.example"), "{with_token}");
    let refused = ask("POST", origin).await;
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("access-control-allow-origin"));

    let cookie = ask("POST", &format!("{origin}Cookie: roost_session=x\r\n")).await;
    let foreign = ask("POST", &format!("Origin: https://evil.example\r\n{}", bearer(TOKEN))).await;
    let foreign_preflight = ask("OPTIONS", &format!("Origin: https://evil.example\r\n{asked}")).await;
    for answer in [&cookie, &foreign, &foreign_preflight] {
        assert!(!answer.contains("access-control"), "{answer}");
        assert!(!answer.contains("allow-credentials"), "{answer}");
    }
    assert!(foreign_preflight.starts_with("HTTP/1.1 405"), "{foreign_preflight}");
}
