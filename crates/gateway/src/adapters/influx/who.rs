//! Who writes, and whose a line is.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use http::request::Parts;
use roost_hub::Hub;
use roost_hub::access::{self, Action};
use roost_hub::id::DeviceId;
use roost_hub::inbox::{Proposed, Recognised, Recognition};
use roost_hub::principal::{Principal, Role};
use roost_hub::storage::StorageError;
use serde_json::Value;

use crate::http::Peer;
use crate::http::credentials::{Credentials, of_query};
use crate::problem::Problem;
use crate::shared::Shared;

const DIALECT: &str = "influx";

/// `Authorization: Token …` (of version 1 with a user before a colon), `Bearer`, Basic, or `u` and `p` in
/// the query.
pub(super) async fn recognise(shared: &Arc<Shared>, head: &Parts) -> Result<Arc<Principal>, Problem> {
    let query = head.uri.query().unwrap_or_default();
    let given = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let text = match (given, of_query(query, "u")) {
        (Some(text), _) => match text.split_once(' ') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("token") => match rest.contains(':') {
                true => basic(rest),
                false => format!("Bearer {rest}"),
            },
            _ => text.to_owned(),
        },
        (None, Some(user)) => basic(&format!("{user}:{}", of_query(query, "p").unwrap_or_default())),
        (None, None) => String::new(),
    };
    let peer = head.extensions.get::<Peer>();
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
    let authorization = Some(text.as_str()).filter(|text| !text.is_empty());
    let shown = Credentials { authorization, ..Credentials::default() };
    let recognised = shown.recognise(&shared.hub, address).await;
    let principal = recognised.and_then(|principal| {
        principal
            .ok_or_else(|| Problem::unauthenticated("Send `Authorization: Token TOKEN`, or `u` and `p`."))
    });
    if principal.is_err() {
        shared.hub.counters.logins_refused_total.increment();
    }
    principal
}

/// What became of a line's name.
#[derive(Clone, Debug)]
pub(super) enum Whose {
    Device(DeviceId),
    /// Nobody's yet: it waits in the inbox.
    Waiting,
    /// It cannot be taken; why.
    Nobody(&'static str),
}

/// Finds the devices of lines, each name once.
pub(super) struct Names<'a> {
    hub: &'a Hub,
    principal: &'a Principal,
    known: HashMap<String, Whose>,
}

impl<'a> Names<'a> {
    pub(super) fn new(hub: &'a Hub, principal: &'a Principal) -> Result<Self, Problem> {
        if principal.device().is_none() && principal.role() < Some(Role::Operator) {
            return Err(Problem::forbidden("This credential may not write readings."));
        }
        if let Some(device) = principal.device() {
            access::may(principal, Action::WriteTelemetry(device))
                .map_err(|denied| Problem::forbidden(denied.to_string()))?;
        }
        Ok(Self { hub, principal, known: HashMap::new() })
    }

    /// Whether a tag says whose the line is: `device` always; `host` of an application, and of a device
    /// only where it is the name of that device or of one under it. Else it is a tag like others.
    pub(super) fn is_name(&self, tag: &str, value: &str) -> bool {
        let is_application = self.principal.device().is_none();
        tag == "device" || is_application || matches!(self.registered(value), Ok(Some(_)))
    }

    fn registered(&self, name: &str) -> Result<Option<DeviceId>, StorageError> {
        let (tenant, own) = (&self.principal.tenant, self.principal.device());
        if let Some(device) = self.hub.device_by_name(tenant, own, (DIALECT, name))? {
            return Ok(Some(device));
        }
        let Ok(id) = DeviceId::parse(name) else { return Ok(None) };
        Ok(match own {
            Some(own) if *own == id => Some(id),
            Some(own) => Some(id).filter(|id| self.hub.parent_of(tenant, id).as_ref() == Some(own)),
            None => self.hub.device(tenant, &id)?.map(|device| device.id),
        })
    }

    /// Whose a line is that names a device, or none.
    pub(super) fn whose(
        &mut self,
        name: Option<&str>,
        sample: impl FnOnce() -> Value,
    ) -> Result<Whose, StorageError> {
        let Some(name) = name else {
            return Ok(match self.principal.device() {
                Some(own) => Whose::Device(own.clone()),
                None => Whose::Nobody(
                    "names no device: add a tag `device` or `host`, or write with a device's token",
                ),
            });
        };
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let found = match self.registered(name)? {
            Some(device) => Whose::Device(device),
            None => self.let_wait(name, sample())?,
        };
        self.known.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    fn let_wait(&self, name: &str, sample: Value) -> Result<Whose, StorageError> {
        let recognised = Recognised {
            dialect: DIALECT,
            name: name.to_owned(),
            parent: self.principal.device().cloned(),
            proposed: Proposed {
                id: DeviceId::parse(name).ok(),
                name: Some(name.to_owned()),
                ..Proposed::default()
            },
            sample,
        };
        Ok(match self.hub.recognise(&self.principal.tenant, recognised)? {
            Recognition::Device(device) => Whose::Device(device),
            Recognition::Waiting => Whose::Waiting,
            Recognition::TurnedAway => Whose::Nobody("finds no room in the inbox"),
        })
    }
}
