//! Binary payloads, read by the decoder of the device's profile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_hub::Hub;
use roost_hub::frames::RawFrame;
use roost_hub::id::{DeviceId, ProfileId, TenantId};
use roost_hub::message::{Message, Telemetry};
use roost_hub::principal::Principal;
use roost_hub::reading::Reading;
use roost_hub::storage::Revision;
use roost_hub::topic::Topic;
use roost_wire::decoder::{Decoder, Frame, hex};
use roost_wire::telemetry::{Format, Limits, Point};

use super::readings::{self, ReadingsError, TelemetryTopic};

/// The user property of a message, and the name in a query, that says the port of a radio network.
pub(crate) const PORT: &str = "port";
/// What a payload for a decoder is said to be.
pub(crate) const BYTES: &str = "application/octet-stream";

/// How many decoders are kept ready.
const DECODERS_MAX: usize = 4_096;
/// How much of a frame that cannot be read is shown, in bytes.
const SHOWN_MAX: usize = 64;

/// The decoders of profiles, made once for each revision of a profile.
#[derive(Debug, Default)]
pub(crate) struct Decoders(Mutex<HashMap<(TenantId, ProfileId), Ready>>);

#[derive(Debug)]
struct Ready {
    revision: Revision,
    /// `None`: the profile has none.
    decoder: Option<Arc<Decoder>>,
}

impl Decoders {
    fn ready(&self) -> MutexGuard<'_, HashMap<(TenantId, ProfileId), Ready>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the device's profile has one.
    ///
    /// # Errors
    /// The store could not tell.
    pub(crate) fn is_there(
        &self,
        hub: &Hub,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<bool, ReadingsError> {
        Ok(self.of(hub, tenant, device)?.is_some())
    }

    fn of(
        &self,
        hub: &Hub,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<Option<Arc<Decoder>>, ReadingsError> {
        let Some((id, revision)) = hub.profile_of(tenant, device)? else { return Ok(None) };
        let key = (tenant.clone(), id);
        if let Some(ready) = self.ready().get(&key).filter(|ready| ready.revision == revision) {
            return Ok(ready.decoder.clone());
        }
        let profile = hub.profile(tenant, &key.1)?;
        let declaration = profile.as_ref().and_then(|profile| profile.decoder());
        let decoder = declaration.map(Decoder::parse).transpose()?.map(Arc::new);
        let mut ready = self.ready();
        if ready.len() >= DECODERS_MAX {
            ready.clear();
        }
        ready.insert(key, Ready { revision, decoder: decoder.clone() });
        Ok(decoder)
    }
}

/// What is said of how a payload is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Format(Format),
    /// That it is bytes for the profile's decoder.
    Bytes,
    /// Nothing, or nothing that is known.
    Nothing,
}

impl Said {
    pub(crate) fn of(content_type: Option<&str>) -> Self {
        let name = content_type.map(|text| text.split(';').next().unwrap_or_default().trim());
        match name {
            Some(name) if name.eq_ignore_ascii_case(BYTES) => Self::Bytes,
            Some(name) => Format::from_content_type(name).map_or(Self::Nothing, Self::Format),
            None => Self::Nothing,
        }
    }
}

/// Who sent a payload, and where the decoders are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) decoders: &'a Decoders,
    pub(crate) principal: &'a Principal,
}

impl Source<'_> {
    /// The readings of a message, when its topic is a device's telemetry.
    ///
    /// # Errors
    /// [`ReadingsError`] says what to change; nothing of the payload is kept.
    pub(crate) fn read(
        self,
        message: &Message,
        content_type: Option<&str>,
    ) -> Result<Option<Box<Telemetry>>, ReadingsError> {
        let Some(topic) = TelemetryTopic::of(&message.topic) else { return Ok(None) };
        if topic.key.is_some() {
            return readings::read(topic, &message.payload, content_type, message.time).map(Some);
        }
        let device = DeviceId::parse(topic.device)?;
        let readings = match self.readings(&device, Said::of(content_type), message) {
            // Publishers of MQTT have always said anything they liked of their JSON.
            Err(ReadingsError::NoDecoder) => {
                let json = readings::decode(&device, Format::Json, &message.payload, message.time);
                json.map_err(|_no_json| ReadingsError::NoDecoder)?
            }
            read => read?,
        };
        Ok(Some(Box::new(Telemetry { device, readings })))
    }

    /// As [`Source::readings`], with the device.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub(crate) fn telemetry(
        self,
        device: &str,
        said: Said,
        message: &Message,
    ) -> Result<Box<Telemetry>, ReadingsError> {
        let device = DeviceId::parse(device)?;
        let readings = self.readings(&device, said, message)?;
        Ok(Box::new(Telemetry { device, readings }))
    }

    /// The readings of a message on the device's topic of telemetry. Where nothing is said of how it
    /// is written, it is JSON if it can be read so and says anything, else bytes for the decoder.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub(crate) fn readings(
        self,
        device: &DeviceId,
        said: Said,
        message: &Message,
    ) -> Result<Vec<Reading>, ReadingsError> {
        let plain = |format| readings::decode(device, format, &message.payload, message.time);
        match said {
            Said::Format(format) => plain(format),
            Said::Nothing => match plain(Format::Json) {
                Ok(readings) if !readings.is_empty() => Ok(readings),
                read => self.decoded(device, message)?.map_or(read, Ok),
            },
            Said::Bytes => self.decoded(device, message)?.ok_or(ReadingsError::NoDecoder),
        }
    }

    /// What the profile's decoder makes of the payload; `None` where it has none.
    fn decoded(self, device: &DeviceId, message: &Message) -> Result<Option<Vec<Reading>>, ReadingsError> {
        let decoder = self.decoders.of(self.hub, &self.principal.tenant, device)?;
        let Some(decoder) = decoder else { return Ok(None) };
        let raw = RawFrame { at: message.time, bytes: message.payload.clone(), port: port(message) };
        self.hub.note_frame(self.principal, &message.topic, device, &raw);
        decode(&decoder, &raw, None).map(Some)
    }

    /// What the profile's decoder makes of a frame that a radio network handed on; nothing where there
    /// is none. `ts` is when the network had it, in milliseconds since 1970. The frame is kept for
    /// whoever writes a decoder, also where there is none yet.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub(crate) fn frame(
        self,
        device: &DeviceId,
        raw: &RawFrame,
        ts: Option<i64>,
    ) -> Result<Vec<Reading>, ReadingsError> {
        let topic = Topic::parse(&format!("devices/{device}/telemetry")).expect("a device's id fits a topic");
        self.hub.note_frame(self.principal, &topic, device, raw);
        let decoder = self.decoders.of(self.hub, &self.principal.tenant, device)?;
        decoder.map_or_else(|| Ok(Vec::new()), |decoder| decode(&decoder, raw, ts))
    }
}

/// The readings of a frame, with `ts` where it says no time of its own.
fn decode(decoder: &Decoder, raw: &RawFrame, ts: Option<i64>) -> Result<Vec<Reading>, ReadingsError> {
    let frame = Frame { bytes: &raw.bytes, port: raw.port };
    let points = decoder.decode(&frame, &Limits::default()).map_err(|error| {
        let shown = raw.bytes.get(..SHOWN_MAX).unwrap_or(&raw.bytes);
        ReadingsError::Frame { error, shown: hex(shown) }
    })?;
    let timed = points.into_iter().map(|point| Point { ts: point.ts.or(ts), ..point });
    Ok(timed.map(|point| readings::reading(point, raw.at)).collect())
}

fn port(message: &Message) -> Option<u8> {
    let user = &message.properties.as_ref()?.user;
    user.iter().find(|(name, _)| &**name == PORT)?.1.parse().ok()
}
