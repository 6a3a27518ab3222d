//! The registry of devices.

use std::collections::BTreeMap;

use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use roost_hub::access::Action;
use roost_hub::id::{CredentialId, DeviceId, ProfileId};
use roost_hub::registry::{
    CreateDeviceError, DeleteDeviceError, Device, DeviceQuery, DeviceUpdate, NewDevice, Secret,
    UpdateDeviceError,
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::body::Json;
use crate::idempotency::secret;
use crate::page::Page;
use crate::params::Params;
use crate::problem::{Problem, sentence};
use crate::route::{Route, delete, get, patch, post};
use crate::state::{Api, Shared};
use crate::telemetry::latest_values;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/devices", list)
            .about("devices", "Lists devices")
            .query("q", "string", "A part of the id, the name or a label, in any case")
            .query("label", "string", "`name` or `name=value` of a label")
            .query("online", "boolean", "Only those that are connected, or that are not")
            .query("latest", "boolean", "With the latest values of each")
            .paged()
            .answers(200, "DevicePage"),
        post("/api/v1/devices", create)
            .about("devices", "Adds a device; its token is shown this once")
            .header("Idempotency-Key", "Sent again, the request is answered again, not done again")
            .takes("NewDevice")
            .answers(201, "CreatedDevice"),
        get("/api/v1/devices/{id}", show).about("devices", "Shows a device").answers(200, "Device"),
        patch("/api/v1/devices/{id}", change)
            .about("devices", "Changes a device; what is left out stays")
            .takes("DeviceUpdate")
            .answers(200, "Device"),
        delete("/api/v1/devices/{id}", remove)
            .about(
                "devices",
                "Deletes a device with everything that is its own; its connections drop at once",
            )
            .answers(204, ""),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    id: Option<DeviceId>,
    name: Option<String>,
    profile: Option<ProfileId>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    parent: Option<DeviceId>,
    #[serde(default)]
    links: Vec<Value>,
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    name: Option<String>,
    profile: Option<ProfileId>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "present")]
    parent: Option<Option<DeviceId>>,
    links: Option<Vec<Value>>,
}

/// Tells a null that was given from a member that was not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<DeviceId>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A device as it is answered.
fn shown(api: &Api, caller: &Caller, device: &Device) -> Value {
    let presence = api.hub.presence(caller.tenant(), &device.id);
    json!({
        "id": device.id,
        "name": device.name,
        "profile": device.profile,
        "labels": device.labels,
        "parent": device.parent,
        "links": device.links,
        "online": presence.online,
        "last_seen": presence.last_seen.map(|at| at.to_string()),
        "created_at": device.created_at.to_string(),
    })
}

/// Nothing dials yet, so taking such a link would be a promise that is not kept. Of one that listens,
/// the hub says what is wrong with it.
pub(crate) fn refuse_dialling(links: &[Value]) -> Result<(), Problem> {
    if links.iter().any(|link| link.get("dial").is_some()) {
        return Err(Problem::not_yet("This version dials no device yet; leave links with `dial` out."));
    }
    if links.iter().all(|link| link.get("listen").is_some()) {
        return Ok(());
    }
    Err(Problem::invalid("A link has `listen` or `dial`."))
}

async fn list(State(api): State<Shared>, caller: Caller, mut params: Params) -> Result<Response, Problem> {
    caller.may(Action::ReadDevices)?;
    let (limit, cursor) = params.take_page()?;
    let query = DeviceQuery {
        q: params.take("q")?,
        label: params.take("label")?,
        online: params.take_flag("online")?,
        limit,
        cursor,
    };
    let with_latest = params.take_flag("latest")?.unwrap_or(false);
    params.finish()?;
    let page = api.hub.devices(caller.tenant(), &query)?;
    let item = |device: &Device| {
        let mut item = shown(&api, &caller, device);
        if with_latest && let Some(members) = item.as_object_mut() {
            members.insert("latest".to_owned(), latest_values(&api, caller.tenant(), &device.id, &[])?);
        }
        Ok(item)
    };
    let items = page.items.iter().map(item).collect::<Result<Vec<Value>, Problem>>()?;
    Ok(Reply(Page { items, next: page.next }).into_response())
}

async fn create(
    State(api): State<Shared>,
    caller: Caller,
    Json(body): Json<Create>,
) -> Result<Response, Problem> {
    caller.may(Action::WriteDevices)?;
    refuse_dialling(&body.links)?;
    let new = NewDevice {
        id: body.id,
        name: body.name,
        profile: body.profile,
        labels: body.labels,
        parent: body.parent,
        links: body.links,
        token: body.token,
    };
    let wanted = new.id.clone();
    let made = api.hub.create_device(caller.tenant(), new).await;
    let (device, credential, token) = made.map_err(|error| not_created(error, wanted))?;
    Ok(created(&api, &caller, &device, (&credential, &token)))
}

/// A new device with its token, which is shown this once.
pub(crate) fn created(
    api: &Api,
    caller: &Caller,
    device: &Device,
    (credential, token): (&CredentialId, &Secret),
) -> Response {
    let mut body = shown(api, caller, device);
    if let Some(members) = body.as_object_mut() {
        let credential = json!({ "id": credential, "kind": "token", "token": token.reveal() });
        members.insert("credential".to_owned(), credential);
    }
    let location = [(header::LOCATION, format!("/api/v1/devices/{}", device.id))];
    secret((StatusCode::CREATED, location, Reply(body)))
}

/// Why a device could not be registered under the id that was wanted.
pub(crate) fn not_created(error: CreateDeviceError, wanted: Option<DeviceId>) -> Problem {
    match error {
        CreateDeviceError::Exists => Problem::conflict(match wanted {
            Some(id) => format!("There is a device {id} already; choose another id."),
            None => "There is a device of this id already; choose another.".to_owned(),
        }),
        CreateDeviceError::Invalid(text) => Problem::invalid(sentence(&text)),
        CreateDeviceError::TooMany(_) => Problem::conflict(sentence(&error.to_string())),
        CreateDeviceError::Storage(error) => error.into(),
    }
}

async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Reply<Value>, Problem> {
    let device = caller.device(&api, &id, |id| Action::ReadDevice(id))?;
    Ok(Reply(shown(&api, &caller, &device)))
}

async fn change(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Update>,
) -> Result<Reply<Value>, Problem> {
    let device = caller.device(&api, &id, |_id| Action::WriteDevices)?;
    refuse_dialling(body.links.as_deref().unwrap_or_default())?;
    let update = DeviceUpdate {
        name: body.name,
        profile: body.profile,
        labels: body.labels,
        links: body.links,
        parent: body.parent,
    };
    let device = updated(&api, &caller, &device.id, update).await?;
    Ok(Reply(shown(&api, &caller, &device)))
}

/// Changes a device of the caller's tenant.
pub(crate) async fn updated(
    api: &Api,
    caller: &Caller,
    id: &DeviceId,
    update: DeviceUpdate,
) -> Result<Device, Problem> {
    api.hub.update_device(caller.tenant(), id, update).await.map_err(|error| match error {
        UpdateDeviceError::Unknown => Problem::not_found(format!("There is no device {id}.")),
        UpdateDeviceError::Invalid(text) => Problem::invalid(sentence(&text)),
        UpdateDeviceError::Storage(error) => error.into(),
    })
}

async fn remove(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let device = caller.device(&api, &id, |_id| Action::WriteDevices)?;
    match api.hub.delete_device(caller.tenant(), &device.id).await {
        Ok(()) | Err(DeleteDeviceError::Unknown) => Ok(StatusCode::NO_CONTENT),
        Err(DeleteDeviceError::Storage(error)) => Err(error.into()),
    }
}
