//! Who asks.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::{self, HeaderName};
use http::request::Parts;
use roost_hub::access::{self, Action};
use roost_hub::id::{DeviceId, TenantId};
use roost_hub::principal::Principal;

use super::Ingest;
use super::refusal::{Refusal, denied};
use crate::http::Peer;
use crate::http::credentials::Credentials;
use crate::problem::Problem;

/// Who asks, recognised by a token, Basic, or the dashboard's cookie. A device counts as seen.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Arc<Principal>);

impl FromRequestParts<Arc<Ingest>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, ingest: &Arc<Ingest>) -> Result<Self, Refusal> {
        Ok(Self::recognise(parts, ingest, None).await?)
    }
}

async fn recognise(parts: &Parts, ingest: &Ingest, token: Option<&str>) -> Result<Caller, Problem> {
    let text = |name: HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if parts.headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
        return Err(Problem::unreadable("Send one Authorization header."));
    }
    let shown = Credentials {
        authorization: text(header::AUTHORIZATION),
        cookie: text(header::COOKIE),
        origin: text(header::ORIGIN),
        host: text(header::HOST),
        token,
    };
    let peer = parts.extensions.get::<Peer>();
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
    let principal = shown.recognise(&ingest.hub, address).await?;
    principal.map(Caller).ok_or_else(|| {
        Problem::unauthenticated("Send `Authorization: Bearer TOKEN`, or Basic with device id and token.")
    })
}

impl Caller {
    /// Recognises who asks; `token` is what the query or the path shows where that is documented.
    pub(super) async fn recognise(
        parts: &Parts,
        ingest: &Ingest,
        token: Option<&str>,
    ) -> Result<Self, Problem> {
        let recognised = recognise(parts, ingest, token).await;
        match &recognised {
            Ok(caller) => caller.seen(ingest),
            Err(_refused) => ingest.hub.counters.logins_refused_total.increment(),
        }
        recognised
    }

    pub(super) fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    /// Notes that the device, if it is one, was heard of.
    pub(super) fn seen(&self, ingest: &Ingest) {
        if let Some(device) = self.0.device() {
            ingest.hub.presence_seen(self.tenant(), device, "http", ingest.hub.now());
        }
    }

    /// The device that the caller is.
    pub(super) fn own_device(&self) -> Result<DeviceId, Problem> {
        self.0.device().cloned().ok_or_else(|| {
            Problem::forbidden("Only a device has a `me`; use /api/v1/devices/{id} with this token.")
        })
    }

    /// A device of the caller's tenant whose telemetry the caller may write.
    pub(super) fn written_device(&self, ingest: &Ingest, id: &str) -> Result<DeviceId, Problem> {
        let unknown = || {
            let shown: String = id.chars().take(64).collect();
            Problem::not_found(format!("There is no device {shown:?}."))
        };
        let device = DeviceId::parse(id).map_err(|_no_id| unknown())?;
        access::may(&self.0, Action::WriteTelemetry(&device)).map_err(denied)?;
        if self.0.device() != Some(&device) && ingest.hub.device(self.tenant(), &device)?.is_none() {
            return Err(unknown());
        }
        Ok(device)
    }

    /// whether the credential still holds, to be asked when some time has passed.
    pub(super) fn still_holds(&self, ingest: &Ingest) -> Result<(), Problem> {
        self.holds_with_each_piece(ingest, &mut None)
    }

    /// The same, to be asked with each piece of a stream; `seen` begins as `None`.
    pub(super) fn holds_with_each_piece(
        &self,
        ingest: &Ingest,
        seen: &mut Option<u64>,
    ) -> Result<(), Problem> {
        if ingest.hub.principal_holds_still(&self.0, seen)? {
            return Ok(());
        }
        Err(Problem::unauthenticated("The credential was revoked or expired meanwhile; use another."))
    }
}
