//! People who sign in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json as Reply;
use axum::extract::{FromRequest, Path, Request, State};
use axum::response::Response;
use http::{StatusCode, header};
use roost_hub::access::Action;
use roost_hub::id::{TenantId, UserId};
use roost_hub::principal::{Actor, Role};
use roost_hub::registry::{
    CreateUserError, DeleteUserError, NewUser, SignInError, UpdateUserError, User, UserUpdate,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{Caller, busy, slow_down};
use crate::body::Json;
use crate::credentials::hash_password;
use crate::idempotency::secret;
use crate::page::Page;
use crate::params::Params;
use crate::problem::{Problem, sentence};
use crate::route::{Route, delete, get, patch, post};
use crate::session::{counted_address, visit};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/users", list)
            .about("users", "Lists the tenant's people")
            .paged()
            .answers(200, "UserPage"),
        post("/api/v1/users", create)
            .about("users", "Lets somebody sign in")
            .header("Idempotency-Key", "Sent again, the request is answered again, not done again")
            .takes("NewUser")
            .answers(201, "User"),
        get("/api/v1/users/{id}", show).about("users", "Shows a person").answers(200, "User"),
        patch("/api/v1/users/{id}", change)
            .about("users", "Changes a person; everybody may change their own name, and their own password with the one they have")
            .takes("UserUpdate")
            .answers(200, "User"),
        delete("/api/v1/users/{id}", remove).about("users", "Removes a person").answers(204, ""),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    email: String,
    password: String,
    role: Role,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    name: Option<String>,
    role: Option<Role>,
    password: Option<String>,
    current_password: Option<String>,
    disabled: Option<bool>,
}

fn shown(user: &User) -> Value {
    json!({
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "operator": user.operator,
        "disabled": user.disabled,
        "created_at": user.created_at.to_string(),
    })
}

fn unknown() -> Problem {
    Problem::not_found("There is no user of this id.")
}

async fn list(
    State(api): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    caller.may(Action::ManageUsers)?;
    let (limit, cursor) = params.take_page()?;
    params.finish()?;
    let users = api.hub.users(caller.tenant())?;
    let page = Page::cut(users, (limit, cursor.as_deref()), |user| user.id.as_str().to_owned());
    Ok(Reply(Page { items: page.items.iter().map(shown).collect(), next: page.next }))
}

async fn create(
    State(api): State<Shared>,
    caller: Caller,
    Json(body): Json<Create>,
) -> Result<Response, Problem> {
    caller.may(Action::ManageUsers)?;
    let password = hash_password(&api, body.password).await?;
    let new = NewUser { email: body.email, name: body.name, role: body.role, password };
    let user = api.hub.create_user(caller.tenant(), new).await.map_err(|error| match error {
        CreateUserError::Exists => Problem::conflict("The e-mail address is in use already; use another."),
        CreateUserError::Invalid(text) => Problem::invalid(sentence(&text)),
        CreateUserError::TooMany(_) => Problem::conflict(sentence(&error.to_string())),
        CreateUserError::Storage(error) => error.into(),
    })?;
    let location = [(header::LOCATION, format!("/api/v1/users/{}", user.id))];
    // The request held a password, of which not even a quick hash may be stored.
    Ok(secret((StatusCode::CREATED, location, Reply(shown(&user)))))
}

async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Reply<Value>, Problem> {
    caller.may(Action::ManageUsers)?;
    let id = UserId::parse(&id).map_err(|_no_id| unknown())?;
    Ok(Reply(shown(&api.hub.user(caller.tenant(), &id)?.ok_or_else(unknown)?)))
}

/// Who finds a browser open can't make it theirs: a password of one's own is changed by who knows it.
async fn check_own_password(
    api: &Shared,
    user: (&TenantId, &UserId),
    current: Option<String>,
    address: IpAddr,
) -> Result<(), Problem> {
    let (tenant, id) = (user.0.clone(), user.1.clone());
    let Some(current) = current else {
        return Err(Problem::invalid("Send the password that you have now as `current_password`."));
    };
    // Not the identity of a log-in: guessing here shuts nobody out there.
    let (identity, now) = (format!("own {id}"), api.hub.now());
    api.hub.throttle().allow_hashing(address, &identity, now).map_err(slow_down)?;
    let hub = Arc::clone(&api.hub);
    let verified = tokio::task::spawn_blocking(move || hub.verify_password_of(&tenant, &id, &current)).await;
    match verified.unwrap_or(Err(SignInError::Busy)) {
        Ok(()) => Ok(()),
        Err(SignInError::Wrong) => {
            api.hub.throttle().login_failed(address, &identity, now);
            Err(Problem::forbidden("`current_password` is not the password that you have now."))
        }
        Err(SignInError::Busy) => Err(busy()),
        Err(SignInError::Storage(error)) => Err(error.into()),
    }
}

async fn change(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Reply<Value>, Problem> {
    let address = counted_address(&visit(request.headers(), request.extensions()));
    let Json(body): Json<Update> = Json::from_request(request, &()).await?;
    let id = UserId::parse(&id);
    let is_self = matches!((&caller.principal.actor, &id), (Actor::User { user, .. }, Ok(id)) if user == id);
    if !is_self || body.role.is_some() || body.disabled.is_some() {
        caller.may(Action::ManageUsers)?;
    }
    let id = id.map_err(|_no_id| unknown())?;
    let password = match body.password {
        Some(text) => {
            if is_self {
                check_own_password(&api, (caller.tenant(), &id), body.current_password, address).await?;
            }
            Some(hash_password(&api, text).await?)
        }
        None => None,
    };
    let stays = is_self.then(|| caller.principal.credential.as_ref().map(|own| own.id.clone())).flatten();
    let (name, role, disabled) = (body.name, body.role, body.disabled);
    let update = UserUpdate { name, role, password, stays, disabled };
    let updated = api.hub.update_user(caller.tenant(), &id, update).await;
    let user = updated.map_err(|error| match error {
        UpdateUserError::Unknown => unknown(),
        UpdateUserError::LastOwner => Problem::conflict(sentence(&error.to_string())),
        UpdateUserError::Invalid(text) => Problem::invalid(sentence(&text)),
        UpdateUserError::Storage(error) => error.into(),
    })?;
    Ok(Reply(shown(&user)))
}

async fn remove(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::ManageUsers)?;
    let id = UserId::parse(&id).map_err(|_no_id| unknown())?;
    match api.hub.delete_user(caller.tenant(), &id).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(DeleteUserError::Unknown) => Err(unknown()),
        Err(error @ DeleteUserError::LastOwner) => Err(Problem::conflict(sentence(&error.to_string()))),
        Err(DeleteUserError::Storage(error)) => Err(error.into()),
    }
}
