//! Families of devices that come in over HTTP with paths of their own.

use std::sync::Arc;

use axum::Router;

use super::{influx, olimex, spot};
use crate::shared::Shared;

/// Their routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    spot::routes().merge(olimex::routes()).merge(influx::routes()).with_state(shared)
}

/// The path as it is routed, where firmware is free to write it otherwise.
pub(crate) fn canonical_path(path: &str) -> Option<String> {
    // OLIMEX nodes post to `/` where their makers' documents say so.
    if path == "/" { Some("/events".to_owned()) } else { spot::canonical_path(path) }
}
