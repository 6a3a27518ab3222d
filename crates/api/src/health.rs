//! Whether the server lives and whether it can take writes.

use axum::Json as Reply;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use roost_hub::storage::StorageError;
use serde_json::json;

use crate::problem::Problem;
use crate::route::{Route, get};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/healthz", healthz)
            .about("server", "200 while the server lives")
            .answers(200, "text/plain")
            .open(),
        get("/readyz", readyz)
            .about("server", "200 while it can take writes; 503 when the store is broken or full")
            .answers(200, "Ready")
            .open(),
    ]
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(api): State<Shared>) -> Response {
    let store = api.hub.store();
    let full = store.log.is_full().then_some(StorageError::Full);
    let refused = api.hub.durability().broken().or(full);
    match refused {
        None => Reply(json!({ "status": "ready", "acks": api.info.acks })).into_response(),
        Some(StorageError::Full) => {
            Problem::unavailable("The disk is full: reading goes on, writing does not.")
                .with("acks", api.info.acks.as_str().into())
                .into_response()
        }
        Some(_) => Problem::unavailable("The store is broken; the server's log says why.").into_response(),
    }
}
