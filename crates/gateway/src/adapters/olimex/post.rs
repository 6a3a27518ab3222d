//! Nodes that post each event (`WebSocket` = 0). They take any answer for a delivery, and repeat what
//! was not answered within five seconds; they neither say their name nor read a status.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{StatusCode, request::Parts};
use http_body_util::{BodyExt, Limited};
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::principal::Principal;
use roost_hub::storage::{Position, StorageError};
use roost_wire::olimex::{self, Incoming};
use sha1::{Digest, Sha1};

use super::mapping;
use crate::http::Peer;
use crate::http::credentials::{Credentials, by_token, of_query};
use crate::problem::Problem;
use crate::shared::Shared;

/// The largest event.
const BODY_LENGTH_MAX: usize = 64 * 1024;
/// A body that comes again so soon is the node's repetition: it tries every 10 s.
const REPEATED_WITHIN: Duration = Duration::from_secs(12);
/// How many devices' last events are remembered; beyond, the old ones are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// A body's hash, and when it came.
type LastPost = ([u8; 20], Duration);

/// What each device posted last.
#[derive(Debug, Default)]
pub(crate) struct LastPosts {
    posts: Mutex<HashMap<(TenantId, DeviceId), LastPost>>,
}

impl LastPosts {
    /// Whether the device said just this just now.
    fn is_repetition(&self, device: (TenantId, DeviceId), body: &[u8], now: Duration) -> bool {
        let hash = Sha1::digest(body).into();
        let mut posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        if posts.len() >= REMEMBERED_MAX {
            posts.retain(|_, (_, at)| now.saturating_sub(*at) < REPEATED_WITHIN);
        }
        let before = posts.insert(device, (hash, now));
        before.is_some_and(|(other, at)| other == hash && now.saturating_sub(at) < REPEATED_WITHIN)
    }
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/events", post(of_account))
        .route("/events/", post(of_account))
        .route("/events/{token}", post(of_token))
}

async fn of_account(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    take(&shared, None, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn of_token(
    State(shared): State<Arc<Shared>>,
    Path(token): Path<String>,
    request: Request,
) -> Response {
    take(&shared, Some(&token), request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn take(shared: &Arc<Shared>, token: Option<&str>, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let principal = recognise(shared, token, &head).await?;
    let Ok(body) = Limited::new(body, BODY_LENGTH_MAX).collect().await else {
        return Err(Problem::unreadable("An event has at most 65,536 bytes, and comes whole."));
    };
    let position = publish(shared, &principal, &body.to_bytes())?;
    shared.hub.durable(position).await?;
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((StatusCode::OK, kind, r#"{"Status":"OK"}"#).into_response())
}

/// A token in the path or the query, of ours or of a link; else the node's account.
async fn recognise(
    shared: &Arc<Shared>,
    token: Option<&str>,
    head: &Parts,
) -> Result<Arc<Principal>, Problem> {
    let hub = &shared.hub;
    let peer = head.extensions.get::<Peer>();
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
    let of_query = of_query(head.uri.query().unwrap_or_default(), "token");
    if let Some(token) = token.or(of_query.as_deref()) {
        if let Some((tenant, device)) = hub.device_by_link("olimex", token)? {
            let unknown = |_gone| Problem::not_found("There is no such node.");
            return hub.device_principal(&tenant, &device).map_err(unknown);
        }
        return device_only(by_token(hub, token, address).await?);
    }
    let authorization = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = Credentials { authorization, ..Credentials::default() };
    let principal = shown.recognise(hub, address).await?.ok_or_else(|| {
        Problem::unauthenticated(
            "Set User to the device's id and Password to its token, or post to /events/TOKEN.",
        )
    })?;
    device_only(principal)
}

fn device_only(principal: Arc<Principal>) -> Result<Arc<Principal>, Problem> {
    if principal.device().is_some() {
        return Ok(principal);
    }
    Err(Problem::forbidden(
        "This account is no device's: set User to the device's id, Password to its token.",
    ))
}

/// Takes what can be taken; the node could do nothing about the rest.
fn publish(shared: &Shared, principal: &Arc<Principal>, body: &Bytes) -> Result<Position, StorageError> {
    let hub = &shared.hub;
    let Some(device) = principal.device() else { return Ok(Position(0)) };
    hub.presence_seen(&principal.tenant, device, "OLIMEX", hub.now());
    let place = (principal.tenant.clone(), device.clone());
    if shared.olimex_posts.is_repetition(place, body, shared.timers.now()) {
        // The first one may not be durable yet.
        return Ok(hub.store().log.end());
    }
    let event = match olimex::read(body) {
        Incoming::Event(event) => event,
        Incoming::Unread(text) => {
            mapping::note(hub, principal, format_args!("an event that cannot be read"));
            let message = mapping::unread(device, &text, hub.now());
            return mapping::publish(hub, principal, message);
        }
        Incoming::LogIn(_) | Incoming::Identification(_) | Incoming::UnreadLogIn => return Ok(Position(0)),
    };
    let mut position = mapping::report(hub, principal, &event)?;
    for message in mapping::messages(device, &event, hub.now()) {
        position = position.max(mapping::publish(hub, principal, message)?);
    }
    Ok(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identical_body_counts_once_in_12_s() {
        let posts = LastPosts::default();
        let device = || (TenantId::parse("t").unwrap(), DeviceId::parse("d").unwrap());
        let at = Duration::from_secs;
        let seen: Vec<_> = [(b"a", 0), (b"a", 10), (b"a", 20), (b"b", 21), (b"a", 22), (b"a", 40)]
            .map(|(body, second)| posts.is_repetition(device(), body, at(second)))
            .into();
        assert_eq!(seen, [false, true, true, false, false, false]);
    }
}
