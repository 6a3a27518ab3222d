//! Whose Spot it is. It shows no credential of its own: its serial number names it by a link. A
//! token may stand in `Authorization`, or in the host's first label, `spots-TOKEN.`, where a Spot
//! can be given one; then the serial number only says which of the tenant's Spots it is.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::header::{self, HeaderName};
use http::request::Parts;
use roost_hub::Hub;
use roost_hub::id::TenantId;
use roost_hub::principal::{Principal, Role};
use serde_json::Value;

use super::quarantine::recognised;
use crate::http::Peer;
use crate::http::credentials::Credentials;
use crate::problem::Problem;
use crate::shared::Shared;

/// The longest serial number, in bytes.
const SERIAL_LENGTH_MAX: usize = 32;

/// Who posts.
pub(super) enum Who {
    Registered(Registered),
    /// Nobody's yet; where it waits to be let in.
    Unknown(TenantId),
}

/// A registered Spot.
pub(super) struct Registered {
    pub(super) serial: Arc<str>,
    pub(super) principal: Arc<Principal>,
    pub(super) address: Option<String>,
}

pub(super) async fn recognise(shared: &Arc<Shared>, serial: &str, head: &Parts) -> Result<Who, Problem> {
    let is_serial = (1..=SERIAL_LENGTH_MAX).contains(&serial.len())
        && serial.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_serial {
        return Err(Problem::not_found("A serial number has 1 to 32 letters and digits."));
    }
    let hub = &shared.hub;
    let linked = hub.device_by_link("spot", serial)?;
    let registered = |principal| {
        let address = head.extensions.get::<Peer>().map(|peer| peer.address.to_string());
        Who::Registered(Registered { serial: Arc::from(serial), principal, address })
    };
    let by_link = |(tenant, device)| {
        hub.device_principal(&tenant, &device)
            .map(registered)
            .map_err(|_gone| Problem::not_found("There is no such Spot."))
    };
    // A rule that lets it in does so before anything of the request is read.
    let unknown = |tenant: &TenantId| match hub.let_in_by_rule(tenant, &recognised(serial, Value::Null))? {
        Some(device) => by_link((tenant.clone(), device)),
        None => Ok(Who::Unknown(tenant.clone())),
    };
    let Some(account) = account(hub, head).await? else {
        return match linked {
            Some(linked) => by_link(linked),
            None => unknown(&shared.settings.spot_tenant),
        };
    };
    match (account.device().cloned(), linked) {
        (Some(device), Some((tenant, linked))) if tenant != account.tenant || linked != device => {
            Err(Problem::forbidden("This serial number is another device's."))
        }
        (Some(_), _) => Ok(registered(account)),
        (None, _) if account.role() < Some(Role::Operator) => {
            Err(Problem::forbidden("This credential may not speak for a Spot."))
        }
        (None, Some((tenant, _))) if tenant != account.tenant => {
            Err(Problem::forbidden("This serial number is another device's."))
        }
        (None, Some(linked)) => by_link(linked),
        (None, None) => unknown(&account.tenant),
    }
}

async fn account(hub: &Arc<Hub>, head: &Parts) -> Result<Option<Arc<Principal>>, Problem> {
    let text = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST);
    let shown = Credentials {
        authorization: text(header::AUTHORIZATION),
        token: host.and_then(token_of_host),
        ..Credentials::default()
    };
    let peer = head.extensions.get::<Peer>();
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
    shown.recognise(hub, address).await
}

fn token_of_host(host: &str) -> Option<&str> {
    let (label, _) = host.split_once('.')?;
    label.strip_prefix("spots-").filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_stand_in_the_host() {
        for (host, token) in [
            ("spots-abc.farm.example:8080", Some("abc")),
            ("spots-.farm.example", None),
            ("farm.example", None),
            ("spots-abc", None),
        ] {
            assert_eq!(token_of_host(host), token, "{host}");
        }
    }
}
