//! A device's readings as plain JSON, the usual case of all cases.

use bytes::Bytes;
use roost_hub::Hub;
use roost_hub::message::{Message, QoS, Telemetry};
use roost_hub::principal::Principal;
use roost_hub::storage::Position;
use roost_hub::topic::Topic;
use roost_wire::telemetry::Format;

use crate::adapters::{readings, said};
use crate::problem::Problem;

/// What became of a payload.
pub(crate) enum Taken {
    /// It is durable when the log is, up to here.
    Up(Position),
    /// It could be read and is not taken all the same.
    Refused(Problem),
    /// It is no JSON with readings in it, or of nobody that has any: nothing was done.
    Not,
}

/// Publishes a payload with its readings.
pub(crate) fn take(hub: &Hub, principal: &Principal, payload: Bytes) -> Taken {
    let Some(device) = principal.device() else { return Taken::Not };
    let now = hub.now();
    let readings = match readings::decode(device, Format::Json, &payload, now) {
        Ok(readings) if !readings.is_empty() => readings,
        _ => return Taken::Not,
    };
    let Ok(topic) = Topic::parse(&format!("devices/{device}/telemetry")) else { return Taken::Not };
    hub.presence_seen(&principal.tenant, device, "http", now);
    if let Err(wait) = hub.take_turn(&principal.tenant, device, payload.len(), now) {
        return Taken::Refused(said::too_fast(wait));
    }
    let mut message = Message::new(topic, payload, now);
    message.telemetry = Some(Box::new(Telemetry { device: device.clone(), readings }));
    message.qos = QoS::AtLeastOnce;
    match hub.publish(principal, message) {
        Ok(published) => Taken::Up(published.position.unwrap_or_default()),
        Err(error) => Taken::Refused(error.into()),
    }
}
