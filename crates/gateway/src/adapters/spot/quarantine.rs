//! A Spot that nobody registered: it is heard of in the inbox, and nothing of it goes further.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::inbox::{Proposed, Recognised};
use roost_hub::storage::StorageError;
use roost_wire::spot::{self, Body as Said, Splitter};
use serde_json::{Map, Value};

use super::{BODY_LENGTH_MAX, answer};
use crate::problem::Problem;
use crate::shared::Shared;

/// How many messages are looked at for the sample.
const MESSAGES_MAX: usize = 32;

/// Takes a request, keeps the first messages of each kind for the inbox, and answers with nothing.
pub(super) async fn take(shared: &Arc<Shared>, tenant: &TenantId, serial: &str, mut body: Body) -> Response {
    let mut splitter = Splitter::default();
    let mut sample = Map::new();
    let (mut length, mut messages) = (0, 0);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Problem::unreadable("The body ended before it was complete.").into_response();
        };
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > BODY_LENGTH_MAX {
            return Problem::too_large(BODY_LENGTH_MAX).into_response();
        }
        let mut chunk: &[u8] = &data;
        while messages < MESSAGES_MAX
            && let Some(message) = splitter.next(&mut chunk)
        {
            messages += 1;
            if let Ok(bytes) = message {
                keep(&bytes, &mut sample);
            }
        }
    }
    match wait(shared, tenant, recognised(serial, Value::Object(sample))).await {
        Ok(()) => answer(Vec::new()),
        Err(error) => Problem::from(error).into_response(),
    }
}

/// Durable when it returns: the answer tells the Spot to forget what it sent.
async fn wait(shared: &Shared, tenant: &TenantId, recognised: Recognised) -> Result<(), StorageError> {
    shared.hub.recognise(tenant, recognised)?;
    let written = shared.hub.store().log.end();
    shared.hub.durable(written).await
}

/// A Spot as it is proposed to whoever lets it in, or to a rule.
pub(super) fn recognised(serial: &str, sample: Value) -> Recognised {
    let proposed = Proposed {
        id: DeviceId::parse(&format!("spot-{serial}")).ok(),
        name: Some(format!("Spot {serial}")),
        ..Proposed::default()
    };
    Recognised { dialect: "spot", name: serial.to_owned(), parent: None, proposed, sample }
}

/// The object of a message, under the name of its resource.
fn keep(bytes: &[u8], sample: &mut Map<String, Value>) {
    let Ok(message) = spot::read(bytes) else { return };
    let object = match &message.body {
        Said::Object(object) => Value::Object(object.clone()),
        Said::Fields(_) => {
            let parsed: Option<(String, String, Value)> = serde_json::from_slice(bytes).ok();
            parsed.map_or(Value::Null, |(_, _, object)| object)
        }
    };
    sample.entry(message.resource.into_owned()).or_insert(object);
}
