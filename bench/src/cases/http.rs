//! Devices that post: one object of five values a request, answered once durable.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Figure, figure};
use crate::answers::Answers;
use crate::clock;
use crate::meter::Meter;
use crate::peer::Peer;
use crate::proc::Division;
use crate::rest::{Device, Rest};
use crate::sockets::{Sockets, Talk};

pub(super) const DESCRIPTION: &str =
    "64 devices on 64 kept connections, 1 POST of 5 values in flight each, 204 once durable";
const DEVICES: usize = 64;
const DAY_MILLIS: i64 = 86_400_000;
const NO_CONTENT: u16 = 204;
const TURN_MAX: Duration = Duration::from_millis(100);

pub(super) fn run(peer: &Peer, window: Duration) -> Result<Vec<Figure>> {
    let rest = Rest::new(peer.http()?);
    let devices = rest.create_devices(DEVICES)?;
    let mut sockets = Sockets::open(peer.http()?, DEVICES)?;
    let mut posts = Posts { posters: devices.iter().map(Poster::new).collect(), answered: 0 };
    for number in 0..DEVICES {
        let mut request = Vec::new();
        posts.poster(number)?.request(&mut request);
        sockets.send(number, &request)?;
    }
    let wait = wait(peer);
    turn_until((&mut sockets, wait), &mut posts, clock::now() + window / 4)?;
    let meter = Meter::start(peer)?;
    let before = posts.answered;
    turn_until((&mut sockets, wait), &mut posts, clock::now() + window)?;
    let used = meter.stop(peer)?;
    let count = f64::from(posts.answered - before);
    let first = devices.first().context("no device")?;
    let now = clock::unix_millis();
    let found = rest.values(&first.id, "n", now - DAY_MILLIS, now + DAY_MILLIS)?.len();
    let acknowledged = posts.poster(0)?.sent - 1;
    Ok(vec![
        figure("cpu µs/request", used.broker_micros_per(count)),
        figure("requests/s", used.per_second(count)),
        figure("found in history %", 100.0 * f64::from(u32::try_from(found)?) / f64::from(acknowledged)),
        figure("broker busy %", used.broker_percent()),
        figure("generator busy %", used.generator_percent()),
        figure("others busy %", used.others_percent()),
    ])
}

/// On a core of our own without a wait: an answer is to cost the server no wake-up of who waits for it.
fn wait(peer: &Peer) -> Duration {
    match peer.cores().division {
        Division::OneEach => Duration::ZERO,
        Division::Shared => TURN_MAX,
    }
}

fn turn_until((sockets, wait): (&mut Sockets, Duration), posts: &mut Posts, deadline: Instant) -> Result<()> {
    loop {
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Ok(());
        }
        sockets.turn(wait.min(left), posts)?;
    }
}

struct Poster {
    head: String,
    sent: u32,
    answers: Answers,
}

struct Posts {
    posters: Vec<Poster>,
    answered: u32,
}

impl Posts {
    fn poster(&mut self, number: usize) -> Result<&mut Poster> {
        self.posters.get_mut(number).context("no such poster")
    }
}

impl Talk for Posts {
    fn hear(&mut self, number: usize, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let poster = self.poster(number)?;
        let Some(answer) = poster.answers.take(bytes)? else { return Ok(()) };
        if answer.status != NO_CONTENT {
            bail!("a post was answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        poster.request(out);
        self.answered += 1;
        Ok(())
    }
}

impl Poster {
    fn new(device: &Device) -> Poster {
        let head = format!(
            "POST /api/v1/me/telemetry HTTP/1.1\r\nHost: roost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: ",
            device.token
        );
        Poster { head, sent: 0, answers: Answers::default() }
    }

    fn request(&mut self, out: &mut Vec<u8>) {
        self.sent += 1;
        let body =
            format!(r#"{{"n":{},"temp":21.5,"humidity":48.2,"pressure":1013.25,"door":false}}"#, self.sent);
        out.extend(format!("{}{}\r\n\r\n{body}", self.head, body.len()).into_bytes());
    }
}
