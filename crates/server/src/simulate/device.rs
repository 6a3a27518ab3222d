//! The life of one virtual device: connect, send, obey, and connect again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use roost_hub::time::Clock as _;
use roost_wire::mqtt::ReasonCode;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::mqtt::{Heard, Login};
use super::world::{Device, Sent};
use super::{Counts, http, mqtt};
use crate::serve::SystemClock;

/// After a lost connection, the next one is tried after this, and after twice as long each time.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Seconds.
const KEEP_ALIVE: u16 = 60;
const PING_EVERY: Duration = Duration::from_secs(30);

/// Where a device connects, and as whom.
pub(super) struct Account {
    pub(super) id: String,
    pub(super) token: String,
    /// As `HOST:PORT`.
    pub(super) address: String,
}

/// When a device sends.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) every: Duration,
    /// So that not all of them send at the same time.
    pub(super) first_after: Duration,
}

impl Pace {
    async fn ticks(self) -> Interval {
        tokio::time::sleep(self.first_after).await;
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    }
}

/// Waits longer after each failure.
struct Retry(Duration);

impl Retry {
    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(RETRY_MAX);
    }
}

/// A device that speaks MQTT.
pub(super) async fn over_mqtt(
    account: Account,
    mut device: Device,
    pace: Pace,
    counts: Arc<Counts>,
    mut ending: watch::Receiver<bool>,
) {
    let live = async {
        let mut ticks = pace.ticks().await;
        let mut retry = Retry(RETRY_MIN);
        loop {
            let login = Login {
                client_id: &account.id,
                username: &account.id,
                password: &account.token,
                keep_alive: KEEP_ALIVE,
            };
            if let Ok(client) = mqtt::Client::connect(&account.address, login).await {
                retry = Retry(RETRY_MIN);
                let ended = speak_mqtt(client, &mut device, &mut ticks, &counts).await;
                tracing::debug!(device = account.id, ?ended, "connecting again");
            }
            Counts::add(&counts.reconnects);
            retry.wait().await;
        }
    };
    tokio::select! {
        () = live => {}
        _ = ending.wait_for(|is_over| *is_over) => {}
    }
}

/// Ends when the connection does.
async fn speak_mqtt(
    mut client: mqtt::Client,
    device: &mut Device,
    ticks: &mut Interval,
    counts: &Counts,
) -> anyhow::Result<()> {
    let mut pings = tokio::time::interval(PING_EVERY);
    client.subscribe("me/commands")?;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let Sent { telemetry, event } = device.measure(SystemClock.wall());
                client.publish("me/telemetry", telemetry.to_string().as_bytes())?;
                Counts::add(&counts.sent);
                if let Some((name, payload)) = event {
                    client.publish(&format!("me/events/{name}"), payload.to_string().as_bytes())?;
                    Counts::add(&counts.sent);
                }
            }
            _ = pings.tick() => client.ping()?,
            heard = client.next() => match heard? {
                Heard::Message { payload, .. } => {
                    let command: Value = serde_json::from_slice(&payload)?;
                    Counts::add(&counts.commands);
                    let (id, answer) = answer(device, &command);
                    client.publish(&format!("me/commands/{id}/result"), answer.to_string().as_bytes())?;
                    Counts::add(&counts.sent);
                }
                Heard::Acknowledged { reason, .. } if reason == ReasonCode::Success || reason.code() < 0x80 => {
                    Counts::add(&counts.acknowledged);
                }
                Heard::Acknowledged { .. } => Counts::add(&counts.refused),
                Heard::Subscribed { is_granted } => ensure!(is_granted, "the server does not grant me/commands"),
                Heard::Pong => {}
            },
        }
    }
}

/// The id of a command and what the device answers.
fn answer(device: &mut Device, command: &Value) -> (String, Value) {
    let text = |name| command.get(name).and_then(Value::as_str).unwrap_or_default();
    let answer = match device.obey(text("name"), command.get("params").unwrap_or(&Value::Null)) {
        Ok(result) => json!({ "ok": true, "result": result }),
        Err(error) => json!({ "ok": false, "error": error }),
    };
    (text("id").to_owned(), answer)
}

/// A device that speaks HTTP, and fetches commands after each message.
pub(super) async fn over_http(
    account: Account,
    mut device: Device,
    pace: Pace,
    counts: Arc<Counts>,
    mut ending: watch::Receiver<bool>,
) {
    let live = async {
        let mut ticks = pace.ticks().await;
        let mut retry = Retry(RETRY_MIN);
        loop {
            if let Ok(mut client) = http::Client::connect(&account.address, &account.token).await {
                while let Ok(()) = contact(&mut client, &mut device, &counts).await {
                    retry = Retry(RETRY_MIN);
                    ticks.tick().await;
                }
            }
            Counts::add(&counts.reconnects);
            retry.wait().await;
        }
    };
    tokio::select! {
        () = live => {}
        _ = ending.wait_for(|is_over| *is_over) => {}
    }
}

/// Sends once and does what there is to do.
async fn contact(client: &mut http::Client, device: &mut Device, counts: &Counts) -> anyhow::Result<()> {
    let Sent { telemetry, .. } = device.measure(SystemClock.wall());
    Counts::add(&counts.sent);
    let answered = client.call("POST", "/api/v1/me/telemetry", telemetry.to_string().as_bytes()).await?;
    match answered.status {
        200..300 => Counts::add(&counts.acknowledged),
        _ => Counts::add(&counts.refused),
    }
    let waiting = client.call("GET", "/api/v1/me/commands", b"").await?;
    let waiting: Value = serde_json::from_slice(&waiting.body).unwrap_or_default();
    for command in waiting.get("items").and_then(Value::as_array).into_iter().flatten() {
        Counts::add(&counts.commands);
        let (id, answer) = answer(device, command);
        let path = format!("/api/v1/me/commands/{id}/result");
        client.call("POST", &path, answer.to_string().as_bytes()).await?;
    }
    Ok(())
}
