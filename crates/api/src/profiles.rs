//! Device profiles.

use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use roost_hub::access::{Action, GrantRules};
use roost_hub::id::ProfileId;
use roost_hub::registry::{DIALECT_PROFILES, Profile, PutProfileError};
use roost_wire::decoder::Decoder;
use roost_wire::dialect;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::auth::Caller;
use crate::body::Json;
use crate::decoders;
use crate::page::Page;
use crate::params::Params;
use crate::problem::{Problem, sentence};
use crate::route::{Route, get, post};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/profiles", list)
            .about("profiles", "Lists the profiles, the built-in ones first")
            .paged()
            .answers(200, "ProfilePage"),
        post("/api/v1/profiles", put)
            .about("profiles", "Makes a profile, or replaces the one of this id")
            .header("Idempotency-Key", "Sent again, the request is answered again, not done again")
            .takes("NewProfile")
            .answers(201, "Profile"),
        get("/api/v1/profiles/{id}", show).about("profiles", "Shows a profile").answers(200, "Profile"),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    id: ProfileId,
    name: Option<String>,
    #[serde(default)]
    grants: GrantRules,
    dialect: Option<Value>,
    decoder: Option<Value>,
    commands: Option<Value>,
    limits: Option<Value>,
    retention: Option<Value>,
}

fn shown(profile: &Profile) -> Value {
    let mut shown = json!(profile);
    if let Some(members) = shown.as_object_mut() {
        let built_in = is_built_in(profile.id.as_str());
        members.insert("built_in".to_owned(), built_in.into());
    }
    shown
}

fn is_built_in(id: &str) -> bool {
    ["standard", "strict"].contains(&id) || DIALECT_PROFILES.contains(&id)
}

async fn list(
    State(api): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    caller.may(Action::ReadDevices)?;
    let (limit, cursor) = params.take_page()?;
    params.finish()?;
    let mut profiles = Vec::new();
    for name in ["standard", "strict"].into_iter().chain(DIALECT_PROFILES) {
        profiles.extend(api.hub.profile(caller.tenant(), &ProfileId::parse(name)?)?);
    }
    profiles.extend(api.hub.profiles(caller.tenant())?);
    // Sorted by "is our own", then the name; the cursor is both.
    let name = |profile: &Profile| {
        let place = if is_built_in(profile.id.as_str()) { "0" } else { "1" };
        format!("{place}{}", profile.id)
    };
    profiles.sort_by_key(name);
    let page = Page::cut(profiles, (limit, cursor.as_deref()), name);
    Ok(Reply(Page { items: page.items.iter().map(shown).collect(), next: page.next }))
}

async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Reply<Value>, Problem> {
    caller.may(Action::ReadDevices)?;
    let unknown = || Problem::not_found("There is no profile of this id.");
    let id = ProfileId::parse(&id).map_err(|_no_id| unknown())?;
    Ok(Reply(shown(&api.hub.profile(caller.tenant(), &id)?.ok_or_else(unknown)?)))
}

/// A dialect is one that there is, configured as it can be.
fn check_dialect(profile: &Map<String, Value>) -> Result<(), Problem> {
    let Some(said) = profile.get("dialect") else { return Ok(()) };
    let name = said.get("name").unwrap_or(said).as_str();
    let Some(name) = name.filter(|name| DIALECT_PROFILES.contains(name)) else {
        let names = DIALECT_PROFILES.join(", ");
        return Err(Problem::invalid(format!("`dialect` is one of {names}, or an object with its `name`.")));
    };
    match dialect::open(name, profile) {
        Some(Err(wrong)) => Err(Problem::invalid(format!("`dialect`: {wrong}."))),
        Some(Ok(_)) | None => Ok(()),
    }
}

async fn put(State(api): State<Shared>, caller: Caller, Json(body): Json<Put>) -> Result<Response, Problem> {
    caller.may(Action::ManageProfiles)?;
    if let Some(declaration) = &body.decoder {
        Decoder::parse(declaration).map_err(|error| decoders::invalid(&error))?;
    }
    let parts = [
        ("dialect", body.dialect),
        ("decoder", body.decoder),
        (dialect::COMMANDS, body.commands),
        ("limits", body.limits),
        ("retention", body.retention),
    ];
    let more: Map<String, Value> =
        parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    check_dialect(&more)?;
    dialect::controls(&more).map_err(|wrong| Problem::invalid(format!("`commands`: {wrong}.")))?;
    let profile = Profile { id: body.id, name: body.name, grants: body.grants, more };
    let put = api.hub.put_profile(caller.tenant(), profile).await;
    let profile = put.map_err(|error| match error {
        PutProfileError::BuiltIn => {
            Problem::conflict("A built-in profile cannot be changed; choose another id.")
        }
        PutProfileError::Invalid(text) => Problem::invalid(sentence(&text)),
        PutProfileError::Storage(error) => error.into(),
    })?;
    let location = [(header::LOCATION, format!("/api/v1/profiles/{}", profile.id))];
    Ok((StatusCode::CREATED, location, Reply(shown(&profile))).into_response())
}
