//! Devices that post one reading after the other on a kept connection.

use roost_gateway::Settings;
use roost_hub::reading::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{PATIENCE, TOKEN, World, device, hasty, tenant};
use crate::http::bearer;

/// An answer: its status, its head, and its body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

struct Poster {
    stream: TcpStream,
    input: Vec<u8>,
}

fn post(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /api/v1/me/telemetry HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

fn reading(count: i64) -> String {
    post(&bearer(TOKEN), &format!(r#"{{"n":{count}}}"#))
}

impl Poster {
    async fn connect(world: &World) -> Self {
        Self { stream: TcpStream::connect(world.http).await.unwrap(), input: Vec::new() }
    }

    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> Answer {
        loop {
            if let Some(answer) = self.whole() {
                return answer;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
            assert!(read.expect("an answer is due").unwrap() > 0, "the server hung up");
        }
    }

    fn whole(&mut self) -> Option<Answer> {
        let text = String::from_utf8(self.input.clone()).unwrap();
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        let body = rest.get(..length)?.to_owned();
        self.input.drain(..head.len() + 4 + length);
        Some(Answer { status: head[9..12].parse().unwrap(), head, body })
    }

    async fn ask(&mut self, text: &str) -> Answer {
        self.say(text).await;
        self.hear().await
    }

    async fn is_hung_up_on(&mut self) -> bool {
        timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await.expect("the server hangs up").unwrap()
            == 0
    }
}

fn newest(world: &World) -> Option<Value> {
    let latest = world.hub.latest(&tenant(), &device()).unwrap();
    latest.get("n").map(|reading| reading.value.clone())
}

#[tokio::test]
async fn post_after_post_is_stored_and_answered_on_one_connection() {
    let world = World::new().await;
    let mut poster = Poster::connect(&world).await;
    for count in 1..=5 {
        let answer = poster.ask(&reading(count)).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        assert!(answer.head.contains("\r\ndate: ") && answer.head.ends_with(" gmt"), "{}", answer.head);
        assert_eq!(newest(&world), Some(Value::Integer(count)));
    }
    assert_eq!(world.hub.counters.telemetry_refused_total.value(), 0);
}

#[tokio::test]
async fn other_requests_between_posts_are_answered_on_the_same_connection() {
    let world = World::new().await;
    let mut poster = Poster::connect(&world).await;
    assert_eq!(poster.ask(&reading(1)).await.status, 204);
    let commands = format!("GET /api/v1/me/commands HTTP/1.1\r\nHost: x\r\n{}\r\n", bearer(TOKEN));
    assert_eq!(poster.ask(&commands).await.status, 200);
    assert_eq!(poster.ask(&reading(2)).await.status, 204);
    assert_eq!(newest(&world), Some(Value::Integer(2)));
}

#[tokio::test]
async fn posts_are_answered_alike_however_their_bytes_come() {
    let world = World::new().await;
    let mut together = Poster::connect(&world).await;
    together.say(&[reading(1), reading(2), reading(3)].concat()).await;
    for _ in 0..3 {
        assert_eq!(together.hear().await.status, 204);
    }
    assert_eq!(newest(&world), Some(Value::Integer(3)));
    let mut apart = Poster::connect(&world).await;
    apart.stream.set_nodelay(true).unwrap();
    for text in [reading(4), reading(5)] {
        for byte in text.chars() {
            apart.say(&byte.to_string()).await;
        }
        assert_eq!(apart.hear().await.status, 204);
    }
    assert_eq!(newest(&world), Some(Value::Integer(5)));
}

#[tokio::test]
async fn a_post_that_is_refused_says_why_once_and_the_next_one_is_taken() {
    let world = World::new().await;
    let token = bearer(TOKEN);
    for (headers, body, status) in [
        (token.clone(), r#"{"n":01}"#, 400),
        (token.clone(), "", 400),
        (format!("{token}Content-Type: text/html\r\n"), r#"{"n":1}"#, 415),
        (format!("{token}{token}"), r#"{"n":1}"#, 400),
    ] {
        let mut poster = Poster::connect(&world).await;
        assert_eq!(poster.ask(&reading(1)).await.status, 204);
        let refused = world.hub.counters.telemetry_refused_total.value();
        let answer = poster.ask(&post(&headers, body)).await;
        assert_eq!(answer.status, status, "{headers}{body}: {}", answer.body);
        assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
        assert!(world.hub.counters.telemetry_refused_total.value() <= refused + 1);
        assert_eq!(poster.ask(&reading(2)).await.status, 204);
    }
}

#[tokio::test]
async fn x_04_a_credential_that_is_revoked_between_two_posts_opens_nothing() {
    let world = World::new().await;
    let mut poster = Poster::connect(&world).await;
    assert_eq!(poster.ask(&reading(1)).await.status, 204);
    let known = world.hub.credentials(&tenant(), &device()).unwrap();
    world.hub.revoke_credential(&tenant(), &device(), &known[0].id).await.unwrap();
    assert_eq!(poster.ask(&reading(2)).await.status, 401);
    assert!(poster.is_hung_up_on().await);
    assert_eq!(newest(&world), Some(Value::Integer(1)));
}

#[tokio::test]
async fn a_device_that_posts_too_fast_is_told_when_to_come_again() {
    let hub = roost_hub::Settings { publish_rate_max: 1, ..roost_hub::Settings::default() };
    let world = World::within(Settings::default(), hub).await;
    let mut poster = Poster::connect(&world).await;
    let mut answers = Vec::new();
    for count in 0..4 {
        answers.push(poster.ask(&reading(count)).await);
        if answers.last().is_some_and(|answer| answer.status != 204) {
            break;
        }
    }
    let refused = answers.last().unwrap();
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("\r\nretry-after: "), "{}", refused.head);
}

#[tokio::test]
async fn h_01_a_connection_on_which_nothing_more_comes_is_closed_without_a_word() {
    let world = World::with(hasty()).await;
    let mut poster = Poster::connect(&world).await;
    assert_eq!(poster.ask(&reading(1)).await.status, 204);
    assert!(poster.is_hung_up_on().await);
}
