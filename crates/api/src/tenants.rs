//! Tenants; the operator's.

use axum::Json as Reply;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{StatusCode, header};
use roost_hub::access::Action;
use roost_hub::id::TenantId;
use roost_hub::registry::{CreateTenantError, DeleteTenantError, Tenant};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::body::Json;
use crate::idempotency::secret;
use crate::page::Page;
use crate::params::Params;
use crate::problem::{Problem, sentence};
use crate::route::{Route, delete, get, post};
use crate::state::Shared;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/tenants", list).about("tenants", "Lists the tenants").paged().answers(200, "TenantPage"),
        post("/api/v1/tenants", create)
            .about("tenants", "Makes a tenant; its owner's token is shown this once")
            .header("Idempotency-Key", "Sent again, the request is answered again, not done again")
            .takes("NewTenant")
            .answers(201, "CreatedTenant"),
        get("/api/v1/tenants/{id}", show).about("tenants", "Shows a tenant").answers(200, "Tenant"),
        delete("/api/v1/tenants/{id}", remove)
            .about("tenants", "Deletes a tenant with everything that is its own; its id is never used again")
            .answers(204, ""),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    id: TenantId,
    name: Option<String>,
}

fn shown(tenant: &Tenant) -> Value {
    json!({ "id": tenant.id, "name": tenant.name, "created_at": tenant.created_at.to_string() })
}

fn unknown() -> Problem {
    Problem::not_found("There is no tenant of this id.")
}

async fn list(
    State(api): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Reply<Page<Value>>, Problem> {
    caller.may(Action::ManageTenants)?;
    let (limit, cursor) = params.take_page()?;
    params.finish()?;
    let mut tenants = api.hub.tenants()?;
    tenants.sort_by(|one, other| one.id.cmp(&other.id));
    let page = Page::cut(tenants, (limit, cursor.as_deref()), |tenant| tenant.id.as_str().to_owned());
    Ok(Reply(Page { items: page.items.iter().map(shown).collect(), next: page.next }))
}

async fn create(
    State(api): State<Shared>,
    caller: Caller,
    Json(body): Json<Create>,
) -> Result<Response, Problem> {
    caller.may(Action::ManageTenants)?;
    let (tenant, token) = api.hub.create_tenant(body.id, body.name).await.map_err(|error| match error {
        CreateTenantError::Exists => Problem::conflict("The id is in use, or was before; choose another."),
        CreateTenantError::Invalid(text) => Problem::invalid(sentence(&text)),
        CreateTenantError::Storage(error) => error.into(),
    })?;
    let mut body = shown(&tenant);
    if let Some(members) = body.as_object_mut() {
        members.insert("owner_token".to_owned(), token.reveal().into());
    }
    let location = [(header::LOCATION, format!("/api/v1/tenants/{}", tenant.id))];
    Ok(secret((StatusCode::CREATED, location, Reply(body))))
}

async fn show(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Reply<Value>, Problem> {
    caller.may(Action::ManageTenants)?;
    let id = TenantId::parse(&id).map_err(|_no_id| unknown())?;
    Ok(Reply(shown(&api.hub.tenant(&id)?.ok_or_else(unknown)?)))
}

async fn remove(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.may(Action::ManageTenants)?;
    let id = TenantId::parse(&id).map_err(|_no_id| unknown())?;
    match api.hub.delete_tenant(&id).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(DeleteTenantError::Unknown) => Err(unknown()),
        Err(error @ DeleteTenantError::Default) => Err(Problem::conflict(sentence(&error.to_string()))),
        Err(DeleteTenantError::Storage(error)) => Err(error.into()),
    }
}
