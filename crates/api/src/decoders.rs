//! Decoders of binary payloads, tried before and after they are written into a profile; and the
//! frames to try them on. What they can say: docs/decoders.md.

use axum::Json as Reply;
use axum::extract::{Path, State};
use roost_hub::access::Action;
use roost_hub::frames::RawFrame;
use roost_hub::id::{DeviceId, ProfileId};
use roost_wire::decoder::{Decoder, Frame, InvalidDecoder, from_base64, from_hex, hex, report};
use roost_wire::telemetry::Limits;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::body::Json;
use crate::params::Params;
use crate::problem::{Problem, sentence};
use crate::route::{Route, get, post};
use crate::state::{Api, Shared};

/// The most frames of one request.
const FRAMES_MAX: usize = 100;
/// The longest of them, in bytes.
const FRAME_LENGTH_MAX: usize = 64 * 1024;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        post("/api/v1/profiles/{id}/decode", try_decoder)
            .about("profiles", "Tries a decoder, the profile's or another, on frames; nothing is kept")
            .takes("DecoderTrial")
            .answers(200, "DecoderTrialResult"),
        get("/api/v1/devices/{id}/frames", frames)
            .about("devices", "The last raw frames of a device whose profile has a decoder, newest first")
            .answers(200, "RawFrames"),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trial {
    /// Instead of the profile's.
    decoder: Option<Value>,
    #[serde(default)]
    frames: Vec<SaidFrame>,
    /// Whose recorded frames are tried after those.
    device: Option<DeviceId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidFrame {
    hex: Option<String>,
    base64: Option<String>,
    port: Option<u8>,
}

impl SaidFrame {
    fn bytes(&self) -> Result<Vec<u8>, Problem> {
        let bytes = match (&self.hex, &self.base64) {
            (Some(text), None) => from_hex(text),
            (None, Some(text)) => from_base64(text),
            _ => None,
        };
        let bytes = bytes.filter(|bytes| bytes.len() <= FRAME_LENGTH_MAX);
        bytes.ok_or_else(|| {
            Problem::invalid(format!(
                "A frame is {{\"hex\": \"01 67 00 D7\"}} or {{\"base64\": \"AWcA1w==\"}}, with a \
                 \"port\" where there is one, of at most {FRAME_LENGTH_MAX} bytes."
            ))
        })
    }
}

/// A declaration that is none.
pub(crate) fn invalid(error: &InvalidDecoder) -> Problem {
    Problem::invalid(sentence(&error.to_string())).with("at", json!(error.place))
}

async fn try_decoder(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Trial>,
) -> Result<Reply<Value>, Problem> {
    caller.may(Action::ReadDevices)?;
    if body.frames.len() > FRAMES_MAX {
        return Err(Problem::invalid(format!("One request has at most {FRAMES_MAX} frames.")));
    }
    let declaration = match body.decoder {
        Some(declaration) => declaration,
        None => profiles_decoder(&api, &caller, &id)?,
    };
    let decoder = Decoder::parse(&declaration).map_err(|error| invalid(&error))?;
    let mut items = Vec::new();
    for frame in &body.frames {
        items.push(tried(&decoder, &frame.bytes()?, frame.port, None));
    }
    if let Some(id) = body.device {
        let device = caller.device(&api, id.as_str(), |id| Action::ReadDevice(id))?;
        for frame in api.hub.frames(caller.tenant(), &device.id) {
            items.push(tried(&decoder, &frame.bytes, frame.port, Some(&frame)));
        }
    }
    Ok(Reply(json!({ "items": items })))
}

fn profiles_decoder(api: &Api, caller: &Caller, id: &str) -> Result<Value, Problem> {
    let unknown = || Problem::not_found("There is no profile of this id.");
    let id = ProfileId::parse(id).map_err(|_no_id| unknown())?;
    let profile = api.hub.profile(caller.tenant(), &id)?.ok_or_else(unknown)?;
    let decoder = profile.decoder().cloned();
    decoder.ok_or_else(|| Problem::invalid("The profile has no decoder; send one as `decoder`."))
}

fn tried(decoder: &Decoder, bytes: &[u8], port: Option<u8>, recorded: Option<&RawFrame>) -> Value {
    let frame = Frame { bytes, port };
    let mut shown = report(&frame, &decoder.decode(&frame, &Limits::default()));
    shown.insert("at".to_owned(), json!(recorded.map(|frame| frame.at.to_string())));
    Value::from(shown)
}

async fn frames(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    params: Params,
) -> Result<Reply<Value>, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    params.finish()?;
    let frames = api.hub.frames(caller.tenant(), &device.id);
    let shown = |frame: &RawFrame| json!({ "at": frame.at.to_string(), "hex": hex(&frame.bytes), "port": frame.port });
    Ok(Reply(json!({ "items": frames.iter().map(shown).collect::<Vec<_>>() })))
}
