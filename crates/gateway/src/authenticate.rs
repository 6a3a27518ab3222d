//! Recognising somebody, with patience for those who try too often.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use roost_hub::Hub;
use roost_hub::limit::Limit;
use roost_hub::principal::Principal;
use roost_hub::registry::{AuthenticateError, Presented, RetryAfter};

/// Why somebody was not let in.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Too many attempts; when the next one is looked at.
    Wait(Duration),
    /// The credential opens nothing.
    Denied(AuthenticateError),
}

/// Recognises who shows a token alone, for doors that cannot wait; a token is never a password.
pub(crate) fn by_token_now(hub: &Hub, token: &str, address: IpAddr) -> Result<Arc<Principal>, Failed> {
    let now = hub.now();
    let throttle = hub.throttle();
    // The identity that is held up by wrong tokens is the address.
    let identity = format!("token from {address}");
    throttle.allow_login(address, &identity, now).map_err(|wait| {
        hub.refusals.count(Limit::FailedLogins);
        Failed::Wait(wait.0)
    })?;
    match hub.authenticate(Presented::Token(token)) {
        Ok(principal) => Ok(principal),
        Err(error) => {
            if matches!(error, AuthenticateError::Unknown | AuthenticateError::Expired) {
                throttle.login_failed(address, &identity, now);
            }
            Err(Failed::Denied(error))
        }
    }
}

/// Recognises somebody who says to be `identity`. Cancel safe.
pub(crate) async fn recognise(
    hub: &Arc<Hub>,
    presented: Presented<'_>,
    identity: &str,
    address: IpAddr,
) -> Result<Arc<Principal>, Failed> {
    let now = hub.now();
    let throttle = hub.throttle();
    let waits = |wait: RetryAfter| {
        hub.refusals.count(Limit::FailedLogins);
        Failed::Wait(wait.0)
    };
    throttle.allow_login(address, identity, now).map_err(waits)?;
    let recognised = match hub.authenticate(presented) {
        Err(AuthenticateError::NeedsHashing(check)) => {
            throttle.allow_hashing(address, identity, now).map_err(waits)?;
            let hub = Arc::clone(hub);
            // Ends by itself within a fraction of a second, also when nobody waits for it any more.
            let verified = tokio::task::spawn_blocking(move || hub.verify_password(&check)).await;
            verified.unwrap_or(Err(AuthenticateError::Busy))
        }
        recognised => recognised,
    };
    match recognised {
        Ok(principal) => {
            throttle.login_succeeded(address, identity, now);
            Ok(principal)
        }
        Err(error) => {
            if matches!(error, AuthenticateError::Unknown | AuthenticateError::Expired) {
                throttle.login_failed(address, identity, now);
            }
            Err(Failed::Denied(error))
        }
    }
}
