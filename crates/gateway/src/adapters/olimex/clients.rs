//! Pages that were made for the system's own server: they see every event of the tenant's nodes, the
//! last of each resource first, and send commands.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use roost_hub::Hub;
use roost_hub::access::{self, Action};
use roost_hub::broker::{CloseReason, ConnectOptions, Leave, Outgoing, Session, Start};
use roost_hub::mailbox::NewCommand;
use roost_hub::principal::Principal;
use roost_wire::websocket::{Kind, close_code};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Instant, sleep_until};

use super::nodes::{Node, Nodes, PageEvent};
use crate::adapters::mqtt::Peer;
use crate::admission::Admitted;
use crate::http::socket::{Ended, Received, Socket};

/// How often we ping, and look whether the credential still holds.
const PING_EVERY: Duration = Duration::from_secs(20);
/// When the first of the last events is sent again, and the others behind it.
const STATE_AFTER: Duration = Duration::from_millis(100);
const STATE_EVERY: Duration = Duration::from_millis(50);
/// How long a page's command may wait for its node.
const COMMAND_EXPIRY: Duration = Duration::from_secs(30);

struct Page {
    server: Admitted,
    socket: Socket,
    session: Session,
    events: Receiver<PageEvent>,
    /// Last events that are still to be sent.
    state: VecDeque<(Instant, Arc<str>)>,
    ping_at: Instant,
}

/// Why a page's connection ends: close code (0 when it is gone) and words.
type Closing = (u16, &'static str);

/// Serves a page until it leaves.
pub(crate) async fn serve(server: Admitted, socket: Socket, principal: Arc<Principal>, peer: Peer) {
    let options = ConnectOptions {
        client_id: None,
        start: Start::Clean,
        expiry: Duration::ZERO,
        will: None,
        receive_maximum: u16::MAX,
        protocol: &"OLIMEX page",
        address: Some(peer.address.to_string().into()),
    };
    let session = match server.hub.connect(&principal, options) {
        Ok(connected) => connected.session,
        Err(error) => return socket.close(close_code::TRY_AGAIN_LATER, &error.to_string()).await,
    };
    let now = Instant::now();
    let events = server.olimex.follow();
    let last = server.olimex.of(&principal.tenant).into_iter().flat_map(|node| node.state());
    let times = (0..).map(|index| now + STATE_AFTER + STATE_EVERY * index);
    let state = times.zip(last).collect();
    let mut page = Page { server, socket, session, events, state, ping_at: now + PING_EVERY };
    let (code, reason) = page.run().await;
    let Page { session, socket, server, .. } = page;
    session.leave(Leave::Normally, None);
    if code != 0 {
        socket.close(code, reason).await;
    }
    drop(server);
}

impl Page {
    async fn run(&mut self) -> Closing {
        loop {
            let due = self.state.front().map_or(self.ping_at, |(at, _)| (*at).min(self.ping_at));
            let has_room = self.socket.has_room();
            let done = tokio::select! {
                received = self.socket.next() => match received {
                    Ok(received) => {
                        self.take(&received).await;
                        Ok(())
                    }
                    Err(Ended::Lost) => Err((0, "")),
                    Err(Ended::Closed(code)) => Err((code, "")),
                    Err(Ended::Broken(error)) => Err((error.code, error.reason)),
                },
                event = self.events.recv(), if has_room => self.pass_on(event),
                () = poll_fn(|context| self.session.poll_ready(context)) => self.session_says(),
                () = sleep_until(due) => self.look_after(),
            };
            if let Err(closing) = done {
                return closing;
            }
        }
    }

    fn pass_on(&mut self, event: Result<PageEvent, RecvError>) -> Result<(), Closing> {
        match event {
            Ok(event) if event.tenant == self.session.principal().tenant => {
                self.socket.send(Kind::Text, event.text.as_bytes());
                Ok(())
            }
            // Another tenant's, or so many at once that some are gone: the next ones count.
            Ok(_) | Err(RecvError::Lagged(_)) => Ok(()),
            Err(RecvError::Closed) => Err((close_code::GOING_AWAY, "the server stops")),
        }
    }

    fn session_says(&mut self) -> Result<(), Closing> {
        match self.session.closing() {
            Some(CloseReason::NotAuthorized) => {
                Err((close_code::POLICY_VIOLATION, "Unauthorized client connection"))
            }
            Some(_) => Err((close_code::GOING_AWAY, "the server stops")),
            None => {
                // It subscribes to nothing; what comes all the same has nowhere to go.
                let mut nothing: Vec<Outgoing> = Vec::new();
                self.session.next_outgoing(&mut nothing, 1);
                Ok(())
            }
        }
    }

    fn look_after(&mut self) -> Result<(), Closing> {
        let now = Instant::now();
        while let Some((_, text)) = self.state.pop_front_if(|(at, _)| *at <= now) {
            self.socket.send(Kind::Text, text.as_bytes());
        }
        if now < self.ping_at {
            return Ok(());
        }
        self.ping_at = now + PING_EVERY;
        if !self.server.hub.principal_holds(self.session.principal()).unwrap_or(false) {
            return Err((close_code::POLICY_VIOLATION, "Unauthorized client connection"));
        }
        self.socket.look_after()
    }

    /// `{"EventNode":{"Token":…},"EventData":{"URL","Method","Data"}}`; what cannot be done comes back as
    /// an event of the device `IoT-Server`.
    async fn take(&mut self, received: &Received) {
        let Ok(said) = serde_json::from_slice::<Value>(&received.payload) else { return };
        let name = said.pointer("/EventNode/Token").and_then(Value::as_str).unwrap_or_default();
        let principal = Arc::clone(self.session.principal());
        let done = match (find(&self.server.olimex, &principal, name), said.get("EventData")) {
            (Some(node), Some(Value::Object(data))) => tell(&self.server.hub, &principal, &node, data).await,
            (None, _) => {
                Err(format!("Node is not connected [{}]", name.chars().take(64).collect::<String>()))
            }
            (Some(_), _) => Err("Invalid request".to_owned()),
        };
        if let Err(error) = done {
            let event = json!({ "EventURL": null, "EventData": { "Device": "IoT-Server", "Error": error } });
            self.socket.send(Kind::Text, event.to_string().as_bytes());
        }
    }
}

fn find(nodes: &Nodes, principal: &Principal, name: &str) -> Option<Arc<Node>> {
    nodes.of(&principal.tenant).into_iter().find(|node| node.is_called(name))
}

/// Sends a node a command as pages and scripts write it, by way of the device's mailbox.
pub(super) async fn tell(
    hub: &Hub,
    principal: &Principal,
    node: &Node,
    data: &Map<String, Value>,
) -> Result<(), String> {
    access::may(principal, Action::SendCommands).map_err(|denied| denied.to_string())?;
    if data.get("Command").is_some_and(|command| command == "Close connection") {
        node.closing.notify_one();
        return Ok(());
    }
    let url = data.get("URL").and_then(Value::as_str).ok_or("Invalid request")?;
    if url.starts_with("/config") {
        // These show and set passwords.
        access::may(principal, Action::WriteDevices).map_err(|denied| denied.to_string())?;
    }
    let is_post = data.get("Method").is_some_and(|method| method == "POST");
    let params = data.get("Data").filter(|_| is_post).cloned().unwrap_or_else(|| json!({}));
    let new = NewCommand {
        name: url.to_owned(),
        params,
        expires_in: Some(COMMAND_EXPIRY),
        ..NewCommand::default()
    };
    let sent = hub.send_command(&node.tenant, &node.device, new).await;
    sent.map(drop).map_err(|error| error.to_string())
}
