//! Everything as it happens: what live feeds, long polls and the dashboard follow.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::broadcast;

use crate::flight::FlightEntry;
use crate::id::{DeviceId, TenantId};
use crate::mailbox::Command;
use crate::message::Message;
use crate::storage::Position;
use crate::time::Timestamp;

/// How many events a feed may be behind before it loses the oldest, which it is told.
pub const LIVE_EVENTS_MAX: usize = 4_096;

/// What happened to a device.
#[derive(Clone, Debug)]
pub enum LiveKind {
    /// Readings arrived; the message carries them.
    Telemetry(Arc<Message>),
    /// It came or went.
    Presence {
        /// Whether it is connected now.
        online: bool,
    },
    /// A command is new or changed its state.
    Command(Arc<Command>),
    /// Its twin changed.
    Twin {
        /// The twin's version now.
        version: u64,
    },
    /// It published `events/{name}`.
    Event(Arc<Message>),
    /// The flight recorder took a note.
    Log(FlightEntry),
}

/// The name of a kind of live event, as feeds are asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LiveName {
    /// [`LiveKind::Telemetry`].
    Telemetry,
    /// [`LiveKind::Presence`].
    Presence,
    /// [`LiveKind::Command`].
    Command,
    /// [`LiveKind::Twin`].
    Twin,
    /// [`LiveKind::Event`].
    Event,
    /// [`LiveKind::Log`].
    Log,
}

impl LiveName {
    /// Reads the name; `None` when there is no such kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "telemetry" => Self::Telemetry,
            "presence" => Self::Presence,
            "command" => Self::Command,
            "twin" => Self::Twin,
            "event" => Self::Event,
            "log" => Self::Log,
            _ => return None,
        })
    }
}

impl LiveKind {
    /// The kind's name.
    #[must_use]
    pub fn name(&self) -> LiveName {
        match self {
            Self::Telemetry(_) => LiveName::Telemetry,
            Self::Presence { .. } => LiveName::Presence,
            Self::Command(_) => LiveName::Command,
            Self::Twin { .. } => LiveName::Twin,
            Self::Event(_) => LiveName::Event,
            Self::Log(_) => LiveName::Log,
        }
    }
}

/// Something that happened to a device.
#[derive(Clone, Debug)]
pub struct LiveEvent {
    /// Whose device.
    pub tenant: TenantId,
    /// Which device.
    pub device: DeviceId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: LiveKind,
}

impl LiveEvent {
    /// The event that a recorded message was; `None` for messages that are none.
    #[must_use]
    pub fn of_recorded(tenant: &TenantId, message: &Arc<Message>) -> Option<Self> {
        let (device, rest) = message.topic.device()?;
        let kind = match &message.telemetry {
            Some(_) => LiveKind::Telemetry(Arc::clone(message)),
            None if rest.starts_with("events/") => LiveKind::Event(Arc::clone(message)),
            None => return None,
        };
        let device = DeviceId::parse(device).ok()?;
        Some(Self { tenant: tenant.clone(), device, at: message.time, kind })
    }

    /// Its place in the log, of what is recorded.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match &self.kind {
            LiveKind::Telemetry(message) | LiveKind::Event(message) => message.logged.get().copied(),
            LiveKind::Presence { .. } | LiveKind::Command(_) | LiveKind::Twin { .. } | LiveKind::Log(_) => {
                None
            }
        }
    }
}

/// The feed; costs next to nothing while nobody follows it.
#[derive(Debug)]
pub struct LiveFeed {
    sender: broadcast::Sender<Arc<LiveEvent>>,
}

impl Default for LiveFeed {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(LIVE_EVENTS_MAX) }
    }
}

impl LiveFeed {
    /// Whether anybody follows; ask before building an event.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Tells the followers; with none, nothing happens.
    pub fn send(&self, event: impl FnOnce() -> LiveEvent) {
        if self.is_followed() {
            // Fails only when the last follower has just left.
            drop(self.sender.send(Arc::new(event())));
        }
    }

    /// Follows one tenant's events from now on.
    #[must_use]
    pub fn follow(&self, tenant: &TenantId) -> LiveReceiver {
        LiveReceiver { tenant: tenant.clone(), receiver: self.sender.subscribe() }
    }
}

/// Follows the events of one tenant.
#[derive(Debug)]
pub struct LiveReceiver {
    tenant: TenantId,
    receiver: broadcast::Receiver<Arc<LiveEvent>>,
}

/// What a follower gets next.
#[derive(Clone, Debug)]
pub enum LiveNext {
    /// The next event.
    Event(Arc<LiveEvent>),
    /// The follower was too slow: so many events (of any tenant) are gone.
    Missed(u64),
}

impl LiveReceiver {
    /// The tenant's next event if it has happened already.
    pub fn next_now(&mut self) -> Option<LiveNext> {
        loop {
            match self.receiver.try_recv() {
                Ok(event) if event.tenant == self.tenant => return Some(LiveNext::Event(event)),
                Ok(_other_tenant) => {}
                Err(broadcast::error::TryRecvError::Lagged(count)) => return Some(LiveNext::Missed(count)),
                Err(_nothing) => return None,
            }
        }
    }

    /// The tenant's next event; `None` when the hub is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<LiveNext> {
        loop {
            match self.receiver.recv().await {
                Ok(event) if event.tenant == self.tenant => return Some(LiveNext::Event(event)),
                Ok(_other_tenant) => {}
                Err(broadcast::error::RecvError::Lagged(count)) => return Some(LiveNext::Missed(count)),
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
