//! API tokens.

use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{StatusCode, header};
use roost_hub::access::Action;
use roost_hub::id::TokenId;
use roost_hub::principal::Role;
use roost_hub::registry::{CreateTokenError, DeleteTokenError, NewToken, Token};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::body::Json;
use crate::duration::JsonDuration;
use crate::idempotency::secret;
use crate::page::Page;
use crate::params::Params;
use crate::problem::{Problem, sentence};
use crate::route::{Route, delete, get, post};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/tokens", list)
            .about("tokens", "Lists the tenant's API tokens, without their secrets")
            .paged()
            .answers(200, "TokenPage"),
        post("/api/v1/tokens", create)
            .about("tokens", "Makes an API token; it is shown this once")
            .header("Idempotency-Key", "Sent again, the request is answered again, not done again")
            .takes("NewToken")
            .answers(201, "Token"),
        delete("/api/v1/tokens/{id}", remove)
            .about("tokens", "Deletes a token; connections that it opened drop at once")
            .answers(204, ""),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: String,
    role: Role,
    expires_in: Option<JsonDuration>,
    #[serde(default)]
    operator: bool,
}

fn shown(token: &Token) -> Value {
    json!({
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "operator": token.operator,
        "created_at": token.created_at.to_string(),
        "expires_at": token.expires_at.map(|at| at.to_string()),
    })
}

async fn list(
    State(api): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    caller.may(Action::ManageTokens)?;
    let (limit, cursor) = params.take_page()?;
    params.finish()?;
    let tokens = api.hub.tokens(caller.tenant())?;
    let page = Page::cut(tokens, (limit, cursor.as_deref()), |token| token.id.as_str().to_owned());
    Ok(Reply(Page { items: page.items.iter().map(shown).collect(), next: page.next }))
}

async fn create(
    State(api): State<Shared>,
    caller: Caller,
    Json(body): Json<Create>,
) -> Result<Response, Problem> {
    caller.may(Action::ManageTokens)?;
    if body.operator && !caller.principal.is_operator() {
        return Err(Problem::forbidden("Only the operator of the server may make a token for the operator."));
    }
    let expires_at = body.expires_in.map(|JsonDuration(duration)| api.hub.now().after(duration));
    let new = NewToken { name: body.name, role: body.role, operator: body.operator, expires_at };
    let (token, made) = api.hub.create_token(caller.tenant(), new).await.map_err(|error| match error {
        CreateTokenError::Invalid(text) => Problem::invalid(sentence(&text)),
        CreateTokenError::TooMany(_) => Problem::conflict(sentence(&error.to_string())),
        CreateTokenError::Storage(error) => error.into(),
    })?;
    let mut body = shown(&token);
    if let Some(members) = body.as_object_mut() {
        members.insert("token".to_owned(), made.reveal().into());
    }
    let location = [(header::LOCATION, format!("/api/v1/tokens/{}", token.id))];
    Ok(secret((StatusCode::CREATED, location, Reply(body))))
}

async fn remove(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::ManageTokens)?;
    let unknown = || Problem::not_found("There is no token of this id.");
    let id = TokenId::parse(&id).map_err(|_no_id| unknown())?;
    match api.hub.delete_token(caller.tenant(), &id).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(DeleteTokenError::Unknown) => Err(unknown()),
        Err(DeleteTokenError::Storage(error)) => Err(error.into()),
    }
}
