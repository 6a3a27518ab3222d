//! Everything as it happens, as server-sent events.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{self, HeaderMap};
use roost_hub::access::{self, Action};
use roost_hub::id::DeviceId;
use roost_hub::live::{LiveEvent, LiveKind, LiveName, LiveNext, LiveReceiver};
use roost_hub::message::Message;
use roost_hub::principal::Principal;
use roost_hub::storage::Position;
use serde_json::{Map, Value, json};
use tokio::time::{Interval, MissedTickBehavior};

use crate::auth::Caller;
use crate::commands::Shown;
use crate::params::Params;
use crate::problem::Problem;
use crate::replay::{self, Replay, Step};
use crate::route::{Route, get};
use crate::state::Shared;
use crate::waiting::Place;

/// How often a feed asks whether its credential still holds.
const CHECKED_EVERY: Duration = Duration::from_secs(2);
/// After so many checks without an event a comment is sent, so that nobody between takes the line
/// for dead.
const QUIET_CHECKS_MAX: u32 = 7;
/// The most devices that a feed may name.
const DEVICES_MAX: usize = 1_000;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/live", follow)
            .about("live", "Everything as it happens, as server-sent events named by their kind")
            .query("devices", "string", "Only these devices, divided by commas")
            .query("kinds", "string", "Only these of telemetry, presence, command, twin, event and log")
            .query("since", "string", "First what was recorded since: 30s, 10m, 2h, 7d ago, or a time")
            .query("after", "integer", "First what was recorded behind this position: the id of an event")
            .header("last-event-id", "As `after`; browsers send it when they come back")
            .answers(200, "text/event-stream"),
    ]
}

/// One feed.
struct Feed {
    api: Shared,
    principal: Arc<Principal>,
    receiver: LiveReceiver,
    /// `None` for all that the principal may read.
    devices: Option<HashSet<DeviceId>>,
    /// Empty for all.
    kinds: Vec<LiveName>,
    checks: Interval,
    /// Checks since the last piece.
    quiet_checks: u32,
    /// Begins with a comment, so that the client sees the feed open at once.
    is_open: bool,
    /// Set while it gives what was recorded.
    replay: Option<Replay>,
    /// What is recorded up to here was given.
    given: Position,
    _place: Place,
}

async fn follow(
    State(api): State<Shared>,
    caller: Caller,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, Problem> {
    let named = params.take("devices")?;
    let kinds = params.take("kinds")?;
    let start = replay::start(&mut params, &headers, api.hub.now())?;
    params.finish()?;
    let devices = match (named, caller.principal.device()) {
        (Some(names), _) => Some(read_devices(&api, &caller, &names)?),
        (None, Some(own)) => Some(HashSet::from([own.clone()])),
        (None, None) => {
            caller.may(Action::ReadDevices)?;
            None
        }
    };
    let kinds = kinds.as_deref().map(read_kinds).transpose()?.unwrap_or_default();
    let place = api.waiting.enter(&caller.principal)?;
    let feed = Feed {
        receiver: api.hub.live.follow(caller.tenant()),
        principal: caller.principal,
        devices,
        kinds,
        checks: checks(),
        quiet_checks: 0,
        is_open: false,
        replay: start.map(Replay::new),
        given: Position(0),
        _place: place,
        api,
    };
    let events = futures_util::stream::unfold(feed, |mut feed| async {
        feed.next().await.map(|piece| (Ok::<_, std::convert::Infallible>(piece), feed))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx would hold events back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

fn read_devices(api: &Shared, caller: &Caller, names: &str) -> Result<HashSet<DeviceId>, Problem> {
    let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
    if names.len() > DEVICES_MAX {
        return Err(Problem::invalid(format!(
            "A feed names at most {DEVICES_MAX} devices; leave `devices` out for all."
        )));
    }
    names.into_iter().map(|name| Ok(caller.device(api, name, |id| Action::ReadDevice(id))?.id)).collect()
}

fn read_kinds(names: &str) -> Result<Vec<LiveName>, Problem> {
    let known = names.split(',').filter(|name| !name.is_empty()).map(LiveName::parse).collect::<Option<_>>();
    known.ok_or_else(|| {
        Problem::invalid("`kinds` are telemetry, presence, command, twin, event and log, divided by commas.")
    })
}

fn checks() -> Interval {
    let mut checks = tokio::time::interval(CHECKED_EVERY);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    checks
}

impl Feed {
    /// The next piece of the stream; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.is_open {
            self.is_open = true;
            return Some(Bytes::from_static(b": open\n\n"));
        }
        while let Some(replay) = self.replay.take() {
            if let Some(piece) = self.next_of_replay(replay).await {
                return if self.holds() { Some(piece) } else { None };
            }
        }
        loop {
            let woken = tokio::select! {
                next = self.receiver.next() => Some(next?),
                _ = self.checks.tick() => None,
            };
            let piece = match woken {
                Some(LiveNext::Missed(count)) => Some(written("missed", &json!({ "count": count }))),
                Some(LiveNext::Event(event)) if event.position().is_some_and(|one| one <= self.given) => {
                    continue;
                }
                Some(LiveNext::Event(event)) => match self.piece(&event) {
                    Some(piece) => Some(piece),
                    None => continue,
                },
                None => {
                    self.quiet_checks += 1;
                    (self.quiet_checks > QUIET_CHECKS_MAX).then_some(Bytes::from_static(b": still here\n\n"))
                }
            };
            if !self.holds() {
                return None;
            }
            if let Some(piece) = piece {
                self.quiet_checks = 0;
                return Some(piece);
            }
        }
    }

    /// The next piece of what was recorded, or of other kinds of events meanwhile; `None` when the
    /// replay came a step further or to its end.
    async fn next_of_replay(&mut self, mut replay: Replay) -> Option<Bytes> {
        let piece = loop {
            if let Some(piece) = replay.next_ready() {
                break Some(piece);
            }
            // What is recorded comes from the log until the line is drawn.
            let Some(next) = replay.until.is_none().then(|| self.receiver.next_now()).flatten() else {
                break None;
            };
            match next {
                LiveNext::Missed(count) => break Some(written("missed", &json!({ "count": count }))),
                LiveNext::Event(event) if event.position().is_some() => {}
                LiveNext::Event(event) => {
                    if let Some(piece) = self.piece(&event) {
                        break Some(piece);
                    }
                }
            }
        };
        if piece.is_some() {
            self.replay = Some(replay);
            return piece;
        }
        match replay.step(&self.api, &self.principal.tenant).await {
            Step::Read(messages) => {
                let events =
                    messages.iter().filter_map(|one| LiveEvent::of_recorded(&self.principal.tenant, one));
                let pieces: Vec<Bytes> = events.filter_map(|event| self.piece(&event)).collect();
                replay.add(pieces);
                self.replay = Some(replay);
            }
            Step::Ended(given) => self.given = given,
            Step::Failed => {
                let detail = "the log cannot be read; follow again without since";
                return Some(written("error", &json!({ "detail": detail })));
            }
        }
        None
    }

    /// Whether the credential that opened the feed still holds.
    fn holds(&self) -> bool {
        self.api.hub.principal_holds(&self.principal).unwrap_or(false)
    }

    fn piece(&self, event: &LiveEvent) -> Option<Bytes> {
        let name = event.kind.name();
        let is_wanted = (self.kinds.is_empty() || self.kinds.contains(&name))
            && self.devices.as_ref().is_none_or(|devices| devices.contains(&event.device))
            && access::may(&self.principal, Action::ReadDevice(&event.device)).is_ok();
        is_wanted.then(|| match event.position() {
            Some(Position(id)) => {
                Bytes::from(format!("id: {id}\nevent: {}\ndata: {}\n\n", word(name), data(event)))
            }
            None => written(word(name), &data(event)),
        })
    }
}

fn word(name: LiveName) -> &'static str {
    match name {
        LiveName::Telemetry => "telemetry",
        LiveName::Presence => "presence",
        LiveName::Command => "command",
        LiveName::Twin => "twin",
        LiveName::Event => "event",
        LiveName::Log => "log",
    }
}

pub(crate) fn written(name: &str, data: &Value) -> Bytes {
    // JSON has no line breaks of its own, so one `data` line is enough.
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

fn data(event: &LiveEvent) -> Value {
    let device = &event.device;
    match &event.kind {
        LiveKind::Telemetry(message) => telemetry(event, message),
        LiveKind::Presence { online } => json!({ "device": device, "online": online, "ts": event.at.0 }),
        LiveKind::Command(command) => json!(Shown::from(&**command)),
        LiveKind::Twin { version } => json!({ "device": device, "version": version, "ts": event.at.0 }),
        LiveKind::Event(message) => {
            let topic = message.topic.as_str();
            let name = topic.split_once("/events/").map_or(topic, |(_, name)| name);
            json!({ "device": device, "name": name, "payload": payload(message), "ts": event.at.0 })
        }
        LiveKind::Log(entry) => {
            let mut item = crate::log::shown(entry);
            if let Some(members) = item.as_object_mut() {
                members.insert("device".to_owned(), json!(device));
            }
            item
        }
    }
}

/// A payload as JSON when it is some, else as text, else in hexadecimal digits.
pub(crate) fn payload(message: &Message) -> Value {
    match std::str::from_utf8(&message.payload) {
        Ok(text) => serde_json::from_str(text).unwrap_or_else(|_no_json| text.into()),
        Err(_binary) => json!({ "hex": hex::encode(&message.payload) }),
    }
}

/// Readings of one time are one `values`; those of other times follow in `more`.
fn telemetry(event: &LiveEvent, message: &Message) -> Value {
    let readings = message.telemetry.as_deref().map(|telemetry| &*telemetry.readings).unwrap_or_default();
    let mut groups: Vec<(i64, Map<String, Value>)> = Vec::new();
    for reading in readings {
        let value = json!(reading.value);
        match groups.iter_mut().find(|(ts, _)| *ts == reading.ts.0) {
            Some((_, values)) => drop(values.insert(reading.key.as_ref().to_owned(), value)),
            None => groups.push((reading.ts.0, Map::from_iter([(reading.key.as_ref().to_owned(), value)]))),
        }
    }
    let last = groups.pop();
    let (ts, values) = last.unwrap_or_else(|| (event.at.0, Map::new()));
    let mut data = json!({ "device": event.device, "ts": ts, "values": values });
    if let Some(members) = data.as_object_mut().filter(|_| !groups.is_empty()) {
        let more: Vec<Value> =
            groups.into_iter().map(|(ts, values)| json!({ "ts": ts, "values": values })).collect();
        members.insert("earlier".to_owned(), more.into());
    }
    data
}
