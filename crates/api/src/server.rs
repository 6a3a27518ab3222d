//! What the server says about itself.

use axum::Json as Reply;
use axum::extract::State;
use serde_json::{Map, Value, json};

use crate::auth::Caller;
use crate::problem::Problem;
use crate::route::{Route, get};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/server", show)
            .about("server", "Version, doors, what an acknowledgement means")
            .answers(200, "Server"),
    ]
}

async fn show(State(api): State<Shared>, _caller: Caller) -> Result<Reply<Value>, Problem> {
    let info = &api.info;
    let doors: Map<String, Value> =
        info.doors.iter().map(|(name, address)| (name.clone(), address.as_str().into())).collect();
    Ok(Reply(json!({
        "version": info.version,
        "acks": info.acks,
        "started_at": info.started_at.to_string(),
        "doors": doors,
        "retention": info.retention,
        "time": api.hub.now().to_string(),
    })))
}
