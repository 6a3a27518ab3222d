//! What a device may show to log in.

use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{StatusCode, header};
use roost_hub::access::Action;
use roost_hub::id::CredentialId;
use roost_hub::registry::{
    AddCredentialError, Credential, CredentialKind, HashPasswordError, NewCredential, RevokeCredentialError,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{Caller, busy};
use crate::body::Json;
use crate::idempotency::secret;
use crate::page::Page;
use crate::params::Params;
use crate::problem::{Problem, sentence};
use crate::route::{Route, delete, get, post};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/devices/{id}/credentials", list)
            .about("credentials", "Lists a device's credentials, without their secrets")
            .paged()
            .answers(200, "CredentialPage"),
        post("/api/v1/devices/{id}/credentials", create)
            .about("credentials", "Adds a credential; a secret that was made up is shown this once")
            .header("Idempotency-Key", "Sent again, the request is answered again, not done again")
            .takes("NewCredential")
            .answers(201, "Credential"),
        delete("/api/v1/devices/{id}/credentials/{cid}", remove)
            .about("credentials", "Revokes a credential; connections that it opened drop at once")
            .answers(204, ""),
    ]
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Create {
    Token { token: Option<String> },
    Password { password: String },
    Psk { identity: String, key: Option<String>, key_hex: Option<String>, key_base64: Option<String> },
    X509 { common_name: Option<String> },
}

fn shown(credential: &Credential) -> Value {
    let mut shown = json!({
        "id": credential.id,
        "kind": credential.kind,
        "created_at": credential.created_at.to_string(),
    });
    let member = match credential.kind {
        CredentialKind::Psk => "identity",
        CredentialKind::X509 => "common_name",
        CredentialKind::Token | CredentialKind::Password => return shown,
    };
    if let (Some(members), Some(name)) = (shown.as_object_mut(), &credential.name) {
        members.insert(member.to_owned(), name.as_str().into());
    }
    shown
}

async fn list(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    let device = caller.device(&api, &id, |_id| Action::WriteDevices)?;
    let (limit, cursor) = params.take_page()?;
    params.finish()?;
    let credentials = api.hub.credentials(caller.tenant(), &device.id)?;
    let page = Page::cut(credentials, (limit, cursor.as_deref()), |one| one.id.as_str().to_owned());
    Ok(Reply(Page { items: page.items.iter().map(shown).collect(), next: page.next }))
}

async fn create(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<Create>,
) -> Result<Response, Problem> {
    let device = caller.device(&api, &id, |_id| Action::WriteDevices)?;
    let new = match body {
        Create::Token { token } => NewCredential::Token { given: token },
        Create::Password { password } => {
            NewCredential::Password { hash: hash_password(&api, password).await? }
        }
        Create::Psk { identity, key, key_hex, key_base64 } => {
            NewCredential::Psk { identity, key: psk(key, key_hex, key_base64)? }
        }
        Create::X509 { common_name } => NewCredential::X509 { common_name },
    };
    let added = api.hub.add_credential(caller.tenant(), &device.id, new).await;
    let (credential, made) = added.map_err(|error| match error {
        AddCredentialError::DeviceUnknown => Problem::not_found(format!("There is no device {}.", device.id)),
        AddCredentialError::Taken(text) => Problem::conflict(sentence(text)),
        AddCredentialError::Invalid(text) => Problem::invalid(sentence(&text)),
        AddCredentialError::TooMany(_) => Problem::conflict(sentence(&error.to_string())),
        AddCredentialError::Storage(error) => error.into(),
    })?;
    let mut body = shown(&credential);
    if let (Some(members), Some(made)) = (body.as_object_mut(), made) {
        let name = if credential.kind == CredentialKind::Psk { "key" } else { "token" };
        members.insert(name.to_owned(), made.reveal().into());
    }
    let location = format!("/api/v1/devices/{}/credentials/{}", device.id, credential.id);
    Ok(secret((StatusCode::CREATED, [(header::LOCATION, location)], Reply(body))))
}

fn psk(
    key: Option<String>,
    key_hex: Option<String>,
    key_base64: Option<String>,
) -> Result<Option<Vec<u8>>, Problem> {
    match (key, key_hex, key_base64) {
        (None, None, None) => Ok(None),
        (Some(text), None, None) => Ok(Some(text.into_bytes())),
        (None, Some(text), None) => hex::decode(text)
            .map(Some)
            .map_err(|_no_hex| Problem::invalid("`key_hex` is an even number of hexadecimal digits.")),
        (None, None, Some(text)) => STANDARD
            .decode(text)
            .map(Some)
            .map_err(|_no_base64| Problem::invalid("`key_base64` is no base64.")),
        _ => Err(Problem::invalid("Give one of `key`, `key_hex` and `key_base64`.")),
    }
}

/// Hashes a password on a thread that may take its time.
pub(crate) async fn hash_password(
    api: &Shared,
    password: String,
) -> Result<roost_hub::registry::PasswordHash, Problem> {
    let hub = std::sync::Arc::clone(&api.hub);
    let hashed = tokio::task::spawn_blocking(move || hub.hash_password(&password)).await;
    match hashed {
        Ok(Ok(hash)) => Ok(hash),
        Ok(Err(error @ HashPasswordError::Length)) => Err(Problem::invalid(sentence(&error.to_string()))),
        Ok(Err(HashPasswordError::Busy)) | Err(_) => Err(busy()),
    }
}

async fn remove(
    State(api): State<Shared>,
    caller: Caller,
    Path((id, cid)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let device = caller.device(&api, &id, |_id| Action::WriteDevices)?;
    let unknown = || Problem::not_found("The device has no such credential.");
    let credential = CredentialId::parse(&cid).map_err(|_no_id| unknown())?;
    match api.hub.revoke_credential(caller.tenant(), &device.id, &credential).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(RevokeCredentialError::Unknown) => Err(unknown()),
        Err(RevokeCredentialError::Storage(error)) => Err(error.into()),
    }
}
