//! Who asks: a token in a header, or the dashboard's cookie.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{self, HeaderMap};
use http::request::Parts;
use roost_hub::access::{self, Action};
use roost_hub::id::{CommandId, DeviceId, TenantId};
use roost_hub::principal::Principal;
use roost_hub::registry::{AuthenticateError, Device, Presented, RetryAfter};
use sha2::{Digest, Sha256};

use crate::body::is_json;
use crate::problem::{Problem, sentence};
use crate::state::{Api, Shared};

/// The dashboard's cookie.
pub(crate) const COOKIE: &str = "roost_session";
/// The longest `Authorization` header, in bytes.
const AUTHORIZATION_LENGTH_MAX: usize = 2_048;

/// Who asks, and how they showed it.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Arc<Principal>,
    /// The web session's secret, for who came with a cookie.
    pub(crate) web_session: Option<Arc<str>>,
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Self, Problem> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let found = recognise(parts, api).await;
        match &found {
            Ok(caller) => {
                if let Some(device) = caller.principal.device() {
                    api.hub.presence_seen(caller.tenant(), device, "http", api.hub.now());
                }
            }
            Err(_) => api.hub.counters.logins_refused_total.increment(),
        }
        found
    }
}

/// Where a request comes from; unknown where no listener said so.
pub(crate) fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

async fn recognise(parts: &Parts, api: &Shared) -> Result<Caller, Problem> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    if let Some(value) = values.next() {
        let text = value.to_str().unwrap_or_default();
        if values.next().is_some() || text.len() > AUTHORIZATION_LENGTH_MAX {
            return Err(Problem::unreadable("Send one Authorization header, of at most 2,048 bytes."));
        }
        return by_header(text, address(parts), api).await;
    }
    let secret = cookie(&parts.headers).ok_or_else(|| {
        Problem::unauthenticated(
            "Send the header `Authorization: Bearer TOKEN`, or sign in at the dashboard.",
        )
    })?;
    if !parts.method.is_safe() {
        check_same_origin(parts)?;
    }
    let principal = api.hub.web_session(secret).map_err(refusal)?;
    Ok(Caller { principal, web_session: Some(Arc::from(secret)) })
}

async fn by_header(text: &str, address: Option<IpAddr>, api: &Shared) -> Result<Caller, Problem> {
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    let decoded;
    let (identity, presented) = if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        // Each token is an identity of its own: wrong ones hold up none that was right before.
        (hex::encode(Sha256::digest(rest)), Presented::Token(rest))
    } else if scheme.eq_ignore_ascii_case("basic") {
        let rule = || Problem::unauthenticated("Basic credentials are base64 of `device-id:token`.");
        decoded = STANDARD.decode(rest).map_err(|_not_base64| rule())?;
        let text = std::str::from_utf8(&decoded).map_err(|_not_text| rule())?;
        let (username, password) = text.split_once(':').ok_or_else(rule)?;
        let password = password.as_bytes();
        (username.to_owned(), Presented::Basic { username, password })
    } else {
        return Err(Problem::unauthenticated(
            "Send `Authorization: Bearer TOKEN`, or Basic with device id and token.",
        ));
    };
    let now = api.hub.now();
    if let Some(address) = address {
        api.hub.throttle().allow_hashing(address, &identity, now).map_err(slow_down)?;
    }
    let outcome = match api.hub.authenticate(presented) {
        Err(AuthenticateError::NeedsHashing(check)) => {
            let hub = Arc::clone(&api.hub);
            let verified = tokio::task::spawn_blocking(move || hub.verify_password(&check)).await;
            verified.unwrap_or(Err(AuthenticateError::Busy))
        }
        other => other,
    };
    if let Some(address) = address {
        match &outcome {
            Ok(_) => api.hub.throttle().login_succeeded(address, &identity, now),
            Err(AuthenticateError::Unknown | AuthenticateError::Expired) => {
                api.hub.throttle().login_failed(address, &identity, now);
            }
            Err(_) => {}
        }
    }
    outcome.map(|principal| Caller { principal, web_session: None }).map_err(refusal)
}

fn refusal(error: AuthenticateError) -> Problem {
    match error {
        AuthenticateError::Unknown => {
            Problem::unauthenticated("The credential is unknown, wrong or revoked; use another.")
        }
        AuthenticateError::Expired => Problem::unauthenticated("The credential has expired; get a new one."),
        AuthenticateError::Busy | AuthenticateError::NeedsHashing(_) => busy(),
        AuthenticateError::Storage(error) => error.into(),
    }
}

/// Too many passwords are being hashed.
pub(crate) fn busy() -> Problem {
    let wait = std::time::Duration::from_secs(1);
    Problem::too_many("Too many passwords are being checked; try again in a second.", wait)
}

/// Too many log-ins failed.
pub(crate) fn slow_down(RetryAfter(wait): RetryAfter) -> Problem {
    Problem::too_many(sentence(&RetryAfter(wait).to_string()), wait)
}

/// The web session's secret in the cookies.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && !value.is_empty())
        .map(|(_, value)| value)
}

/// A page of somebody else must not use the cookie: the origin is ours, and a POST is JSON, which
/// no form can send.
fn check_same_origin(parts: &Parts) -> Result<(), Problem> {
    if parts.headers.get(header::ORIGIN).is_none() || !is_same_origin(&parts.headers) {
        return Err(Problem::forbidden(
            "With a cookie, only the dashboard's own pages may change something.",
        ));
    }
    if parts.method == http::Method::POST && !is_json(&parts.headers) {
        return Err(Problem::forbidden(
            "With a cookie, a POST has the header Content-Type: application/json.",
        ));
    }
    Ok(())
}

/// Whether the page that sends this, if it is one, is of this host.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return true };
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some() && host == text(header::HOST)
}

impl Caller {
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.principal.tenant
    }

    /// May the caller do that?
    pub(crate) fn may(&self, action: Action<'_>) -> Result<(), Problem> {
        Ok(access::may(&self.principal, action)?)
    }

    /// The device that the caller is.
    pub(crate) fn own_device(&self) -> Result<DeviceId, Problem> {
        self.principal.device().cloned().ok_or_else(|| {
            Problem::forbidden("Only a device has a `me`; use /api/v1/devices/{id} with this token.")
        })
    }

    /// A device of the caller's tenant with which the caller may do that.
    pub(crate) fn device(
        &self,
        api: &Api,
        id: &str,
        action: impl for<'a> FnOnce(&'a DeviceId) -> Action<'a>,
    ) -> Result<Device, Problem> {
        let unknown = || {
            let shown: String = id.chars().take(64).collect();
            Problem::not_found(format!("There is no device {shown:?}."))
        };
        let parsed = DeviceId::parse(id);
        match &parsed {
            Ok(id) => self.may(action(id))?,
            // Who may see no device at all is not told which ids there are either.
            Err(_) => self.may(Action::ReadDevices)?,
        }
        let id = parsed.map_err(|_no_id| unknown())?;
        api.hub.device(self.tenant(), &id)?.ok_or_else(unknown)
    }
}

/// Reads a command's id.
pub(crate) fn command_id(text: &str) -> Result<CommandId, Problem> {
    CommandId::parse(text).map_err(|_no_id| no_command(text))
}

/// There is no such command.
pub(crate) fn no_command(id: &str) -> Problem {
    let shown: String = id.chars().take(64).collect();
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found", format!("There is no command {shown:?}."))
}
