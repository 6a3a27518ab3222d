//! How a device and the server reach each other.

use axum::Json as Reply;
use axum::extract::{Path, State};
use roost_hub::access::Action;
use roost_hub::registry::{Device, DeviceUpdate};
use serde_json::Value;

use crate::auth::Caller;
use crate::body::Json;
use crate::devices::{refuse_dialling, updated};
use crate::problem::Problem;
use crate::route::{Route, get, put};
use crate::state::{Api, Shared};

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/devices/{id}/links", show)
            .about("devices", "Shows a device's links, each with its state")
            .answers(200, "Links"),
        put("/api/v1/devices/{id}/links", replace)
            .about("devices", "Sets all links of a device; those that dial answer 501")
            .takes("Links")
            .answers(200, "Links"),
    ]
}

/// The links, each with its state: a link that listens is as online as the device.
fn shown(api: &Api, caller: &Caller, device: &Device) -> Value {
    let presence = api.hub.presence(caller.tenant(), &device.id);
    let state = if presence.online { "online" } else { "offline" };
    let link = |link: &Value| {
        let mut link = link.clone();
        if let Some(members) = link.as_object_mut() {
            members.insert("state".to_owned(), Value::from(state));
        }
        link
    };
    Value::Array(device.links.iter().map(link).collect())
}

async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Reply<Value>, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    Ok(Reply(shown(&api, &caller, &device)))
}

async fn replace(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Json(mut links): Json<Vec<Value>>,
) -> Result<Reply<Value>, Problem> {
    let device = caller.device(&api, &id, |_id| Action::WriteDevices)?;
    refuse_dialling(&links)?;
    // What was shown may be sent back.
    for link in links.iter_mut().filter_map(Value::as_object_mut) {
        link.remove("state");
    }
    let update = DeviceUpdate { links: Some(links), ..DeviceUpdate::default() };
    let device = updated(&api, &caller, &device.id, update).await?;
    Ok(Reply(shown(&api, &caller, &device)))
}
