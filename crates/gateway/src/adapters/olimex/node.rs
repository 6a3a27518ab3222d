//! The connection of one node.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use roost_hub::broker::{
    CloseReason, ConnectError, ConnectOptions, Connected, Leave, Outgoing, Session, Start,
};
use roost_hub::id::{CommandId, DeviceId, TenantId};
use roost_hub::mailbox::{MailboxWatch, Receipt};
use roost_hub::principal::Principal;
use roost_wire::olimex::{self, Event, Identification, Incoming};
use roost_wire::websocket::{Kind, close_code};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};

use super::commands::{Answered, SentCommands, frame};
use super::login::{self, LoggedIn, Refused};
use super::mapping;
use super::nodes::Node;
use crate::adapters::mqtt::Peer;
use crate::admission::Admitted;
use crate::http::socket::{self, Ended, Received, Socket};

/// How long a node has to say who it is.
const LOG_IN_TIMEOUT: Duration = Duration::from_secs(5);
/// How often we ping. The node does so every 19 s by itself.
const PING_EVERY: Duration = Duration::from_secs(20);
/// What it says: the node's pong is cut at a zero byte, so it is text.
const PING: &[u8] = b"roost";
/// A node that was not heard of for so long is gone (at most [`LOOK_EVERY`] later): it missed its ping and our answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How often we look whether something came.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After how long the node is asked for the state of its devices, one after the other.
const STATE_AFTER: Duration = Duration::from_secs(1);
const STATE_EVERY: Duration = Duration::from_millis(500);
/// How many devices of a node are asked.
const STATE_MAX: usize = 32;
/// The `ref` of these questions.
pub(super) const STATE_REF: &str = "get-state";

/// Why a connection is to end: close code (0 when the peer is gone), words, how its session ends.
type Closing = (u16, String, Leave);

/// One node while it is connected.
struct Served {
    server: Admitted,
    socket: Socket,
    session: Session,
    node: Arc<Node>,
    peer: Peer,
    mailbox: MailboxWatch,
    sent: SentCommands,
    /// What is to be sent later, in order.
    later: VecDeque<(Instant, String)>,
    ping_at: Instant,
    look_at: Instant,
    /// When something last came, and how much had come by then.
    heard: (Instant, u64),
}

/// Serves a node until it leaves.
pub(crate) async fn serve(server: Admitted, mut socket: Socket, peer: Peer) {
    let limit = LOG_IN_TIMEOUT.min(server.settings.login_timeout);
    let logged_in = match timeout(limit, login::log_in(&server.hub, &mut socket, peer.address.ip())).await {
        Ok(Ok(logged_in)) => logged_in,
        Ok(Err(Refused::Ended(ended))) => return socket::end(socket, ended).await,
        Ok(Err(Refused::Because(code, reason))) => return socket.close(code, &reason).await,
        Err(_late) => {
            let reason = "Not authorized within timeout interval";
            return socket.close(close_code::POLICY_VIOLATION, reason).await;
        }
    };
    let LoggedIn { principal, identification, kept } = logged_in;
    let Some(device) = principal.device().cloned() else { return };
    let node = Node::new(&principal.tenant, &device, peer.address);
    if !server.olimex.enter(&node, server.timers.now()) {
        let text = format_args!("two nodes take each other's place; the older connection stays");
        mapping::note(&server.hub, &principal, text);
        return socket.close(close_code::POLICY_VIOLATION, "Duplicated token").await;
    }
    let session = match connect(&server, &principal, &device, &peer) {
        Ok(connected) => connected.session,
        Err(error) => {
            server.olimex.leave(&node);
            return socket.close(close_code::TRY_AGAIN_LATER, &error.to_string()).await;
        }
    };
    let mailbox = server.hub.watch_mailbox(&node.tenant, &device);
    let now = Instant::now();
    let mut served = Served {
        server,
        socket,
        session,
        node,
        peer,
        mailbox,
        sent: SentCommands::default(),
        later: VecDeque::new(),
        ping_at: now + PING_EVERY,
        look_at: now + LOOK_EVERY,
        heard: (now, 0),
    };
    let closing = served.run(identification, kept).await;
    served.end(closing).await;
}

/// Under a client id of its own, so that a new connection takes the place of the old one.
fn connect(
    server: &Admitted,
    principal: &Arc<Principal>,
    device: &DeviceId,
    peer: &Peer,
) -> Result<Connected, ConnectError> {
    let options = |client_id| ConnectOptions {
        client_id,
        start: Start::Clean,
        expiry: Duration::ZERO,
        will: None,
        receive_maximum: u16::MAX,
        protocol: &"OLIMEX",
        address: Some(peer.address.to_string().into()),
    };
    match server.hub.connect(principal, options(Some(format!("olimex-{device}")))) {
        // Somebody of the tenant uses that name; the node need not suffer for it.
        Err(ConnectError::ClientIdTaken) => server.hub.connect(principal, options(None)),
        connected => connected,
    }
}

impl Served {
    async fn run(&mut self, identification: Option<Identification>, kept: Vec<Incoming>) -> Closing {
        if let Some(identification) = &identification {
            self.identify(identification);
        }
        for url in ["/config/about", "/devices"] {
            self.ask(url, None);
        }
        for incoming in kept {
            self.take(incoming);
        }
        let mut done = self.send_commands().await;
        while done.is_ok() {
            let due = self.due();
            done = tokio::select! {
                received = self.socket.next() => match received {
                    Ok(received) => self.receive(received).await,
                    Err(ended) => Err(self.ended(ended)),
                },
                () = poll_fn(|context| self.session.poll_ready(context)) => self.session_says(),
                _alive = self.mailbox.changed(), if self.sent.room() > 0 => self.send_commands().await,
                () = self.node.closing.notified() => {
                    Err((close_code::POLICY_VIOLATION, "Connection closed by user".to_owned(), Leave::Lost))
                }
                () = sleep_until(due) => self.look_after(),
            };
            self.session.flush();
        }
        done.err().unwrap_or((0, String::new(), Leave::Lost))
    }

    fn hub(&self) -> &roost_hub::Hub {
        &self.server.hub
    }

    fn place(&self) -> (TenantId, DeviceId) {
        (self.node.tenant.clone(), self.node.device.clone())
    }

    async fn receive(&mut self, received: Received) -> Result<(), Closing> {
        if received.kind == Kind::Binary {
            return Ok(());
        }
        match olimex::read(&received.payload) {
            // Frames come in either order: this one must not contradict what the node was let in by.
            Incoming::LogIn(log_in) => {
                let ip = self.peer.address.ip();
                let account = login::recognise(&self.server.hub, &log_in, ip).await.map_err(refused)?;
                let is_ours = account.tenant == self.node.tenant
                    && account.device().is_none_or(|device| *device == self.node.device);
                if is_ours { Ok(()) } else { Err(refused(Refused::policy("Token not belongs to user"))) }
            }
            Incoming::UnreadLogIn => Err(refused(Refused::policy("Unauthorized user"))),
            Incoming::Identification(identification) => {
                let account = Arc::clone(self.session.principal());
                login::identified(self.hub(), &account, &identification).map_err(refused)?;
                self.identify(&identification);
                Ok(())
            }
            other => {
                self.take(other);
                self.send_commands().await
            }
        }
    }

    /// The node's names go into its twin.
    fn identify(&self, identification: &Identification) {
        self.node.identify(identification);
        let (tenant, device) = self.place();
        let names = json!({ "Name": identification.name, "Token": identification.token });
        if let Err(error) = self.hub().report(&tenant, &device, names, self.hub().now()) {
            mapping::note(self.hub(), self.session.principal(), format_args!("its names: {error}"));
        }
    }

    fn take(&mut self, incoming: Incoming) {
        let hub = Arc::clone(&self.server.hub);
        match incoming {
            Incoming::Event(event) => self.take_event(&event),
            Incoming::Unread(text) => {
                let message = mapping::unread(&self.node.device, &text, hub.now());
                let published = self.session.publish(message, None);
                let why = published.err().map_or_else(String::new, |error| format!(": {error}"));
                let principal = self.session.principal();
                mapping::note(&hub, principal, format_args!("a frame that cannot be read{why}"));
            }
            Incoming::LogIn(_) | Incoming::Identification(_) | Incoming::UnreadLogIn => {}
        }
    }

    fn take_event(&mut self, event: &Event) {
        let hub = Arc::clone(&self.server.hub);
        match self.sent.answered(event) {
            Some(Answered::Finished(id, answer)) => self.finish(&id, &answer),
            Some(Answered::Delivered(id)) => {
                let (tenant, device) = self.place();
                // Should the store fail, the command stays "sent", which is true as well.
                drop(hub.mark_delivered(&tenant, &device, &id));
            }
            None => {}
        }
        mapping::take(&hub, &mut self.session, event);
        self.server.olimex.tell(&self.node, event);
        if event.url() == Some("/devices")
            && let Some(found) = mapping::found_devices(event)
        {
            let first = Instant::now() + STATE_AFTER;
            let times = (0..).map(|index| first + STATE_EVERY * index);
            let questions = found.iter().take(STATE_MAX).filter_map(|url| question(url, Some(STATE_REF)));
            self.later = times.zip(questions).collect();
        }
    }

    fn finish(&self, id: &CommandId, answer: &Value) {
        let (tenant, device) = self.place();
        let payload = answer.to_string();
        let now = self.hub().now();
        // What is wrong with it is in the flight recorder by now.
        drop(self.hub().take_result(&tenant, &device, id.as_str(), payload.as_bytes(), now));
    }

    fn ask(&mut self, url: &str, reference: Option<&str>) {
        if let Some(frame) = question(url, reference) {
            self.socket.send_alone(&frame);
        }
    }

    /// Sends what waits, as far as the node has room for it.
    async fn send_commands(&mut self) -> Result<(), Closing> {
        let hub = Arc::clone(&self.server.hub);
        let (tenant, device) = self.place();
        if self.sent.room() == 0 {
            return Ok(());
        }
        for command in hub.waiting_commands(&tenant, &device, hub.now()) {
            let text = match frame(&command) {
                Ok(text) => text,
                Err(error) => {
                    self.finish(&command.id, &json!({ "ok": false, "error": error }));
                    continue;
                }
            };
            // A store that cannot say "sent" must not let it be sent.
            let marked =
                hub.mark_sent(&tenant, &device, &command.id, Receipt::None).map_err(|_error| stops())?;
            let Some(position) = marked else { continue };
            hub.durable(position).await.map_err(|_broken| stops())?;
            self.socket.send_alone(&text);
            self.sent.push(&command, Instant::now());
            if self.sent.room() == 0 {
                break;
            }
        }
        Ok(())
    }

    fn session_says(&mut self) -> Result<(), Closing> {
        if let Some(reason) = self.session.closing() {
            return Err(closing(reason));
        }
        // It subscribes to nothing; what comes all the same has nowhere to go.
        let mut nothing: Vec<Outgoing> = Vec::new();
        self.session.next_outgoing(&mut nothing, 1);
        Ok(())
    }

    /// When to look after the node again.
    fn due(&self) -> Instant {
        let later = self.later.front().map(|(at, _)| *at);
        [later, self.sent.deadline(), Some(self.look_at)]
            .into_iter()
            .flatten()
            .fold(self.ping_at, Instant::min)
    }

    fn look_after(&mut self) -> Result<(), Closing> {
        let now = Instant::now();
        while let Some((_, frame)) = self.later.pop_front_if(|(at, _)| *at <= now) {
            self.socket.send_alone(&frame);
        }
        while let Some(late) = self.sent.overdue(now) {
            self.doubt(&late.id, "the node did not answer within 10 s");
        }
        self.look_at = now + LOOK_EVERY;
        if self.socket.received > self.heard.1 {
            self.heard = (now, self.socket.received);
        } else if now >= self.heard.0 + SILENCE_MAX {
            return Err((close_code::PROTOCOL_ERROR, "Timeout".to_owned(), Leave::Lost));
        }
        if now >= self.ping_at {
            self.ping_at = now + PING_EVERY;
            if !self.hub().principal_holds(self.session.principal()).unwrap_or(false) {
                return Err(closing(CloseReason::NotAuthorized));
            }
            self.socket.ping(PING);
        }
        Ok(())
    }

    fn doubt(&self, id: &CommandId, why: &str) {
        let (tenant, device) = self.place();
        // Should the store fail, the command stays "sent", which is true as well.
        drop(self.hub().mark_in_doubt(&tenant, &device, id, why));
    }

    fn ended(&self, ended: Ended) -> Closing {
        match ended {
            Ended::Lost => (0, String::new(), Leave::Lost),
            Ended::Closed(code) => (code, self.socket.farewell.clone(), Leave::Normally),
            Ended::Broken(error) => (error.code, error.reason.to_owned(), Leave::Lost),
        }
    }

    /// Notes how it ended, as the system's own server does, and lets go.
    async fn end(mut self, (code, reason, how): Closing) {
        while let Some(sent) = self.sent.pop() {
            self.doubt(&sent.id, "the connection ended before the node answered");
        }
        let shown = if code == 0 { "1006: connection lost".to_owned() } else { format!("{code}: {reason}") };
        let event = Event::note("Connection close", json!({ "Reason": shown }));
        let hub = Arc::clone(&self.server.hub);
        mapping::take(&hub, &mut self.session, &event);
        self.server.olimex.tell(&self.node, &event);
        let Self { server, socket, session, node, .. } = self;
        session.leave(how, None);
        server.olimex.leave(&node);
        if code != 0 {
            socket.close(code, &reason).await;
        }
        drop(server);
    }
}

/// A question to a node; `None` for a URL that no node has.
fn question(url: &str, reference: Option<&str>) -> Option<String> {
    olimex::Command { url, data: None, reference }.encode().ok()
}

fn refused(refused: Refused) -> Closing {
    match refused {
        Refused::Because(code, reason) => (code, reason, Leave::Lost),
        Refused::Ended(_) => (0, String::new(), Leave::Lost),
    }
}

fn stops() -> Closing {
    closing(CloseReason::ShuttingDown)
}

fn closing(reason: CloseReason) -> Closing {
    let (code, words, how) = match reason {
        CloseReason::ShuttingDown => (close_code::GOING_AWAY, "the server stops", Leave::ServerStops),
        CloseReason::QueueFull => (close_code::TRY_AGAIN_LATER, "too slow", Leave::Lost),
        CloseReason::NotAuthorized => (close_code::POLICY_VIOLATION, "Unauthorized user", Leave::Lost),
        CloseReason::TakenOver => (close_code::POLICY_VIOLATION, "Duplicated token", Leave::TakenOver),
        CloseReason::Kicked => (close_code::POLICY_VIOLATION, "Connection closed by user", Leave::Lost),
    };
    (code, words.to_owned(), how)
}
