//! Who am I?

use axum::Json as Reply;
use roost_hub::principal::Actor;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::problem::Problem;
use crate::route::{Route, get};

pub(crate) fn routes() -> Vec<Route> {
    vec![get("/api/v1/me", show).about("session", "Who the credential is").answers(200, "Me")]
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
