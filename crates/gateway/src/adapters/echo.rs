//! A WebSocket that sends every message back: for makers of devices to try their stack.

use std::sync::Arc;

use roost_hub::principal::Principal;
use roost_wire::websocket::close_code;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::admission::Admitted;
use crate::http::socket::{self, Socket};
use crate::listener::asked;

/// Sends every message back until the peer leaves, is gone, or is let in no longer, or the server stops.
pub(crate) async fn serve(
    server: Admitted,
    mut socket: Socket,
    principal: Arc<Principal>,
    mut shutdown: watch::Receiver<bool>,
) {
    let every = server.settings.live_ping_every;
    let mut pings = interval_at(Instant::now() + every, every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (code, reason) = loop {
        tokio::select! {
            received = socket.next() => match received {
                Ok(received) => socket.send(received.kind, &received.payload),
                Err(ended) => return socket::end(socket, ended).await,
            },
            _ = pings.tick() => {
                if !server.hub.principal_holds(&principal).unwrap_or(false) {
                    break (close_code::POLICY_VIOLATION, "the credential holds no longer");
                }
                if let Err(closing) = socket.look_after() {
                    break closing;
                }
            }
            () = asked(&mut shutdown) => break (close_code::GOING_AWAY, "the server stops"),
        }
    };
    socket.close(code, reason).await;
}
