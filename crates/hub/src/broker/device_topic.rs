//! What the topics below `devices/{device}/` mean to the server (interface.md, "Topics").

use std::sync::Arc;

use crate::flight::FlightKind;
use crate::hub::Hub;
use crate::id::DeviceId;
use crate::latest::Heard;
use crate::live::{LiveEvent, LiveKind};
use crate::message::Message;
use crate::principal::Principal;
use crate::storage::Position;
use crate::topic::Topic;

use super::publish::PublishError;

/// One of the topics of a device, as far as the server cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceTopic {
    /// `telemetry` and `telemetry/{key}`.
    Telemetry,
    /// `twin/reported`.
    Reported,
    /// `commands/{id}/result`.
    Result,
    /// `events/{name}`.
    Event,
    /// Any other topic of the device: ordinary MQTT.
    Other,
}

impl DeviceTopic {
    /// Reads the topic; `None` when it is not a device's.
    pub(super) fn of(topic: &Topic) -> Result<Option<(DeviceId, Self)>, PublishError> {
        let Some((device, rest)) = topic.device() else { return Ok(None) };
        let device = DeviceId::parse(device)
            .map_err(|_invalid| PublishError::TopicInvalid("the level behind `devices/` is a device id"))?;
        let kind = match rest.split_once('/') {
            None if rest == "telemetry" => Self::Telemetry,
            Some(("telemetry", key)) if !key.is_empty() => Self::Telemetry,
            Some(("twin", "reported")) => Self::Reported,
            Some(("events", name)) if !name.is_empty() => Self::Event,
            Some(("commands", rest)) if rest.ends_with("/result") => Self::Result,
            _ => Self::Other,
        };
        Ok(Some((device, kind)))
    }

    /// Whether messages there are always kept in the log.
    pub(super) fn is_recorded(self) -> bool {
        matches!(self, Self::Telemetry | Self::Event)
    }
}

impl Hub {
    /// Before the message is taken: is there such a device, is its telemetry within bounds, and what
    /// does the message change? Gives the position at which the change is durable.
    pub(super) fn prepare_device_message(
        &self,
        principal: &Principal,
        device: &DeviceId,
        topic: DeviceTopic,
        message: &mut Message,
    ) -> Result<Option<Position>, PublishError> {
        let tenant = &principal.tenant;
        if principal.device() != Some(device) && self.device(tenant, device)?.is_none() {
            return Err(PublishError::DeviceUnknown(device.clone()));
        }
        let now = message.time;
        match topic {
            DeviceTopic::Telemetry => {
                let Some(telemetry) = &mut message.telemetry else {
                    return Err(PublishError::PayloadInvalid("the payload holds no readings".to_owned()));
                };
                let limits = (self.settings.keys_max, now);
                self.latest.prepare(&self.store, tenant, telemetry, limits).map(|_novelty| None)
            }
            DeviceTopic::Reported => self
                .report_twin(tenant, device, &message.payload, now)
                .map(Some)
                .map_err(|error| PublishError::PayloadInvalid(error.to_string())),
            DeviceTopic::Result => {
                let id = message.topic.device().and_then(|(_, rest)| {
                    rest.strip_prefix("commands/").and_then(|rest| rest.strip_suffix("/result"))
                });
                self.take_result(tenant, device, id.unwrap_or_default(), &message.payload, now)
                    .map_err(|error| PublishError::PayloadInvalid(error.to_string()))
            }
            DeviceTopic::Event | DeviceTopic::Other => Ok(None),
        }
    }

    /// Once the message is in the log and on its way: who else is told.
    pub(super) fn after_device_message(
        &self,
        principal: &Principal,
        device: &DeviceId,
        topic: DeviceTopic,
        message: &Arc<Message>,
    ) {
        let tenant = &principal.tenant;
        let now = message.time;
        if topic != DeviceTopic::Telemetry {
            self.presence_heard(tenant, device, now);
        }
        let kind = match topic {
            DeviceTopic::Telemetry => {
                if let Some(telemetry) = &message.telemetry {
                    if self.latest.update(tenant, telemetry, now) == Heard::Again {
                        self.presence_heard(tenant, device, now);
                    }
                    self.counters.readings_total.add(telemetry.readings.len() as u64);
                }
                self.note(tenant, device, FlightKind::Telemetry, "telemetry", now);
                LiveKind::Telemetry(Arc::clone(message))
            }
            DeviceTopic::Event => {
                let name = message.topic.as_str().split_once("/events/").map_or("", |(_, name)| name);
                self.note(tenant, device, FlightKind::Event, name, now);
                LiveKind::Event(Arc::clone(message))
            }
            DeviceTopic::Reported | DeviceTopic::Result | DeviceTopic::Other => return,
        };
        self.live.send(|| LiveEvent { tenant: tenant.clone(), device: device.clone(), at: now, kind });
    }
}
