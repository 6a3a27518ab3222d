//! Who a node is: its log-in and its identification come as frames, in either order, and nothing
//! is answered. What it says before is kept, since it does not wait.

use std::net::IpAddr;
use std::sync::Arc;

use roost_hub::Hub;
use roost_hub::id::DeviceId;
use roost_hub::principal::{Principal, Role};
use roost_hub::registry::Presented;
use roost_wire::olimex::{self, Identification, Incoming, LogIn};
use roost_wire::websocket::{Kind, close_code};

use crate::authenticate::{self, Failed};
use crate::http::socket::{Ended, Socket};

/// How much is kept of what a node says before it is known.
const KEPT_MAX: usize = 16;
const KEPT_BYTES_MAX: usize = 32 * 1024;

/// A node that is let in.
pub(super) struct LoggedIn {
    pub(super) principal: Arc<Principal>,
    /// What it calls itself, if it has said so.
    pub(super) identification: Option<Identification>,
    /// What it said before.
    pub(super) kept: Vec<Incoming>,
}

/// Why a node is not let in: close code and reason, as the system's own server words it.
pub(super) enum Refused {
    Because(u16, String),
    Ended(Ended),
}

impl Refused {
    pub(super) fn policy(reason: impl Into<String>) -> Self {
        Self::Because(close_code::POLICY_VIOLATION, reason.into())
    }
}

/// What a node has said of itself so far.
#[derive(Default)]
struct Said {
    account: Option<Arc<Principal>>,
    identification: Option<Identification>,
    kept: Vec<Incoming>,
    kept_bytes: usize,
}

/// Reads frames until they say who it is.
pub(super) async fn log_in(hub: &Arc<Hub>, socket: &mut Socket, ip: IpAddr) -> Result<LoggedIn, Refused> {
    let mut said = Said::default();
    loop {
        let received = socket.next().await.map_err(Refused::Ended)?;
        if received.kind == Kind::Binary {
            continue;
        }
        match olimex::read(&received.payload) {
            Incoming::LogIn(log_in) => said.account = Some(recognise(hub, &log_in, ip).await?),
            Incoming::Identification(identification) => said.identification = Some(identification),
            Incoming::UnreadLogIn => return Err(Refused::policy("Unauthorized user")),
            other => said.keep(other, received.payload.len()),
        }
        if let Some(principal) = said.device(hub)? {
            return Ok(LoggedIn { principal, identification: said.identification, kept: said.kept });
        }
    }
}

/// The account behind `User` and `Password`: a device's own, or an application's.
pub(super) async fn recognise(hub: &Arc<Hub>, log_in: &LogIn, ip: IpAddr) -> Result<Arc<Principal>, Refused> {
    let presented = Presented::Pair { username: &log_in.user, password: log_in.password.as_bytes() };
    authenticate::recognise(hub, presented, &log_in.user, ip).await.map_err(|failed| {
        hub.counters.logins_refused_total.increment();
        match failed {
            Failed::Wait(_) => Refused::Because(close_code::TRY_AGAIN_LATER, "Too many log-ins".to_owned()),
            Failed::Denied(_) => Refused::policy("Unauthorized user"),
        }
    })
}

impl Said {
    fn keep(&mut self, incoming: Incoming, length: usize) {
        if self.kept.len() < KEPT_MAX && self.kept_bytes + length <= KEPT_BYTES_MAX {
            self.kept_bytes += length;
            self.kept.push(incoming);
        }
    }

    /// The device, as soon as enough was said.
    fn device(&self, hub: &Hub) -> Result<Option<Arc<Principal>>, Refused> {
        match (&self.account, &self.identification) {
            (Some(account), None) if account.device().is_some() => Ok(Some(Arc::clone(account))),
            (Some(account), Some(identification)) => identified(hub, account, identification).map(Some),
            (None, Some(identification)) => by_link(hub, &identification.token),
            _ => Ok(None),
        }
    }
}

/// The device of an account and a token; they must not contradict each other.
pub(super) fn identified(
    hub: &Hub,
    account: &Arc<Principal>,
    identification: &Identification,
) -> Result<Arc<Principal>, Refused> {
    let linked = by_link(hub, &identification.token)?;
    let unauthorized = || Refused::policy(format!("Unauthorized token [{}]", shown(&identification.token)));
    let is_same = |linked: &Principal, device: &DeviceId| {
        linked.tenant == account.tenant && linked.device() == Some(device)
    };
    match (account.device(), linked) {
        (Some(device), Some(linked)) if !is_same(&linked, device) => {
            Err(Refused::policy("Token not belongs to user"))
        }
        (Some(_), _) => Ok(Arc::clone(account)),
        (None, _) if account.role() < Some(Role::Operator) => Err(unauthorized()),
        (None, Some(linked)) if linked.tenant == account.tenant => Ok(linked),
        (None, _) => Err(unauthorized()),
    }
}

/// The device with a link of this token.
fn by_link(hub: &Hub, token: &str) -> Result<Option<Arc<Principal>>, Refused> {
    let unavailable = |_error| Refused::Because(close_code::TRY_AGAIN_LATER, "Cannot answer now".to_owned());
    let Some((tenant, device)) = hub.device_by_link("olimex", token).map_err(unavailable)? else {
        return Ok(None);
    };
    Ok(hub.device_principal(&tenant, &device).ok())
}

/// A name that somebody unknown gave, short enough for a close frame.
fn shown(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(64).collect()
}
