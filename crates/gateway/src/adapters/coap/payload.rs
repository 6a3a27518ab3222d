//! Payloads by their content formats.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};

use roost_wire::coap::{Answer, Code, ContentFormat};
use roost_wire::telemetry::{Format, Limits, cbor_to_json, json_to_cbor};
use serde_json::Value;

/// For how many seconds an observed state counts as fresh without a notification: an observer that
/// hears nothing for so long registers again, as after a restart of ours.
pub(super) const OBSERVED_MAX_AGE: u32 = 900;

/// How telemetry is written in a payload; text, or none said, is taken for JSON.
pub(super) fn telemetry_format(format: Option<ContentFormat>) -> Result<Format, Answer> {
    Ok(match format {
        None | Some(ContentFormat::TEXT | ContentFormat::JSON) => Format::Json,
        Some(ContentFormat::CBOR) => Format::Cbor,
        Some(ContentFormat::SENML_JSON) => Format::SenmlJson,
        Some(ContentFormat::SENML_CBOR) => Format::SenmlCbor,
        Some(_) => return Err(unsupported("send Content-Format 50, 60, 110 or 112")),
    })
}

/// A payload that is JSON, or CBOR that says the same.
pub(super) fn json(format: Option<ContentFormat>, payload: &[u8]) -> Result<Cow<'_, [u8]>, Answer> {
    match format {
        None | Some(ContentFormat::TEXT | ContentFormat::JSON | ContentFormat::MERGE_PATCH) => {
            Ok(Cow::Borrowed(payload))
        }
        Some(ContentFormat::CBOR) => {
            let value = cbor_to_json(payload, &Limits::default())
                .map_err(|error| Answer::error(Code::BAD_REQUEST, error.to_string()))?;
            Ok(Cow::Owned(value.to_string().into_bytes()))
        }
        Some(_) => Err(unsupported("send Content-Format 50 or 60")),
    }
}

fn unsupported(text: &'static str) -> Answer {
    Answer::error(Code::UNSUPPORTED_FORMAT, text)
}

/// The format in which an answer is wanted, of those that JSON can be given in.
pub(super) fn accepted(accept: Option<ContentFormat>) -> Result<ContentFormat, Answer> {
    match accept {
        None => Ok(ContentFormat::JSON),
        Some(format @ (ContentFormat::JSON | ContentFormat::CBOR)) => Ok(format),
        Some(_) => Err(Answer::error(Code::NOT_ACCEPTABLE, "accept 50 or 60")),
    }
}

/// A value as an answer in a format that was [`accepted`], with an etag of its own.
pub(super) fn show(value: &Value, format: ContentFormat) -> Answer {
    let body =
        if format == ContentFormat::CBOR { json_to_cbor(value) } else { value.to_string().into_bytes() };
    let mut hasher = DefaultHasher::new();
    hasher.write(&body);
    Answer { etag: Some(hasher.finish().to_be_bytes()), ..Answer::content(format, body) }
}
