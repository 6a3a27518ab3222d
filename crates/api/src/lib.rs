//! The HTTP API under `/api/v1`, the live feed, `/metrics`, health, `/openapi.json` and the
//! dashboard's files. It can do only what the hub and the history offer.

mod auth;
mod body;
mod broker;
mod commands;
mod credentials;
mod dashboard;
mod decoders;
mod devices;
mod documents;
mod duration;
mod gateway;
mod health;
mod idempotency;
mod inbox;
mod later;
mod layers;
mod links;
mod live;
mod log;
mod me;
mod metrics;
mod openapi;
mod page;
mod params;
mod problem;
mod profiles;
mod replay;
mod route;
mod server;
mod session;
mod setup;
mod state;
mod telemetry;
mod tenants;
mod tokens;
mod twin;
mod users;
mod waiting;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};

pub use session::Https;
pub use state::{ApiState, ServerInfo};

use state::Api;

/// The router of everything that this crate serves.
///
/// The listener puts an `axum::extract::ConnectInfo<SocketAddr>` into each request's extensions, by
/// which failed log-ins are counted, and [`Https`] where the request came over TLS.
pub fn router(state: ApiState) -> Router {
    router_over(state, Router::new())
}

/// The same around the routes of an adapter, so that `Idempotency-Key`, problem documents and
/// security headers hold for those as well. Names of path parameters must be the ones of
/// `/openapi.json`.
pub fn router_over(state: ApiState, adapter: Router) -> Router {
    let api = Arc::new(Api::from(state));
    route::router(route::all())
        .layer(DefaultBodyLimit::max(body::BODY_LENGTH_MAX))
        .with_state(Arc::clone(&api))
        .merge(adapter)
        .layer(from_fn_with_state(api, idempotency::layer))
        .fallback(dashboard::serve)
        .layer(from_fn(layers::layer))
}
