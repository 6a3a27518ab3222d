//! Signing in at the dashboard.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Json as Reply;
use axum::extract::{ConnectInfo, FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Extensions, StatusCode};
use roost_hub::principal::{Actor, Principal};
use roost_hub::registry::{Secret, SignInError, Visit, WEB_SESSION_LIFETIME};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{COOKIE, Caller, busy, is_same_origin, slow_down};
use crate::body::Json;
use crate::problem::Problem;
use crate::route::{Route, delete, get, post};
use crate::state::{Api, Shared};

/// Marks a request that came over TLS: put into its extensions by the listener.
#[derive(Clone, Copy, Debug)]
pub struct Https;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        get("/api/v1/session", show).about("session", "Who is signed in").answers(200, "Session"),
        post("/api/v1/session", sign_in)
            .about("session", "Signs a person in with a cookie")
            .takes("SignIn")
            .answers(200, "Session")
            .open(),
        delete("/api/v1/session", sign_out).about("session", "Signs out").answers(204, ""),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    email: String,
    password: String,
}

/// What the dashboard needs to know about who uses it.
pub(crate) fn shown(api: &Api, principal: &Principal) -> Result<Value, Problem> {
    let (id, name) = match &principal.actor {
        Actor::User { user, .. } => {
            let found = api.hub.user(&principal.tenant, user)?;
            (user.as_str().to_owned(), found.map(|user| user.name).unwrap_or_default())
        }
        Actor::Application { token, name, .. } => (token.as_str().to_owned(), name.as_ref().to_owned()),
        Actor::Device { .. } => {
            return Err(Problem::forbidden("A device has no session; GET /api/v1/me says who it is."));
        }
    };
    let tenant =
        api.hub.tenant(&principal.tenant)?.ok_or_else(|| Problem::not_found("The tenant is gone."))?;
    Ok(json!({
        "user": { "id": id, "name": name, "role": principal.role() },
        "tenant": { "id": tenant.id, "name": tenant.name },
        "operator": principal.is_operator(),
        "acks": api.info.acks,
    }))
}

async fn show(State(api): State<Shared>, caller: Caller) -> Result<Reply<Value>, Problem> {
    Ok(Reply(shown(&api, &caller.principal)?))
}

/// From where a request comes: the address is unknown where no listener vouches for it.
pub(crate) fn visit(headers: &HeaderMap, extensions: &Extensions) -> Visit {
    let address = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
    let browser = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Visit { address, browser: browser.map(str::to_owned) }
}

/// For the counting of failures: all that no listener vouches for count as one.
pub(crate) fn counted_address(visit: &Visit) -> IpAddr {
    visit.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Refuses a form that a page of somebody else sends to sign its reader in as somebody else.
pub(crate) fn check_own_page(headers: &HeaderMap) -> Result<(), Problem> {
    if is_same_origin(headers) {
        return Ok(());
    }
    Err(Problem::forbidden("Only the dashboard's own pages may sign in."))
}

async fn sign_in(State(api): State<Shared>, request: Request) -> Result<Response, Problem> {
    check_own_page(request.headers())?;
    let https = request.extensions().get::<Https>().copied();
    let visit = visit(request.headers(), request.extensions());
    let address = counted_address(&visit);
    let Json(SignIn { email, password }) = Json::from_request(request, &()).await?;
    let (identity, now) = (email.trim().to_lowercase(), api.hub.now());
    api.hub.throttle().allow_hashing(address, &identity, now).map_err(slow_down)?;
    let hub = Arc::clone(&api.hub);
    let verified = tokio::task::spawn_blocking(move || hub.verify_user(&email, &password)).await;
    let started = match verified {
        Ok(Ok(user)) => api.hub.start_web_session(&user, visit).await,
        Ok(Err(error)) => Err(error),
        Err(_ended) => Err(SignInError::Busy),
    };
    match started {
        Ok((secret, principal)) => {
            api.hub.throttle().login_succeeded(address, &identity, now);
            let body = shown(&api, &principal)?;
            Ok((StatusCode::OK, cookie(&secret, https), Reply(body)).into_response())
        }
        Err(SignInError::Wrong) => {
            api.hub.throttle().login_failed(address, &identity, now);
            api.hub.counters.logins_refused_total.increment();
            Err(Problem::unauthenticated("E-mail address and password do not match."))
        }
        Err(SignInError::Busy) => Err(busy()),
        Err(SignInError::Storage(error)) => Err(error.into()),
    }
}

async fn sign_out(State(api): State<Shared>, caller: Caller) -> Result<Response, Problem> {
    let Some(secret) = &caller.web_session else {
        return Err(Problem::invalid("A token is no session; DELETE /api/v1/tokens/{id} ends it."));
    };
    api.hub.sign_out(secret).await?;
    let gone = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// The cookie that holds a web session.
pub(crate) fn cookie(secret: &Secret, https: Option<Https>) -> HeaderMap {
    let secure = if https.is_some() { "; Secure" } else { "" };
    let text = format!(
        "{COOKIE}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
        secret.reveal(),
        WEB_SESSION_LIFETIME.as_secs()
    );
    let mut headers = HeaderMap::new();
    if let Ok(mut value) = HeaderValue::from_str(&text) {
        value.set_sensitive(true);
        headers.insert(header::SET_COOKIE, value);
    }
    headers
}
