//! Readings line by line: a few long requests in chunks, each answered with what is kept of it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Figure, figure};
use crate::answers::{Answers, LAST_CHUNK, encode_chunk};
use crate::clock;
use crate::meter::Meter;
use crate::peer::Peer;
use crate::rest::{Device, Rest};
use crate::sockets::{Sockets, Talk};

pub(super) const DESCRIPTION: &str = "4 devices, one request of NDJSON each, {\"ts\":…,\"values\":{\"temp\":21.5}} a line, until the answer says that all is durable";
const STREAMS: usize = 4;
const LINES_PER_CHUNK: u64 = 100;
/// So much is ready for the socket at any time.
const READY: usize = 64 * 1024;
const TURN_MAX: Duration = Duration::from_millis(100);
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The first line's time lies so far back: each line is a millisecond later than the one before.
const BACK_MILLIS: i64 = 3_600_000;

pub(super) fn run(peer: &Peer, window: Duration) -> Result<Vec<Figure>> {
    let rest = Rest::new(peer.http()?);
    let devices = rest.create_devices(STREAMS)?;
    let mut sockets = Sockets::open(peer.http()?, STREAMS)?;
    let mut streams = Streams { streams: vec![Stream::default(); STREAMS] };
    let first = clock::unix_millis() - BACK_MILLIS;
    let meter = Meter::start(peer)?;
    for (number, device) in devices.iter().enumerate() {
        sockets.send(number, head(device).as_bytes())?;
    }
    let deadline = clock::now() + window;
    while clock::now() < deadline {
        streams.top_up(&mut sockets, first)?;
        // Who took everything is to have more at once.
        let waits = (0..STREAMS).all(|number| sockets.unsent(number) > 0);
        sockets.turn(if waits { TURN_MAX } else { Duration::ZERO }, &mut streams)?;
    }
    for number in 0..STREAMS {
        sockets.send(number, LAST_CHUNK)?;
    }
    let deadline = clock::now() + ANSWER_MAX;
    while streams.streams.iter().any(|stream| stream.accepted.is_none()) {
        if clock::now() > deadline {
            bail!("a stream was not answered within {ANSWER_MAX:?} of its end");
        }
        sockets.turn(TURN_MAX, &mut streams)?;
    }
    let used = meter.stop(peer)?;
    let lines = streams.check()?;
    let looked_at = devices.first().context("no device")?;
    let sent = i64::try_from(streams.streams.first().context("no stream")?.sent)?;
    let found = rest.values(&looked_at.id, "temp", first, first + sent)?.len();
    let sent = f64::from(u32::try_from(sent)?);
    Ok(vec![
        figure("cpu µs/reading", used.broker_micros_per(lines)),
        figure("readings/s", used.per_second(lines)),
        figure("found in history %", 100.0 * f64::from(u32::try_from(found)?) / sent),
        figure("broker busy %", used.broker_percent()),
        figure("generator busy %", used.generator_percent()),
        figure("others busy %", used.others_percent()),
    ])
}

fn head(device: &Device) -> String {
    format!(
        "POST /api/v1/me/telemetry HTTP/1.1\r\nHost: roost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
        device.token
    )
}

#[derive(Clone, Default)]
struct Stream {
    sent: u64,
    answers: Answers,
    accepted: Option<u64>,
}

struct Streams {
    streams: Vec<Stream>,
}

/// What a stream is answered with.
#[derive(Deserialize)]
struct Report {
    accepted: u64,
    rejected: Vec<serde_json::Value>,
}

impl Streams {
    fn top_up(&mut self, sockets: &mut Sockets, first: i64) -> Result<()> {
        let mut chunk = String::new();
        let mut bytes = Vec::new();
        for (number, stream) in self.streams.iter_mut().enumerate() {
            while sockets.unsent(number) < READY {
                chunk.clear();
                for line in stream.sent..stream.sent + LINES_PER_CHUNK {
                    let ts = first + i64::try_from(line)?;
                    chunk.push_str(&format!("{{\"ts\":{ts},\"values\":{{\"temp\":21.5}}}}\n"));
                }
                stream.sent += LINES_PER_CHUNK;
                bytes.clear();
                encode_chunk(chunk.as_bytes(), &mut bytes);
                sockets.send(number, &bytes)?;
                // A socket that takes everything must not keep the others waiting.
                if sockets.unsent(number) == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// How many lines were sent; each must have been taken.
    fn check(&self) -> Result<f64> {
        let sent: u64 = self.streams.iter().map(|stream| stream.sent).sum();
        let accepted: u64 = self.streams.iter().filter_map(|stream| stream.accepted).sum();
        if accepted != sent {
            bail!("{sent} lines were sent and {accepted} were accepted");
        }
        Ok(f64::from(u32::try_from(sent)?))
    }
}

impl Talk for Streams {
    fn hear(&mut self, number: usize, bytes: &[u8], _out: &mut Vec<u8>) -> Result<()> {
        let stream = self.streams.get_mut(number).context("no such stream")?;
        let Some(answer) = stream.answers.take(bytes)? else { return Ok(()) };
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status != 200 {
            bail!("a stream was answered {}: {text}", answer.status);
        }
        let report: Report = serde_json::from_slice(&answer.body)?;
        if let Some(rejected) = report.rejected.first() {
            bail!("a line was refused: {rejected}");
        }
        stream.accepted = Some(report.accepted);
        Ok(())
    }
}
