//! Requests that come slowly, by halves or without end. The clock of the runtime stands still but
//! for what is waited for.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

use crate::common::{TOKEN, World, device, tenant};
use crate::http::bearer;

const HEAD: &str = "POST /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\n";
const LINES: &str = "Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n";
/// More than any head may have.
const ENDLESS: usize = 200_000;
/// The least that a peer's kernel keeps for it.
const SMALL: u32 = 4_096;

fn get() -> String {
    format!("GET /api/v1/me/commands HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer(TOKEN))
}

fn post(more: &str) -> String {
    format!("{HEAD}{}{more}\r\n", bearer(TOKEN))
}

/// A connection on which something was said.
async fn open(world: &World, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.http).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    stream
}

/// A connection on which a request was answered already.
async fn used(world: &World) -> TcpStream {
    let mut stream = open(world, &get()).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"{\"items\":[]}") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    stream
}

/// Says one piece each second until the server answers or closes; gives all that it says, and after
/// how long it was done.
async fn say_slowly(stream: &mut TcpStream, pieces: impl IntoIterator<Item = String>) -> (String, Duration) {
    let begun = Instant::now();
    let mut pieces = pieces.into_iter();
    let mut answer = Vec::new();
    loop {
        tokio::select! {
            read = stream.read_buf(&mut answer) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            },
            () = sleep(Duration::from_secs(1)), if answer.is_empty() => {
                // It may be closed already.
                stream.write_all(pieces.next().unwrap_or_default().as_bytes()).await.ok();
            }
        }
    }
    (String::from_utf8(answer).unwrap(), begun.elapsed())
}

fn bytes(text: &str) -> impl Iterator<Item = String> {
    text.bytes().map(|byte| char::from(byte).to_string()).collect::<Vec<_>>().into_iter()
}

fn is_about(waited: Duration, seconds: u64) -> bool {
    (Duration::from_secs(seconds)..Duration::from_secs(seconds + 2)).contains(&waited)
}

fn keys(world: &World) -> Vec<String> {
    let latest = world.hub.latest(&tenant(), &device()).unwrap();
    latest.keys().map(|key| (**key).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn h_01_a_head_of_one_byte_a_second_is_not_waited_for() {
    let world = World::new().await;
    let mut first = open(&world, "").await;
    let (answer, waited) = say_slowly(&mut first, bytes(&get())).await;
    assert!(answer.starts_with("HTTP/1.1 408") && is_about(waited, 10), "{waited:?}: {answer}");
    // Nor is a later one.
    let mut later = used(&world).await;
    let (answer, waited) = say_slowly(&mut later, bytes(&get())).await;
    assert!(!answer.contains(" 200 ") && is_about(waited, 10), "{waited:?}: {answer}");
}

#[tokio::test(start_paused = true)]
async fn h_01_half_a_head_and_silence_or_silence_alone_is_not_waited_for() {
    let world = World::new().await;
    for half in ["", "G", "GET / HTTP/1.1\r\nHost: x\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r"] {
        let (answer, waited) = say_slowly(&mut open(&world, half).await, []).await;
        assert!(answer.starts_with("HTTP/1.1 408") && is_about(waited, 10), "{half:?}: {waited:?}: {answer}");
        let mut later = used(&world).await;
        later.write_all(half.as_bytes()).await.unwrap();
        let (answer, waited) = say_slowly(&mut later, []).await;
        assert!(!answer.contains(" 200 ") && is_about(waited, 10), "{half:?}: {waited:?}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn h_03_headers_without_end_are_refused_while_they_come() {
    let world = World::new().await;
    for mut stream in [open(&world, "").await, used(&world).await] {
        let endless = format!("GET / HTTP/1.1\r\nHost: x\r\n{}", "A: b\r\n".repeat(ENDLESS / 6));
        stream.write_all(endless.as_bytes()).await.ok();
        let (answer, _) = say_slowly(&mut stream, []).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn h_02_a_body_of_one_byte_a_second_is_not_waited_for_and_one_of_a_hundred_is() {
    let world = World::new().await;
    let text = format!("{{\"a\":\"{}\"}}", "b".repeat(2_992));
    let mut stream = open(&world, &post("Connection: close\r\nContent-Length: 3000\r\n")).await;
    let (answer, waited) = say_slowly(&mut stream, bytes(&text)).await;
    assert!(answer.starts_with("HTTP/1.1 408") && is_about(waited, 10), "{waited:?}: {answer}");
    assert_eq!(keys(&world), [""; 0]);

    let mut stream = open(&world, &post("Connection: close\r\nContent-Length: 3000\r\n")).await;
    let pieces = text.as_bytes().chunks(100).map(|piece| String::from_utf8_lossy(piece).into_owned());
    let (answer, waited) = say_slowly(&mut stream, pieces.collect::<Vec<_>>()).await;
    assert!(answer.starts_with("HTTP/1.1 204") && is_about(waited, 30), "{waited:?}: {answer}");
}

#[tokio::test(start_paused = true)]
async fn h_02_a_stream_of_one_byte_a_second_goes_on_and_a_silent_one_ends_after_a_minute() {
    let world = World::new().await;
    let mut stream = open(&world, &post(&format!("Connection: close\r\n{LINES}"))).await;
    let chunks = "{\"slow\":1}\n".repeat(20);
    let chunks = bytes(&chunks).map(|byte| format!("1\r\n{byte}\r\n")).chain(["0\r\n\r\n".to_owned()]);
    let (answer, waited) = say_slowly(&mut stream, chunks).await;
    assert!(answer.contains("\"accepted\":20") && is_about(waited, 221), "{waited:?}: {answer}");

    let said = post(LINES) + "d\r\n{\"silent\":1}\n\r\n3\r\n{\"x\r\n";
    let (answer, waited) = say_slowly(&mut open(&world, &said).await, []).await;
    assert!(answer.starts_with("HTTP/1.1 408") && is_about(waited, 60), "{waited:?}: {answer}");
    assert!(answer.contains("\"accepted\":1"), "{answer}");
    assert_eq!(keys(&world), ["silent", "slow"]);
}

#[tokio::test(start_paused = true)]
async fn h_09_of_a_body_that_stops_or_breaks_off_nothing_is_stored() {
    let world = World::new().await;
    let said = post("Content-Length: 100000\r\n") + "[{\"a\":1}," + &" ".repeat(1_000);
    let (answer, _) = say_slowly(&mut open(&world, &said).await, []).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    let mut broken = open(&world, &said).await;
    broken.shutdown().await.unwrap();
    let (answer, _) = say_slowly(&mut broken, []).await;
    assert!(!answer.contains(" 204 "), "{answer}");
    assert_eq!(keys(&world), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn h_16_who_asks_on_and_on_and_reads_nothing_is_given_up() {
    let world = World::new().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SMALL).unwrap();
    let mut stream = socket.connect(world.http).await.unwrap();
    let requests = get().repeat(100);
    // The server takes no more when nothing of its answers is taken, and then not for ever.
    let written = async {
        for _ in 0..10_000 {
            stream.write_all(requests.as_bytes()).await?;
        }
        std::io::Result::Ok(())
    };
    assert!(written.await.is_err());
}

#[tokio::test]
async fn h_05_h_06_what_can_be_read_in_two_ways_is_refused_in_later_heads_too() {
    let world = World::new().await;
    let body = "7\r\n{\"x\":1}\r\n0\r\n\r\n";
    for bad in [
        post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") + body,
        post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n") + body,
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + body,
        post("Transfer-Encoding: xchunked\r\n") + body,
        post("Content-Length: 7\r\nContent-Length: 7\r\n") + "{\"x\":1}",
        post("Content-Length: 7,7\r\n") + "{\"x\":1}",
        post("Content-Length: +7\r\n") + "{\"x\":1}",
        get().replace("Host: x", "Host: x\r\nHost: y"),
        get().replace("Host: x\r\n", ""),
        get().replace("\r\n", "\n"),
        get().replace("Host: x", "Host: x\r\nA : b"),
        get().replace("Host: x", "Host: x\r\nA: b\r\n c"),
    ] {
        let mut stream = used(&world).await;
        // What follows is not answered.
        stream.write_all(format!("{bad}{}", get()).as_bytes()).await.unwrap();
        let (answer, _) = say_slowly(&mut stream, []).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{bad:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{bad:?}: {answer}");
    }
    assert_eq!(keys(&world), [""; 0]);
}

#[tokio::test]
async fn h_07_an_extension_of_64_kib_is_refused() {
    let world = World::new().await;
    let said = post("Transfer-Encoding: chunked\r\n");
    let extension = format!("7;a={}\r\n{{\"x\":1}}\r\n0\r\n\r\n", "b".repeat(65_536));
    let mut stream = open(&world, &said).await;
    stream.write_all(extension.as_bytes()).await.ok();
    let (answer, _) = say_slowly(&mut stream, []).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(keys(&world), [""; 0]);
}

#[tokio::test]
async fn h_13_http_2_is_not_spoken_and_its_preface_is_refused() {
    let world = World::new().await;
    for mut stream in [open(&world, "").await, used(&world).await] {
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let (answer, _) = say_slowly(&mut stream, []).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}
