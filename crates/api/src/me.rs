//! Who am I, and where am I signed in?

use axum::Json as Reply;
use axum::extract::{Path, State};
use http::StatusCode;
use roost_hub::id::{CredentialId, UserId};
use roost_hub::principal::Actor;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::page::Page;
use crate::problem::Problem;
use crate::route::{Route, delete, get};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/me", show).about("session", "Who the credential is").answers(200, "Me"),
        get("/api/v1/me/sessions", sessions)
            .about("session", "Where one is signed in at the dashboard, the newest first")
            .answers(200, "WebSessionPage"),
        delete("/api/v1/me/sessions/{id}", end)
            .about("session", "Signs out in one of these places")
            .answers(204, ""),
    ]
}

async fn show(caller: Caller) -> Result<Reply<Value>, Problem> {
    let principal = &caller.principal;
    let mut me = match &principal.actor {
        Actor::Device { device, profile, .. } => {
            json!({ "kind": "device", "id": device, "device": device, "profile": profile })
        }
        Actor::Application { token, name, role, .. } => {
            json!({ "kind": "token", "id": token, "name": &**name, "role": role })
        }
        Actor::User { user, role, .. } => json!({ "kind": "user", "id": user, "role": role }),
    };
    if let Some(members) = me.as_object_mut() {
        members.insert("tenant".to_owned(), json!(principal.tenant));
        members.insert("operator".to_owned(), principal.is_operator().into());
    }
    Ok(Reply(me))
}

fn person(caller: &Caller) -> Result<&UserId, Problem> {
    match &caller.principal.actor {
        Actor::User { user, .. } => Ok(user),
        Actor::Application { .. } | Actor::Device { .. } => {
            Err(Problem::forbidden("Only a person signs in; GET /api/v1/tokens lists API tokens."))
        }
    }
}

async fn sessions(State(api): State<Shared>, caller: Caller) -> Result<Reply<Page<Value>>, Problem> {
    let own = caller.principal.credential.as_ref().map(|credential| &credential.id);
    let found = api.hub.web_sessions(caller.tenant(), person(&caller)?)?;
    let shown = found.iter().rev().map(|session| {
        json!({
            "id": session.id,
            "current": own == Some(&session.id),
            "created_at": session.started_at.map(|at| at.to_string()),
            "expires_at": session.expires_at.to_string(),
            "address": session.visit.address,
            "browser": session.visit.browser,
        })
    });
    Ok(Reply(Page { items: shown.collect(), next: None }))
}

async fn end(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let user = person(&caller)?;
    let unknown = || Problem::not_found("You are not signed in under this id; it may be over already.");
    let id = CredentialId::parse(&id).map_err(|_no_id| unknown())?;
    let has_ended = api.hub.end_web_session(caller.tenant(), user, &id).await?;
    if has_ended { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}
