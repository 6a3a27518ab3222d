//! A stream of readings, one JSON document a line, each taken as it comes.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use roost_hub::broker::PublishError;
use roost_hub::storage::{Position, StorageError};
use roost_wire::lines::{LineTooLong, Splitter};
use roost_wire::telemetry::Format;
use serde_json::{Map, Value, json};

use super::body::broken;
use super::refusal::{Refusal, sentence};
use super::telemetry::{Refused, Target};
use crate::adapters::decoders::Said;
use crate::problem::Problem;

/// The longest line, in bytes.
const LINE_LENGTH_MAX: usize = 64 * 1024;
/// How many refused lines are named in the answer.
const REJECTED_MAX: usize = 100;
/// How many lines may be in the log without being durable; then the sender waits.
const IN_FLIGHT_MAX: usize = 1_000;
/// How many bytes of them.
const IN_FLIGHT_BYTES_MAX: usize = 1024 * 1024;

/// How every line is written.
pub(super) const JSON: Said = Said::Format(Format::Json);

/// How far the stream has come.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    accepted: u64,
    /// The number of the last line that was looked at, from 1.
    line: u64,
}

/// One stream while it is read.
struct Stream<'a> {
    target: &'a Target<'a>,
    taken: Reached,
    /// What of it survives a power cut; only this is told.
    kept: Reached,
    rejected: Vec<Value>,
    position: Position,
    in_flight: usize,
    in_flight_bytes: usize,
}

/// Takes the lines until the body ends, and says what is kept. What was taken of a stream that breaks
/// off stays.
pub(super) async fn take(target: &Target<'_>, body: Body) -> Result<Map<String, Value>, Refusal> {
    let mut stream = Stream {
        target,
        taken: Reached::default(),
        kept: Reached::default(),
        rejected: Vec::new(),
        position: Position(0),
        in_flight: 0,
        in_flight_bytes: 0,
    };
    let read = stream.read(body).await;
    let settled = stream.settle().await;
    let Reached { accepted, line } = stream.kept;
    match read.and(settled.map_err(Refusal::from)) {
        Ok(()) => {
            let rejected = Value::from(stream.rejected);
            let report = [("accepted", accepted.into()), ("rejected", rejected), ("last_line", line.into())];
            Ok(report.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
        }
        Err(refusal) => {
            Err(refusal.with("accepted", accepted).with("rejected", stream.rejected).with("last_line", line))
        }
    }
}

impl Stream<'_> {
    async fn read(&mut self, mut body: Body) -> Result<(), Refusal> {
        let Target { ingest, caller, .. } = self.target;
        let mut splitter = Splitter::new(LINE_LENGTH_MAX);
        loop {
            let frame = tokio::time::timeout(ingest.stream_idle_max, body.frame()).await;
            let Some(frame) = frame.map_err(|_late| silent(ingest.stream_idle_max))? else { break };
            let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
            caller.still_holds(ingest)?;
            let mut chunk: &[u8] = &data;
            while let Some(line) = splitter.next_line(&mut chunk).map_err(too_long)? {
                self.line(&line).await?;
            }
        }
        if let Some(line) = splitter.finish().map_err(too_long)? {
            self.line(&line).await?;
        }
        Ok(())
    }

    async fn line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if !line.trim_ascii().is_empty() {
            self.document(line).await?;
        }
        self.taken.line += 1;
        Ok(())
    }

    async fn document(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let bytes = Bytes::copy_from_slice(line);
        let mut published = self.target.publish(JSON, None, bytes.clone());
        while let Err(Refused::TooFast(wait)) = published {
            // Who is not read from sends no faster.
            self.settle().await?;
            tokio::time::sleep(wait).await;
            published = self.target.publish(JSON, None, bytes.clone());
        }
        match published {
            Ok(position) => {
                self.target.caller.seen(self.target.ingest);
                self.taken.accepted += 1;
                self.position = self.position.max(position);
                self.in_flight += 1;
                self.in_flight_bytes += line.len();
            }
            Err(Refused::Unread(error)) => self.reject(&error.to_string()),
            Err(Refused::Hub(error @ (PublishError::PayloadInvalid(_) | PublishError::QuotaExceeded(_)))) => {
                self.reject(&error.to_string())
            }
            Err(refused) => return Err(refused.into()),
        }
        if self.in_flight >= IN_FLIGHT_MAX || self.in_flight_bytes >= IN_FLIGHT_BYTES_MAX {
            self.settle().await?;
        }
        Ok(())
    }

    fn reject(&mut self, why: &str) {
        if self.rejected.len() < REJECTED_MAX {
            let line = self.taken.line + 1;
            self.rejected.push(json!({ "line": line, "detail": sentence(why) }));
        }
    }

    /// Waits until everything that was taken is durable.
    async fn settle(&mut self) -> Result<(), StorageError> {
        self.target.ingest.hub.durable(self.position).await?;
        self.kept = self.taken;
        self.in_flight = 0;
        self.in_flight_bytes = 0;
        Ok(())
    }
}

fn silent(idle_max: Duration) -> Problem {
    let seconds = idle_max.as_secs();
    Problem::too_slow(format!("Nothing came for {seconds} s: end the body, or send an empty line in time."))
}

fn too_long(error: LineTooLong) -> Problem {
    let detail = format!("A line has at most {} bytes.", error.length_max);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
}
