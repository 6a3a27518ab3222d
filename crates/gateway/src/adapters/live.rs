//! JSON over WebSocket: `{"subscribe":FILTER}`, `{"unsubscribe":FILTER}`, `{"publish":{…}}`, each
//! with an `"id"` if an `{"ack":ID}` is wanted; back come `{"topic","payload","ts"}`, with the
//! `"position"` of what is recorded, and `{"error":{…},"id"}`. A subscription may begin in the past,
//! with `"since"` a time or `"after"` a position.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use roost_hub::broker::{
    CloseReason, ConnectOptions, Delivery, Leave, Outgoing, Received as PubRec, ReplayStart, RetainHandling,
    Session, Start, SubscribeRequest, SubscriptionFlags, SubscriptionOptions,
};
use roost_hub::limit::Limit;
use roost_hub::message::{Message, QoS};
use roost_hub::principal::Principal;
use roost_hub::storage::{Position, StorageError};
use roost_hub::time::Timestamp;
use roost_hub::topic::Subscribed;
use roost_wire::telemetry::parse_since;
use roost_wire::websocket::{Kind, close_code};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::decoders::Source;
use super::dialect;
use super::mqtt::Peer;
use super::said::{self, SaidPublish};
use crate::admission::Admitted;
use crate::http::credentials::by_token;
use crate::http::socket::{self, Ended, Received, Socket};
use crate::problem::Problem;
use crate::shared::Shared;

/// Mistakes before we hang up (W-21).
const ERRORS_MAX: u32 = 10;
/// Messages taken from the session at once.
const BATCH_LENGTH_MAX: usize = 64;
/// Acknowledgements that may wait for the log before nothing more is read.
const ACKS_MAX: usize = 1_000;

/// A frame as it comes. The id is given back as it was.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame {
    #[serde(default)]
    id: Option<Box<RawValue>>,
    #[serde(default)]
    subscribe: Option<String>,
    #[serde(default)]
    since: Option<Since>,
    #[serde(default)]
    after: Option<u64>,
    #[serde(default)]
    unsubscribe: Option<String>,
    #[serde(default)]
    publish: Option<SaidPublish>,
    #[serde(default)]
    token: Option<String>,
}

/// How long ago, or when.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Since {
    Number(u64),
    Text(String),
}

impl Frame {
    /// Where a subscription begins, when that is in the past.
    fn start(&self, now: Timestamp) -> Result<Option<ReplayStart>, Problem> {
        let text = match (&self.since, self.after) {
            _ if self.subscribe.is_none() && (self.since.is_some() || self.after.is_some()) => {
                return Err(Problem::unreadable("`since` and `after` go with `subscribe`."));
            }
            (None, after) => return Ok(after.map(|after| ReplayStart::After(Position(after)))),
            (Some(_), Some(_)) => {
                return Err(Problem::unreadable("Say either `since` or `after`, not both."));
            }
            (Some(Since::Number(number)), None) => number.to_string(),
            (Some(Since::Text(text)), None) => text.clone(),
        };
        let since = parse_since(&text, now.0).ok_or_else(|| {
            Problem::invalid("`since`: write how long ago, as 30s, 10m, 2h or 7d, or a time.")
        })?;
        Ok(Some(ReplayStart::Since(Timestamp(since))))
    }
}

/// One client.
struct Live {
    server: Admitted,
    socket: Box<Socket>,
    session: Session,
    acks: VecDeque<(Position, Box<RawValue>)>,
    errors: u32,
    outgoing: Vec<Outgoing>,
}

/// Why a client is to be closed: code, words, and how its session ends.
type Closing = (u16, &'static str, Leave);

/// Serves a client until it leaves. Who is not known yet says so in the first frame.
///
/// What is over, or comes only once, is in boxes: the future is held as long as the connection.
pub(crate) async fn serve(
    server: Admitted,
    socket: Box<Socket>,
    principal: Option<Arc<Principal>>,
    peer: Peer,
) {
    let Some(mut live) = Box::pin(enter(server, socket, principal, peer)).await else { return };
    let (code, reason, how) = live.run().await;
    let Live { session, socket, server, .. } = live;
    session.leave(how, None);
    if code != 0 {
        Box::pin(socket.close(code, reason)).await;
    }
    drop(server);
}

/// Lets a client in; `None` when that was not to be.
async fn enter(
    server: Admitted,
    mut socket: Box<Socket>,
    principal: Option<Arc<Principal>>,
    peer: Peer,
) -> Option<Live> {
    let principal = match principal {
        Some(principal) => principal,
        None => match timeout(server.settings.login_timeout, log_in(&server, &mut socket, &peer)).await {
            Ok(Ok(principal)) => principal,
            Ok(Err(Some(ended))) => {
                socket::end(*socket, ended).await;
                return None;
            }
            refused @ (Ok(Err(None)) | Err(_)) => {
                if refused.is_err() {
                    server.hub.refusals.count(Limit::LoginTimeout);
                }
                socket.close(close_code::POLICY_VIOLATION, "who are you? send {\"token\":…}").await;
                return None;
            }
        },
    };
    let options = ConnectOptions {
        client_id: None,
        start: Start::Clean,
        expiry: Duration::ZERO,
        will: None,
        receive_maximum: u16::MAX,
        protocol: &"WebSocket",
        address: Some(peer.address.to_string().into()),
    };
    match server.hub.connect(&principal, options) {
        Ok(connected) => {
            let (session, acks) = (connected.session, VecDeque::new());
            Some(Live { server, socket, session, acks, errors: 0, outgoing: Vec::new() })
        }
        Err(error) => {
            socket.close(close_code::TRY_AGAIN_LATER, &error.to_string()).await;
            None
        }
    }
}

/// Waits for `{"token":…}`; nothing else counts before.
async fn log_in(
    server: &Admitted,
    socket: &mut Socket,
    peer: &Peer,
) -> Result<Arc<Principal>, Option<Ended>> {
    let received = socket.next().await.map_err(Some)?;
    let frame: Frame = serde_json::from_slice(&received.payload).map_err(|_no_frame| None)?;
    let token = frame.token.ok_or(None)?;
    let principal = by_token(&server.hub, &token, peer.address.ip()).await.map_err(|_denied| None)?;
    if let Some(id) = frame.id {
        socket.send(Kind::Text, ack(&id).as_bytes());
    }
    Ok(principal)
}

fn ack(id: &RawValue) -> String {
    format!("{{\"ack\":{id}}}")
}

impl Live {
    /// Ends with a close code, or 0 when the peer is gone.
    async fn run(&mut self) -> Closing {
        // With each ping we look whether the credential still holds, too.
        let every = self.server.settings.live_ping_every;
        let mut pings = interval_at(Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let durable = self.server.hub.durable(self.acks.front().map_or(Position(0), |(first, _)| *first));
            let has_room = self.socket.has_room();
            let done = tokio::select! {
                received = self.socket.next(), if self.acks.len() < ACKS_MAX => match received {
                    Ok(received) => self.take(&received),
                    Err(Ended::Lost) => Err((0, "", Leave::Lost)),
                    Err(Ended::Closed(code)) => Err((code, "", Leave::Normally)),
                    Err(Ended::Broken(error)) => Err((error.code, error.reason, Leave::Lost)),
                },
                () = poll_fn(|context| self.session.poll_ready(context)), if has_room => self.deliver().await,
                durable = durable, if !self.acks.is_empty() => self.acknowledge(&durable),
                _ = pings.tick() => self.look_after(),
            };
            self.session.flush();
            if let Err(closing) = done {
                return closing;
            }
        }
    }

    fn take(&mut self, received: &Received) -> Result<(), Closing> {
        let mut id = None;
        let done = match received.kind {
            Kind::Binary => Err(Problem::unreadable("Send text frames with JSON.")),
            Kind::Text => match serde_json::from_slice::<Frame>(&received.payload) {
                Ok(mut frame) => {
                    id = frame.id.take();
                    self.handle(&frame)
                }
                Err(error) => {
                    id = id_of(&received.payload);
                    Err(Problem::unreadable(format!("This is no frame: {error}")))
                }
            },
        };
        match (done, id) {
            (Ok(position), Some(id)) => self.acks.push_back((position, id)),
            (Ok(_), None) => {}
            (Err(problem), id) => {
                let id = id.and_then(|id| serde_json::from_str::<Value>(id.get()).ok());
                let text = json!({ "error": problem.document(), "id": id }).to_string();
                self.socket.send(Kind::Text, text.as_bytes());
                self.errors += 1;
                if self.errors >= ERRORS_MAX {
                    return Err((close_code::POLICY_VIOLATION, "too many mistakes", Leave::Lost));
                }
            }
        }
        Ok(())
    }

    /// Does what a frame asks; gives the position at which it is durable.
    fn handle(&mut self, frame: &Frame) -> Result<Position, Problem> {
        self.session.heard(self.server.hub.now());
        let asked = [
            frame.subscribe.is_some(),
            frame.unsubscribe.is_some(),
            frame.publish.is_some(),
            frame.token.is_some(),
        ];
        if asked.into_iter().filter(|asked| *asked).count() != 1 {
            return Err(Problem::unreadable("A frame has one of subscribe, unsubscribe and publish."));
        }
        let start = frame.start(self.server.hub.now())?;
        if let Some(filter) = &frame.subscribe {
            return self.subscribe(filter, start);
        }
        if let Some(filter) = &frame.unsubscribe {
            let (subscribed, _) = self.subscribed(filter)?;
            let unsubscribing = self.session.unsubscribe(&[subscribed])?;
            return Ok(unsubscribing.position.unwrap_or_default());
        }
        if let Some(said) = &frame.publish {
            let Shared { hub, decoders, .. } = &**self.server;
            let message = said.message(Source { hub, decoders, principal: self.session.principal() })?;
            said::take_turn(&self.server.hub, self.session.principal(), &message)?;
            // What comes over one connection comes once, so QoS 2 asks for no more than QoS 1 here.
            return Ok(self.session.publish(message, None)?.position.unwrap_or_default());
        }
        Ok(Position(0))
    }

    fn subscribed(&self, filter: &str) -> Result<(Subscribed, bool), Problem> {
        let full = self
            .session
            .principal()
            .full_name(filter)
            .map_err(|error| Problem::forbidden(error.to_string()))?;
        let bounded = self.server.hub.check_topic_bounds(&full).and_then(|()| Subscribed::parse(&full));
        let subscribed = bounded.map_err(|error| Problem::invalid(error.to_string()))?;
        Ok((subscribed, matches!(full, std::borrow::Cow::Owned(_))))
    }

    fn subscribe(&mut self, filter: &str, start: Option<ReplayStart>) -> Result<Position, Problem> {
        let (subscribed, is_own_name) = self.subscribed(filter)?;
        let flags = SubscriptionFlags::default().with(SubscriptionFlags::OWN_NAME, is_own_name.into());
        let options = SubscriptionOptions { qos: QoS::AtMostOnce, flags, identifier: 0 };
        // Who goes on where it was has seen what is retained.
        let retain_handling = match start {
            Some(ReplayStart::After(_)) => RetainHandling::DoNotSend,
            Some(ReplayStart::Since(_)) | None => RetainHandling::Send,
        };
        let requests = [SubscribeRequest { subscribed, options, retain_handling }];
        let subscribing = match start {
            Some(start) => self.session.subscribe_from(&requests, start),
            None => self.session.subscribe(&requests),
        };
        for granted in subscribing.granted {
            granted?;
        }
        if dialect::is_spoken(self.session.principal()) {
            let filters = requests.iter().map(|request| &request.subscribed.filter);
            self.server.dialects.listens(&self.server.hub, self.session.principal(), filters);
        }
        Ok(subscribing.position.unwrap_or_default())
    }

    async fn deliver(&mut self) -> Result<(), Closing> {
        if let Some(reason) = self.session.closing() {
            return Err(closing(reason));
        }
        let mut outgoing = std::mem::take(&mut self.outgoing);
        self.session.next_outgoing(&mut outgoing, BATCH_LENGTH_MAX);
        for next in outgoing.drain(..) {
            let Outgoing::Publish(delivery) = next else { continue };
            if self.server.hub.durable(delivery.not_before).await.is_err() {
                return Err((close_code::GOING_AWAY, "the server stops", Leave::Lost));
            }
            self.send(&delivery);
            self.settle(&delivery);
        }
        self.outgoing = outgoing;
        Ok(())
    }

    fn send(&mut self, delivery: &Delivery) {
        let message = &delivery.message;
        let topic = message.topic.as_str();
        let own_name = if delivery.own_name { self.session.principal().own_name(topic) } else { None };
        let topic = json!(own_name.as_deref().unwrap_or(topic));
        // A retained message is an old one: who goes on behind it would get all since then.
        let position = message.logged.get().filter(|_| !delivery.retain);
        let position = position.map(|position| format!(",\"position\":{}", position.0)).unwrap_or_default();
        let (payload, ts) = (payload(message), message.time.0);
        let text = format!("{{\"topic\":{topic},\"payload\":{payload},\"ts\":{ts}{position}}}");
        self.socket.send(Kind::Text, text.as_bytes());
    }

    /// A command comes with QoS 1 whatever was asked; a WebSocket has no word to acknowledge it.
    fn settle(&mut self, delivery: &Delivery) {
        let Some(id) = delivery.packet_id else { return };
        match delivery.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => drop(self.session.acknowledge(id)),
            QoS::ExactlyOnce => {
                if matches!(self.session.received(id), Ok(PubRec::Release(_))) {
                    self.session.complete(id);
                }
            }
        }
    }

    fn acknowledge(&mut self, durable: &Result<(), StorageError>) -> Result<(), Closing> {
        if durable.is_err() {
            return Err((close_code::GOING_AWAY, "the server stops", Leave::Lost));
        }
        let until = self.server.durable.position();
        while let Some((_, id)) = self.acks.pop_front_if(|(position, _)| *position <= until) {
            self.socket.send(Kind::Text, ack(&id).as_bytes());
        }
        Ok(())
    }

    /// W-16, W-18, W-19: a peer that is gone, stuck, or no longer let in.
    fn look_after(&mut self) -> Result<(), Closing> {
        if !self.server.hub.principal_holds(self.session.principal()).unwrap_or(false) {
            return Err(closing(CloseReason::NotAuthorized));
        }
        self.socket.look_after().map_err(|(code, reason)| (code, reason, Leave::Lost))
    }
}

/// The payload as JSON when it is some, else as text, else in base64 under a name of its own.
fn payload(message: &Message) -> String {
    use base64::Engine;
    match std::str::from_utf8(&message.payload) {
        Ok(text) => match serde_json::from_str::<&RawValue>(text) {
            Ok(json) => json.get().to_owned(),
            Err(_no_json) => json!(text).to_string(),
        },
        Err(_binary) => {
            let text = base64::engine::general_purpose::STANDARD.encode(&message.payload);
            json!({ "base64": text }).to_string()
        }
    }
}

/// The id of a frame that is wrong in other ways.
fn id_of(payload: &[u8]) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: Option<Box<RawValue>>,
    }
    serde_json::from_slice::<OnlyId>(payload).ok().and_then(|frame| frame.id)
}

fn closing(reason: CloseReason) -> Closing {
    match reason {
        CloseReason::ShuttingDown => (close_code::GOING_AWAY, "the server stops", Leave::ServerStops),
        CloseReason::QueueFull => (close_code::TRY_AGAIN_LATER, "too slow", Leave::Lost),
        CloseReason::NotAuthorized => {
            (close_code::POLICY_VIOLATION, "the credential holds no longer", Leave::Lost)
        }
        CloseReason::TakenOver => (close_code::POLICY_VIOLATION, "taken over", Leave::TakenOver),
        CloseReason::Kicked => (close_code::POLICY_VIOLATION, "closed by hand", Leave::Lost),
    }
}
