//! The first owner.

use axum::Json as Reply;
use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use roost_hub::principal::Role;
use roost_hub::registry::{NewUser, SetUpError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::Json;
use crate::credentials::hash_password;
use crate::problem::{Problem, sentence};
use crate::route::{Route, get, post};
use crate::session::{self, Https};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/setup", show)
            .about("session", "Whether the server still needs its first owner")
            .answers(200, "SetupNeeded")
            .open(),
        post("/api/v1/setup", set_up)
            .about("session", "Makes the first owner with the token of the set-up link, and signs them in")
            .takes("SetUp")
            .answers(201, "Session")
            .open(),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetUp {
    token: String,
    email: String,
    password: String,
    name: Option<String>,
}

async fn show(State(api): State<Shared>) -> Result<Reply<Value>, Problem> {
    Ok(Reply(json!({ "needed": api.hub.setup_needed()? })))
}

async fn set_up(State(api): State<Shared>, request: Request) -> Result<Response, Problem> {
    session::check_own_page(request.headers())?;
    let https = request.extensions().get::<Https>().copied();
    let visit = session::visit(request.headers(), request.extensions());
    let Json(SetUp { token, email, password, name }) = Json::from_request(request, &()).await?;
    if !api.hub.setup_needed()? {
        return Err(refusal(SetUpError::Done));
    }
    let password = hash_password(&api, password).await?;
    let owner = NewUser { email, name, role: Role::Owner, password };
    let (secret, principal) = api.hub.set_up(&token, owner, visit).await.map_err(refusal)?;
    let body = session::shown(&api, &principal)?;
    Ok((StatusCode::CREATED, session::cookie(&secret, https), Reply(body)).into_response())
}

fn refusal(error: SetUpError) -> Problem {
    match error {
        SetUpError::Token => Problem::forbidden(
            "The set-up link is wrong, used or too old; take the one that the server printed last.",
        ),
        SetUpError::Done => Problem::conflict("There is an owner already; sign in."),
        SetUpError::Invalid(text) => Problem::invalid(sentence(&text)),
        SetUpError::Storage(error) => error.into(),
    }
}
