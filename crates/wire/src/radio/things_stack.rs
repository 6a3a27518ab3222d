//! The Things Stack v3: one webhook a message, whose kind is the member that it has.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::downlink::id_in;
use super::{Kind, Location, Progress, Uplink, best, bytes_of, decoded, eui, note, shape};
use crate::dialect::Unread;
use crate::telemetry::parse_rfc3339;

#[derive(Deserialize)]
struct Webhook<'a> {
    #[serde(borrow)]
    end_device_ids: Ids<'a>,
    #[serde(borrow)]
    received_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uplink_message: Option<Message<'a>>,
    #[serde(borrow)]
    join_accept: Option<&'a RawValue>,
    #[serde(borrow)]
    downlink_queued: Option<Queued<'a>>,
    #[serde(borrow)]
    downlink_sent: Option<Queued<'a>>,
    #[serde(borrow)]
    downlink_ack: Option<Queued<'a>>,
    #[serde(borrow)]
    downlink_nack: Option<Queued<'a>>,
    #[serde(borrow)]
    downlink_failed: Option<Failed<'a>>,
    location_solved: Option<Solved>,
    #[serde(borrow)]
    downlink_queue_invalidated: Option<&'a RawValue>,
    #[serde(borrow)]
    service_data: Option<&'a RawValue>,
    /// The same as `uplink_message` once more, in the stack's own names.
    #[serde(borrow)]
    uplink_normalized: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Ids<'a> {
    #[serde(borrow)]
    device_id: Cow<'a, str>,
    #[serde(borrow)]
    dev_eui: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    f_port: Option<u8>,
    #[serde(borrow)]
    frm_payload: Option<Cow<'a, str>>,
    #[serde(borrow)]
    decoded_payload: Option<&'a RawValue>,
    #[serde(default)]
    rx_metadata: Vec<Heard>,
    #[serde(borrow)]
    received_at: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Heard {
    rssi: Option<f64>,
    snr: Option<f64>,
}

#[derive(Deserialize)]
struct Queued<'a> {
    #[serde(borrow, default)]
    correlation_ids: Vec<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Failed<'a> {
    #[serde(borrow)]
    downlink: Queued<'a>,
    #[serde(borrow)]
    error: Option<Reason<'a>>,
}

#[derive(Deserialize)]
struct Reason<'a> {
    #[serde(borrow)]
    message_format: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Solved {
    location: Option<Location>,
}

pub(super) fn read(body: &[u8]) -> Result<Uplink<'_>, Unread> {
    let mut webhook: Webhook<'_> = serde_json::from_slice(body).map_err(shape)?;
    let kind = kind(&mut webhook)?;
    let Ids { device_id, dev_eui } = webhook.end_device_ids;
    let device = match dev_eui {
        Some(text) => eui(text)?,
        // A device that was personalised by hand need not have one.
        None => named(device_id.clone())?,
    };
    let mut uplink = Uplink::new(device, kind);
    uplink.name = Some(device_id);
    uplink.time = webhook.received_at.as_deref().and_then(parse_rfc3339);
    if let Some(message) = webhook.uplink_message {
        uplink.port = message.f_port;
        uplink.raw = message.frm_payload.as_deref().map(bytes_of).transpose()?;
        uplink.points = decoded(message.decoded_payload)?;
        (uplink.rssi, uplink.snr) = best(message.rx_metadata.iter().map(|heard| (heard.rssi, heard.snr)));
        uplink.time = message.received_at.as_deref().and_then(parse_rfc3339).or(uplink.time);
    }
    if let Some(at) = webhook.location_solved.and_then(|solved| solved.location) {
        uplink.points.extend(at.points());
    }
    Ok(uplink)
}

fn kind<'a>(webhook: &mut Webhook<'a>) -> Result<Kind<'a>, Unread> {
    let about = |queued: Queued<'a>, progress| Kind::Downlink { id: id_in(queued.correlation_ids), progress };
    if webhook.uplink_message.is_some() {
        return Ok(Kind::Data);
    }
    if webhook.join_accept.is_some() {
        return Ok(Kind::Joined);
    }
    let progresses = [
        (webhook.downlink_queued.take(), Progress::Queued),
        (webhook.downlink_sent.take(), Progress::Sent),
        (webhook.downlink_ack.take(), Progress::Acknowledged),
        // The stack sends it again by itself.
        (webhook.downlink_nack.take(), Progress::Queued),
    ];
    for (queued, progress) in progresses {
        if let Some(queued) = queued {
            return Ok(about(queued, progress));
        }
    }
    if let Some(Failed { downlink, error }) = webhook.downlink_failed.take() {
        let reason = error.and_then(|error| error.message_format);
        return Ok(about(downlink, Progress::Failed(reason.unwrap_or(Cow::Borrowed("it was not sent")))));
    }
    let notes = [
        (webhook.location_solved.is_some(), "location"),
        (webhook.downlink_queue_invalidated.is_some(), "downlink_queue_invalidated"),
        (webhook.service_data.is_some(), "service_data"),
        (webhook.uplink_normalized.is_some(), "uplink_normalized"),
    ];
    let name = notes.iter().find_map(|(is_said, name)| is_said.then_some(*name));
    note(Cow::Borrowed(name.ok_or(Unread("has no message of a kind that is known here".into()))?))
}

/// The stack's own rule for the names of devices.
fn named(name: Cow<'_, str>) -> Result<Cow<'_, str>, Unread> {
    let fits = (2..=36).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if fits { Ok(name) } else { Err(Unread("a device_id has 2 to 36 of a-z, 0-9 and -".into())) }
}
