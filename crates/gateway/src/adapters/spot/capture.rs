//! The form in protocol buffers, which was never published: kept as it came where the operator wants
//! that, for people who find out what it says.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http_body_util::BodyExt;
use roost_hub::broker::PublishError;
use roost_hub::flight::FlightKind;
use roost_hub::message::{Message, Properties, QoS};
use roost_hub::storage::{Position, StorageError};

use super::readings::own_topic;
use super::who::Registered;
use super::{BODY_LENGTH_MAX, answer};
use crate::problem::Problem;
use crate::shared::Shared;

/// What that form is called.
pub(super) const MEDIA_TYPE: &str = "application/x-intellifi-events-pb";
/// The most bytes of one event; a request with more becomes several.
const EVENT_LENGTH_MAX: usize = 64 * 1024;

/// Takes a request whole, also one that breaks off, and answers with nothing.
pub(super) async fn take(shared: &Arc<Shared>, found: &Registered, mut body: Body) -> Response {
    let Some((unit, _number)) = shared.spots.begin(shared, found) else {
        return Problem::forbidden("Only a device's credential speaks for a Spot.").into_response();
    };
    let mut came = BytesMut::new();
    let mut refused = None;
    while let Some(frame) = body.frame().await {
        unit.heard(shared.timers.now());
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) if came.len() + data.len() > BODY_LENGTH_MAX => {
                refused = Some(Problem::too_large(BODY_LENGTH_MAX));
                break;
            }
            Ok(Ok(data)) => came.extend_from_slice(&data),
            Ok(Err(_trailers)) => {}
            Err(error) => {
                tracing::debug!(%error, "a Spot's request broke off");
                refused = Some(Problem::unreadable("The body ended before it was complete."));
                break;
            }
        }
    }
    let kept = keep(shared, found, came).await;
    unit.heard(shared.timers.now());
    match (kept, refused) {
        (Err(error), _) => Problem::from(error).into_response(),
        (Ok(()), Some(problem)) => problem.into_response(),
        (Ok(()), None) => answer(Vec::new()),
    }
}

/// Durable when it returns.
async fn keep(shared: &Shared, found: &Registered, mut came: BytesMut) -> Result<(), StorageError> {
    let (hub, principal) = (&shared.hub, &found.principal);
    let Some(device) = principal.device() else { return Ok(()) };
    let mut position = Position(0);
    while !came.is_empty() {
        let piece = came.split_to(came.len().min(EVENT_LENGTH_MAX)).freeze();
        let mut message = Message::new(own_topic(device, "events/capture"), piece, hub.now());
        message.qos = QoS::AtLeastOnce;
        let content_type = Some(Arc::from(MEDIA_TYPE));
        message.properties = Some(Box::new(Properties { content_type, ..Properties::default() }));
        match hub.publish(principal, message) {
            Ok(published) => position = position.max(published.position.unwrap_or_default()),
            Err(PublishError::Storage(error)) => return Err(error),
            Err(error) => {
                let text = format_args!("a capture: {error}");
                hub.note(&principal.tenant, device, FlightKind::Refused, text, hub.now());
            }
        }
    }
    hub.durable(position).await
}
