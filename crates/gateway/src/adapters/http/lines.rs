//! A stream of readings, one JSON document a line, each taken as it comes.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use http_body_util::BodyExt;
use roost_hub::broker::{PublishError, Published};
use roost_hub::message::Message;
use roost_hub::storage::{Position, StorageError};
use roost_wire::lines::{LineTooLong, Splitter};
use roost_wire::telemetry::Format;
use serde_json::{Map, Value, json};

use super::body::broken;
use super::named::Named;
use super::refusal::{Refusal, sentence};
use super::telemetry::{Refused, Target};
use super::told::Teller;
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
/// How many lines that came together are published together.
const RUN_MAX: usize = 256;

/// How every line is written.
pub(super) const JSON: Said = Said::Format(Format::Json);

/// How a body is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Divided {
    /// One document a line.
    Lines,
    /// Into documents that may have several lines; one alone is answered like a whole body.
    Documents,
}

/// What a stream is, beside its body.
pub(super) struct Manner {
    pub(super) divided: Divided,
    /// The name under which it can be sent again.
    pub(super) named: Option<Named>,
    /// Who hears meanwhile how far it came.
    pub(super) teller: Option<Teller>,
}

/// How far the stream has come.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    accepted: u64,
    /// The number of the last line that was looked at, from 1.
    line: u64,
}

/// A line that was read and does not count yet.
struct Line {
    /// As it came, without its end.
    bytes: Bytes,
    found: Found,
}

/// What a line is.
enum Found {
    Nothing,
    /// The next one of the messages that wait with it.
    Readings,
    Refused(Refused),
}

/// One stream while it is read.
struct Stream<'a> {
    target: &'a Target<'a>,
    manner: Manner,
    /// What was read and is published together: what came in one piece, at most.
    run: Vec<Line>,
    messages: Vec<Message>,
    taken: Reached,
    /// What of it survives a power cut; only this is told.
    kept: Reached,
    documents: u64,
    rejected: Vec<Value>,
    /// Why the first document was refused that was.
    refused: Option<Refused>,
    position: Position,
    in_flight: usize,
    in_flight_bytes: usize,
}

/// Takes the lines until the body ends, and says what is kept: nothing more where a whole body is
/// answered so. What was taken of a stream that breaks off stays.
pub(super) async fn take(
    target: &Target<'_>,
    manner: Manner,
    body: Body,
) -> Result<Option<Map<String, Value>>, Refusal> {
    let mut stream = Stream {
        target,
        manner,
        run: Vec::new(),
        messages: Vec::new(),
        taken: Reached::default(),
        kept: Reached::default(),
        documents: 0,
        rejected: Vec::new(),
        refused: None,
        position: Position(0),
        in_flight: 0,
        in_flight_bytes: 0,
    };
    let read = stream.read(body).await;
    // What came before the fault that ended it stays.
    let read = match (read, stream.publish().await) {
        (Ok(()), published) => published,
        (broken, _) => broken,
    };
    let settled = stream.settle().await;
    stream.report(read.and(settled.map_err(Refusal::from)))
}

impl Stream<'_> {
    fn report(mut self, ended: Result<(), Refusal>) -> Result<Option<Map<String, Value>>, Refusal> {
        let named = self.manner.named.as_ref();
        let before = named.map(|named| named.stream.before().clone()).unwrap_or_default();
        let accepted = before.accepted + self.kept.accepted;
        let line = before.line.max(self.kept.line);
        if self.manner.divided == Divided::Documents && self.documents <= 1 && ended.is_ok() {
            return match self.refused.take() {
                Some(refused) => Err(refused.into()),
                None => Ok(None),
            };
        }
        let rejected = Value::from(self.rejected);
        match ended {
            Ok(()) => {
                let report =
                    [("accepted", accepted.into()), ("rejected", rejected), ("last_line", line.into())];
                Ok(Some(report.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()))
            }
            Err(refusal) => {
                Err(refusal.with("accepted", accepted).with("rejected", rejected).with("last_line", line))
            }
        }
    }

    async fn read(&mut self, mut body: Body) -> Result<(), Refusal> {
        let Target { ingest, caller, .. } = self.target;
        let (mut splitter, is_whole) = match self.manner.divided {
            Divided::Lines => (Splitter::new(LINE_LENGTH_MAX), false),
            Divided::Documents => (Splitter::of_documents(ingest.body_length_max), true),
        };
        let mut registry_seen = None;
        loop {
            let frame = match body.frame().now_or_never() {
                Some(frame) => frame,
                None => {
                    if self.is_watched() {
                        // Nothing more is there: a good moment to say how far it came.
                        self.settle().await?;
                    }
                    self.frame(&mut body).await?
                }
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
            caller.holds_with_each_piece(ingest, &mut registry_seen)?;
            let mut chunk: &[u8] = &data;
            while let Some(line) = splitter.next_line(&mut chunk).map_err(too_long)? {
                self.line(&line).await?;
            }
            self.publish().await?;
        }
        if let Some(line) = splitter.finish().map_err(too_long)? {
            self.line(&line).await?;
        }
        if is_whole && self.documents == 0 {
            // An empty body is refused as one that is read whole is.
            let found = self.document(&Bytes::new()).await?;
            self.run.push(Line { bytes: Bytes::new(), found });
        }
        self.publish().await
    }

    /// Whether somebody hears how far it came before it ends.
    fn is_watched(&self) -> bool {
        self.manner.teller.is_some() || self.manner.named.is_some()
    }

    async fn frame(
        &mut self,
        body: &mut Body,
    ) -> Result<Option<Result<http_body::Frame<Bytes>, axum::Error>>, Refusal> {
        let idle_max = self.target.ingest.stream_idle_max;
        let taken_over = async {
            match &mut self.manner.named {
                Some(named) => named.taken_over().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            frame = body.frame() => Ok(frame),
            () = tokio::time::sleep(idle_max) => Err(silent(idle_max).into()),
            () = taken_over => Err(taken_over_by_another().into()),
        }
    }

    async fn line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if let Some(named) = &mut self.manner.named
            && named.stream.was_taken(line).map_err(|_other| other_stream())?
        {
            self.taken.line += 1;
            return Ok(());
        }
        let bytes = Bytes::copy_from_slice(line);
        let found = if line.trim_ascii().is_empty() { Found::Nothing } else { self.document(&bytes).await? };
        self.run.push(Line { bytes, found });
        if self.run.len() >= RUN_MAX { self.publish().await } else { Ok(()) }
    }

    async fn document(&mut self, bytes: &Bytes) -> Result<Found, Refusal> {
        self.documents += 1;
        loop {
            match self.target.message(JSON, None, bytes.clone()) {
                Ok(message) => {
                    self.messages.push(message);
                    return Ok(Found::Readings);
                }
                Err(Refused::TooFast(wait)) => {
                    // Who is not read from sends no faster.
                    self.publish().await?;
                    self.settle().await?;
                    tokio::time::sleep(wait).await;
                }
                Err(refused) => return Ok(Found::Refused(refused)),
            }
        }
    }

    /// Publishes what was read; each line counts from then on, except behind one that ends the stream.
    async fn publish(&mut self) -> Result<(), Refusal> {
        if self.run.is_empty() {
            return Ok(());
        }
        let Target { ingest, caller, .. } = self.target;
        let mut each = ingest.hub.publish_run(&caller.0, std::mem::take(&mut self.messages)).into_iter();
        for Line { bytes, found } in std::mem::take(&mut self.run) {
            match found {
                Found::Nothing => {}
                Found::Refused(refused) => self.reject(refused)?,
                Found::Readings => match each.next() {
                    Some(Ok(published)) => self.accept(published, bytes.len()),
                    Some(Err(error)) => self.reject(Refused::Hub(error))?,
                    None => {}
                },
            }
            if let Some(named) = &mut self.manner.named {
                named.stream.take(&bytes);
            }
            // A document may have several.
            let within = bytes.iter().filter(|byte| **byte == b'\n').count();
            self.taken.line += 1 + u64::try_from(within).unwrap_or(u64::MAX);
        }
        if self.in_flight >= IN_FLIGHT_MAX || self.in_flight_bytes >= IN_FLIGHT_BYTES_MAX {
            self.settle().await?;
        }
        Ok(())
    }

    fn accept(&mut self, published: Published, length: usize) {
        self.target.caller.seen(self.target.ingest);
        self.taken.accepted += 1;
        self.position = self.position.max(published.position.unwrap_or_default());
        self.in_flight += 1;
        self.in_flight_bytes += length;
    }

    /// Notes a document that cannot be taken; other refusals end the stream.
    fn reject(&mut self, refused: Refused) -> Result<(), Refusal> {
        let why = match &refused {
            Refused::Unread(error) => error.to_string(),
            Refused::Hub(error @ (PublishError::PayloadInvalid(_) | PublishError::QuotaExceeded(_))) => {
                error.to_string()
            }
            Refused::Hub(_) | Refused::TooFast(_) => return Err(refused.into()),
        };
        if self.rejected.len() < REJECTED_MAX {
            let line = self.taken.line + 1;
            self.rejected.push(json!({ "line": line, "detail": sentence(&why) }));
        }
        self.refused.get_or_insert(refused);
        Ok(())
    }

    /// Waits until everything that was taken is durable, and tells who wants to hear.
    async fn settle(&mut self) -> Result<(), StorageError> {
        if self.taken.line == self.kept.line && self.in_flight == 0 {
            return Ok(());
        }
        let hub = &self.target.ingest.hub;
        let mut before = Reached::default();
        if let Some(named) = &self.manner.named {
            let stream = &named.stream;
            before = Reached { accepted: stream.before().accepted, line: stream.before().line };
            if self.taken.line > before.line {
                let kept = hub.keep_progress(stream, before.accepted + self.taken.accepted)?;
                self.position = self.position.max(kept);
            }
        }
        hub.durable(self.position).await?;
        self.kept = self.taken;
        self.in_flight = 0;
        self.in_flight_bytes = 0;
        if let Some(teller) = &self.manner.teller {
            let accepted = before.accepted + self.kept.accepted;
            teller.tell(&json!({ "accepted": accepted, "last_line": before.line.max(self.kept.line) })).await;
        }
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

fn taken_over_by_another() -> Problem {
    let detail = "Another request with this Idempotency-Key goes on with the stream.";
    Problem::new(StatusCode::CONFLICT, "conflict", "In conflict with what is there", detail)
}

fn other_stream() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-key-reused",
        "The key was used before",
        "This Idempotency-Key came with another stream before; use a new key for a new stream.",
    )
}
