//! MQTT over WebSocket, and what WebSockets must not do.

use futures_util::{SinkExt, StreamExt};
use roost_wire::mqtt::{Packet, QoS, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::common::{PATIENCE, TOKEN, World, connect, publish};

pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
Sec-WebSocket-Key: q83vEjRWeJCrze8SNFZ4kA==\r\n";

/// Sends a head and gives what comes back until the server closes or there is an end of a head.
pub(crate) async fn ask(world: &World, head: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read =
        async { while !answer.ends_with(b"\r\n\r\n") && stream.read_buf(&mut answer).await.unwrap() > 0 {} };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    (stream, String::from_utf8(answer).unwrap())
}

pub(crate) async fn upgraded(world: &World, path: &str, more: &str) -> TcpStream {
    let (stream, answer) =
        ask(world, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{UPGRADE}{more}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    stream
}

#[tokio::test]
async fn the_upgrade_is_spelled_as_old_firmware_reads_it() {
    let world = World::new().await;
    let mqtt = "Sec-WebSocket-Protocol: mqtt\r\n";
    let (_stream, answer) =
        ask(&world, &format!("GET /mqtt HTTP/1.1\r\nHost: x\r\n{UPGRADE}{mqtt}\r\n")).await;
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: iYmL0DolUaboajGybHjdmFYBpfU=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn w_02_w_03_what_is_no_upgrade_is_refused() {
    let world = World::new().await;
    for (head, status) in [
        ("GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "400"),
        (format!("GET /mqtt HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n"), "400"),
        (format!("GET /mqtt HTTP/1.0\r\nHost: x\r\n{UPGRADE}\r\n"), "400"),
        (format!("GET /mqtt HTTP/1.1\r\nHost: x\r\n{}\r\n", UPGRADE.replace("13", "8")), "426"),
        (format!("GET /mqtt HTTP/1.1\r\nHost: x\r\n{}\r\n", UPGRADE.replace("q83v", "")), "400"),
        (format!("POST /mqtt HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n"), "405"),
    ] {
        let (_stream, answer) = ask(&world, &head).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head} {answer}");
    }
}

#[tokio::test]
async fn w_05_packets_are_cut_without_regard_to_frames() {
    let world = World::new().await;
    let mut request = format!("ws://{}/mqtt", world.http).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "mqtt".parse().unwrap());
    let stream = TcpStream::connect(world.http).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut bytes = Vec::new();
    Packet::Connect(Box::new(connect(Version::V3))).encode(Version::V3, &mut bytes).unwrap();
    bytes.extend_from_slice(b"\x82\x06\x00\x01\x00\x01t\x00");
    publish("t", "over a socket", QoS::AtMostOnce, 0).encode(Version::V3, &mut bytes).unwrap();
    for part in bytes.chunks(5) {
        socket.send(Message::binary(part.to_vec())).await.unwrap();
    }
    let mut received = Vec::new();
    while !received.ends_with(b"over a socket") {
        let next = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        received.extend_from_slice(&next.unwrap().unwrap().into_data());
    }
    assert!(received.starts_with(b"\x20\x02\x00\x00\x90\x03\x00\x01\x00"), "{received:x?}");
    socket.send(Message::Ping("hello".into())).await.unwrap();
    let pong = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
    assert_eq!(pong.unwrap().unwrap(), Message::Pong("hello".into()));
}

/// The close code with which the server answers these bytes.
async fn close_code(world: &World, path: &str, bytes: &[u8]) -> u16 {
    let token = format!("Authorization: Bearer {TOKEN}\r\nSec-WebSocket-Protocol: mqtt\r\n");
    let mut stream = upgraded(world, path, &token).await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the close frame is an end too.
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap());
    let close = answer.iter().position(|byte| *byte == 0x88).expect("no close frame");
    u16::from_be_bytes([answer[close + 2], answer[close + 3]])
}

#[tokio::test]
async fn w_04_text_on_the_path_of_mqtt_closes() {
    let world = World::new().await;
    assert_eq!(close_code(&world, "/mqtt", b"\x81\x81\x00\x00\x00\x00a").await, 1003);
}

#[tokio::test]
async fn w_06_to_w_14_broken_frames_close_with_their_code() {
    let world = World::new().await;
    let long_ping = [&b"\x89\xFE\x00\x7E\x00\x00\x00\x00"[..], &[0; 126]].concat();
    for (bytes, code) in [
        (&b"\x82\x01a"[..], 1002),
        (b"\xC2\x81\x00\x00\x00\x00a", 1002),
        (b"\x83\x81\x00\x00\x00\x00a", 1002),
        (b"\x82\xFF\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", 1002),
        (b"\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00\x00\x00\x00", 1009),
        (&long_ping, 1002),
        (b"\x09\x80\x00\x00\x00\x00", 1002),
        (b"\x80\x81\x00\x00\x00\x00a", 1002),
        (b"\x02\x81\x00\x00\x00\x00a\x82\x81\x00\x00\x00\x00a", 1002),
        (b"\x88\x82\x00\x00\x00\x00\x03\xED", 1002),
        (b"\x88\x82\x00\x00\x00\x00\x03\xE7", 1002),
        (b"\x88\x81\x00\x00\x00\x00\x03", 1002),
    ] {
        for path in ["/mqtt", "/api/v1/echo"] {
            assert_eq!(close_code(&world, path, bytes).await, code, "{path} {bytes:x?}");
        }
    }
    let text = b"\x81\x82\x00\x00\x00\x00\xC3\x28";
    assert_eq!(close_code(&world, "/api/v1/echo", text).await, 1007);
}

#[tokio::test]
async fn w_16_a_flood_of_pings_whose_answers_nobody_reads_ends_the_connection() {
    let world = World::new().await;
    let mut said = Vec::new();
    Packet::Connect(Box::new(connect(Version::V3))).encode(Version::V3, &mut said).unwrap();
    let connected = [&[0x82, 0x80 | u8::try_from(said.len()).unwrap(), 0, 0, 0, 0], &said[..]].concat();
    let pings = [&b"\x89\xFD\x00\x00\x00\x00"[..], &[b'p'; 125]].concat().repeat(1_000);
    for (path, first) in [("/mqtt", &connected[..]), ("/api/v1/ws", b""), ("/api/v1/echo", b"")] {
        let known = format!("Authorization: Bearer {TOKEN}\r\nSec-WebSocket-Protocol: mqtt\r\n");
        let mut stream = upgraded(&world, path, &known).await;
        stream.write_all(first).await.unwrap();
        let flood = async { while stream.write_all(&pings).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, flood).await.unwrap_or_else(|_| panic!("{path} goes on"));
    }
    world.connected(Version::V5).await.ping().await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let world = World::new().await;
    for path in ["/mqtt", "/api/v1/echo", "/api/v1/ws"] {
        assert_eq!(close_code(&world, path, b"\x88\x82\x00\x00\x00\x00\x03\xE8").await, 1000, "{path}");
    }
}

#[tokio::test]
async fn the_echo_sends_every_frame_back() {
    let world = World::new().await;
    let url = format!("ws://{}/api/v1/echo?token={TOKEN}", world.http);
    let stream = TcpStream::connect(world.http).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    for message in [Message::text("grün"), Message::binary(vec![0, 1]), Message::text("x".repeat(100_000))] {
        socket.send(message.clone()).await.unwrap();
        let back = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap();
        assert_eq!(back.unwrap().unwrap(), message);
    }
    let (_stream, answer) =
        ask(&world, &format!("GET /api/v1/echo HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}
