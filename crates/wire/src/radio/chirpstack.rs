//! ChirpStack v4: the kind of a message stands in the query (`?event=up`), every body has `deviceInfo`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Kind, Location, Progress, Uplink, best, bytes_of, decoded, eui, note, number, shape};
use crate::dialect::Unread;
use crate::telemetry::{Point, Value, parse_rfc3339};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow)]
    device_info: Info<'a>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    f_port: Option<u8>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    rx_info: Option<Vec<Heard>>,
    #[serde(borrow)]
    queue_item_id: Option<Cow<'a, str>>,
    acknowledged: Option<bool>,
    margin: Option<f64>,
    battery_level: Option<f64>,
    battery_level_unavailable: Option<bool>,
    external_power_source: Option<bool>,
    location: Option<Location>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    #[serde(borrow)]
    dev_eui: Cow<'a, str>,
    #[serde(borrow)]
    device_name: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Heard {
    rssi: Option<f64>,
    snr: Option<f64>,
}

pub(super) fn read<'a>(event: Option<&'a str>, body: &'a [u8]) -> Result<Uplink<'a>, Unread> {
    let said: Event<'a> = serde_json::from_slice(body).map_err(shape)?;
    let kind = match event.unwrap_or("up") {
        "up" => Kind::Data,
        "join" => Kind::Joined,
        "txack" => Kind::Downlink { id: said.queue_item_id.clone(), progress: Progress::Sent },
        "ack" if said.acknowledged == Some(true) => {
            Kind::Downlink { id: said.queue_item_id.clone(), progress: Progress::Acknowledged }
        }
        "ack" => {
            let progress = Progress::Failed(Cow::Borrowed("the device did not acknowledge it"));
            Kind::Downlink { id: said.queue_item_id.clone(), progress }
        }
        other => note(Cow::Borrowed(other))?,
    };
    let is_data = kind == Kind::Data;
    let mut uplink = Uplink::new(eui(said.device_info.dev_eui)?, kind);
    uplink.name = said.device_info.device_name;
    uplink.time = said.time.as_deref().and_then(parse_rfc3339);
    uplink.port = said.f_port;
    if is_data {
        uplink.raw = said.data.as_deref().map(bytes_of).transpose()?;
        uplink.points = decoded(said.object)?;
        let heard = said.rx_info.unwrap_or_default();
        (uplink.rssi, uplink.snr) = best(heard.iter().map(|heard| (heard.rssi, heard.snr)));
    }
    let battery = said.battery_level.filter(|_| said.battery_level_unavailable != Some(true));
    let powered = said.external_power_source.map(|is_powered| Point {
        key: Cow::Borrowed("externalPowerSource"),
        ts: None,
        value: Value::Boolean(is_powered),
    });
    let status = [number("margin", said.margin), number("batteryLevel", battery), powered];
    uplink.points.extend(status.into_iter().flatten());
    if let Some(at) = said.location {
        uplink.points.extend(at.points());
    }
    Ok(uplink)
}
