//! Devices that speak plain HTTP: telemetry in, commands out, publishing.
//!
//! The door before it paces bodies; what is decided here is what they say and who says it.

pub(super) mod body;
mod caller;
mod commands;
mod gunzip;
mod lines;
mod named;
pub(crate) mod plain;
mod publish;
mod query;
mod radio;
mod refusal;
mod telemetry;
mod thingsboard;
mod told;
pub(super) mod unpack;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use roost_hub::Hub;

use super::decoders::Decoders;
use super::downlinks::Downlinks;
use crate::listener::Gateway;
use crate::settings::TelemetryByQuery;
use crate::shared::Shared;

/// What all requests share.
#[derive(Debug)]
struct Ingest {
    hub: Arc<Hub>,
    decoders: Decoders,
    /// The largest body that is no stream, in bytes.
    body_length_max: usize,
    /// For how long a stream may be silent.
    stream_idle_max: Duration,
    telemetry_by_query: TelemetryByQuery,
    waiting: waiting::Waiting,
    turns: named::Turns,
    downlinks: Arc<Downlinks>,
}

/// The calls of the HTTP API by which devices come in (interface.md, "HTTP"): telemetry, the device's
/// own commands, `publish`. No fallback, so that it can be merged with the rest of the API. Requests
/// carry [`crate::http::Peer`]; without one, failed log-ins of all such requests count together. What
/// leaves later because of what came in, leaves when the gateway runs.
pub fn router(gateway: &Gateway) -> Router {
    let Shared { hub, settings, downlinks, .. } = &**gateway.shared();
    let ingest = Ingest {
        hub: Arc::clone(hub),
        downlinks: Arc::clone(downlinks),
        decoders: Decoders::default(),
        body_length_max: settings.body_length_max,
        stream_idle_max: settings.stream_idle_max,
        telemetry_by_query: settings.telemetry_by_query,
        waiting: waiting::Waiting::default(),
        turns: named::Turns::default(),
    };
    Router::new()
        .route("/api/v1/devices/{id}/telemetry", post(telemetry::of_device))
        .route("/api/v1/me/telemetry", post(telemetry::own).get(query::own))
        .route("/api/v1/me/telemetry/{key}", post(query::one))
        .route("/api/v1/me/commands", get(commands::fetch).head(commands::not_by_head))
        .route("/api/v1/me/commands/{cid}/result", post(commands::answer))
        .route("/api/v1/publish", post(publish::publish))
        .route("/api/v1/radio/{operator}", post(radio::take))
        .merge(thingsboard::routes())
        .with_state(Arc::new(ingest))
}
