//! An MQTT publish over HTTP.

use std::sync::Arc;

use axum::extract::{Request, State};
use http::StatusCode;

use super::caller::Caller;
use super::refusal::Refusal;
use super::{Ingest, body};
use crate::adapters::decoders::Source;
use crate::adapters::said::{self, SaidPublish};

pub(super) async fn publish(
    State(ingest): State<Arc<Ingest>>,
    caller: Caller,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let said: SaidPublish = body::json(request, ingest.body_length_max).await?;
    let source = Source { hub: &ingest.hub, decoders: &ingest.decoders, principal: &caller.0 };
    let message = said.message(source)?;
    said::take_turn(&ingest.hub, &caller.0, &message)?;
    said::publish(&ingest.hub, &caller.0, message).await?;
    Ok(StatusCode::NO_CONTENT)
}
