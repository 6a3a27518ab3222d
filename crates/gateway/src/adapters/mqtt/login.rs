//! From the first byte to CONNACK.

use std::sync::Arc;
use std::time::Duration;

use roost_hub::broker::Connected;
use roost_hub::flight::FlightKind;
use roost_hub::limit::Limit;
use roost_hub::principal::Principal;
use roost_hub::registry::{AuthenticateError, Presented, Signed};
use roost_hub::storage::Position;
use roost_hub::time::Timestamp;
use roost_wire::dialect::SharedAccess;
use roost_wire::mqtt::{
    self, ConnAck, ConnAckProperties, Connect, Event, ForeignProtocol, Input, ReasonCode, foreign_protocol,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connection::Connection;
use super::{Peer, mapping, part};
use crate::admission::{Admitted, SLOWED_BY, Welcome};
use crate::authenticate::{self, Failed};
use crate::stream::Stream;

/// How long the kernel waits before it asks a silent peer that has no keep alive of its own.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(300);

/// Reads CONNECT and answers it; `None` when that was all.
pub(super) async fn login(server: Admitted, mut stream: Stream, peer: Peer) -> Option<Connection> {
    let mut protocol = mqtt::Connection::new(Arc::clone(&server.mqtt), server.timers.now());
    if peer.welcome == Welcome::Slowed {
        tokio::time::sleep(SLOWED_BY).await;
    }
    let deadline = tokio::time::sleep(server.settings.login_timeout);
    tokio::pin!(deadline);
    let mut buffer = Vec::new();
    let mut answer = Vec::new();
    let (connect, consumed) = loop {
        match protocol.handle_input(&buffer, server.timers.now()) {
            Ok(Input::Event { event: Event::Connect(connect), consumed }) => break (connect, consumed),
            Ok(Input::NeedMore { .. }) => {}
            Ok(_) => return None,
            Err(error) => {
                hint(&server, &buffer, &peer);
                server.hub.counters.protocol_errors_total.increment();
                mapping::limit_of(error.error()).inspect(|limit| server.hub.refusals.count(*limit));
                if mapping::is_malformed(error.error()) {
                    server.fault();
                }
                tracing::debug!(address = %peer.address, %error, "refused before log-in");
                error.write_farewell(&mut answer);
                part(&mut stream, &answer).await;
                return None;
            }
        }
        let read = tokio::select! {
            read = stream.read_buf(&mut buffer) => read,
            () = &mut deadline => {
                server.hub.refusals.count(Limit::LoginTimeout);
                return None;
            }
        };
        if !matches!(read, Ok(1..)) {
            return None;
        }
    };
    let entered = tokio::select! {
        entered = enter(&server, &connect, &peer) => entered,
        () = &mut deadline => Err(ReasonCode::ServerBusy),
    };
    let now = server.timers.now();
    let connected = match entered {
        Ok(connected) => connected,
        Err(reason) => {
            server.hub.counters.logins_refused_total.increment();
            tracing::debug!(address = %peer.address, client = connect.client_id, %reason, "log-in refused");
            // What 3.1.1 cannot say, closing says.
            protocol.answer_connect(ConnAck { reason, ..ConnAck::default() }, now, &mut answer).ok();
            part(&mut stream, &answer).await;
            return None;
        }
    };
    let response_information = response_information(&connect, &connected);
    let connack = connack(&connect, &connected, response_information.as_deref());
    protocol.answer_connect(connack, now, &mut answer).ok()?;
    if protocol.next_timeout().is_none() {
        keep_alive(&stream);
    }
    let written = tokio::select! {
        written = write(&mut stream, &answer) => written,
        () = &mut deadline => return None,
    };
    written.ok()?;
    let unread = buffer.get(consumed..).unwrap_or_default().to_vec();
    Some(Connection::new(server, stream, protocol, connected.session, unread))
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// M-06: a client that means another door.
fn hint(server: &Admitted, buffer: &[u8], peer: &Peer) {
    let Some(protocol) = foreign_protocol(buffer) else { return };
    if server.may_hint() {
        let address = peer.address;
        match protocol {
            ForeignProtocol::Tls => {
                tracing::warn!(%address, "TLS on the plain MQTT port: use the port of `mqtts`")
            }
            ForeignProtocol::Http => {
                tracing::warn!(%address, "HTTP on the MQTT port: use the port of `http`")
            }
        }
    }
}

/// Finds out who it is and opens the session; CONNACK may be sent when this returns.
async fn enter(server: &Admitted, connect: &Connect<'_>, peer: &Peer) -> Result<Connected, ReasonCode> {
    if let Welcome::Refused(refusal) = peer.welcome {
        return Err(mapping::refusal_reason(refusal.limit));
    }
    let hub = &server.hub;
    if !hub.is_set_up() {
        return Err(ReasonCode::ServerUnavailable);
    }
    if connect.properties.authentication_method.is_some() {
        return Err(ReasonCode::BadAuthenticationMethod);
    }
    let principal = recognise(server, connect, peer).await?;
    let refuse = |text: &dyn std::fmt::Display, reason| {
        if let Some(device) = principal.device() {
            let text = format_args!("connection from {} refused: {text}", peer.address);
            hub.note(&principal.tenant, device, FlightKind::Refused, text, hub.now());
        }
        reason
    };
    if let Some(device) = principal.device()
        && !server.is_trusted()
        && let Some(wait) = hub.shut_out(&principal.tenant, device, hub.now())
    {
        hub.refusals.count(Limit::ShutOut);
        let text = format!("too many malformed packets; shut out for {} s more", wait.as_secs().max(1));
        return Err(refuse(&text, ReasonCode::Banned));
    }
    let mut options = mapping::connect_options(connect, &principal, hub.now())?;
    options.address = Some(peer.address.to_string().into());
    if let Some(wait) = hub.takeover_wait(&principal, connect.client_id) {
        // M-29: clients that throw each other out take turns, slowly.
        tokio::time::sleep(wait).await;
        if hub.takeover_wait(&principal, connect.client_id).is_some() {
            let text = "others with this client id were faster";
            return Err(refuse(&text, ReasonCode::ConnectionRateExceeded));
        }
    }
    let connected =
        hub.connect(&principal, options).map_err(|error| refuse(&error, mapping::connect_reason(&error)))?;
    // A revocation since the credential was looked at found no connection to close.
    if !hub.principal_holds(&principal).unwrap_or(false) {
        return Err(ReasonCode::NotAuthorized);
    }
    hub.durable(connected.position.unwrap_or(Position(0)))
        .await
        .map_err(|_broken| ReasonCode::ServerUnavailable)?;
    Ok(connected)
}

async fn recognise(
    server: &Admitted,
    connect: &Connect<'_>,
    peer: &Peer,
) -> Result<Arc<Principal>, ReasonCode> {
    let is_bare = connect.password.is_none_or(<[u8]>::is_empty);
    let certificate = peer.common_name.as_deref().filter(|_| is_bare);
    let certificate = certificate.map(|common_name| Presented::Certificate { common_name });
    // Libraries made for other clouds write into the user name which library they are.
    let is_known =
        |shown: &Presented<'_>| connect.username.is_none() || server.hub.authenticate(*shown).is_ok();
    let access =
        connect.username.zip(connect.password).and_then(|(name, shown)| SharedAccess::read(name, shown));
    let signed = access.as_ref().map(signed);
    let shown = signed.as_ref().map(Presented::Signed).or_else(|| certificate.filter(is_known));
    let presented = match (connect.username, connect.password, shown) {
        (_, _, Some(shown)) => shown,
        (Some(username), Some(password), _) if !is_bare => {
            Presented::Pair { username: device_name(username), password }
        }
        (Some(username), _, _) => Presented::Pair { username, password: &[] },
        (None, Some(password), _) => {
            let token =
                std::str::from_utf8(password).map_err(|_no_text| ReasonCode::BadUserNameOrPassword)?;
            Presented::Token(token)
        }
        (None, None, None) => return Err(ReasonCode::NotAuthorized),
    };
    // A token is no name: who shows only that is known by the client id.
    let named = connect.username.filter(|_| connect.password.is_some());
    let identity = named.map_or(connect.client_id, device_name);
    authenticate::recognise(&server.hub, presented, identity, peer.address.ip()).await.map_err(|failed| {
        match failed {
            Failed::Wait(_) => ReasonCode::ConnectionRateExceeded,
            Failed::Denied(AuthenticateError::Busy) => ReasonCode::ServerBusy,
            Failed::Denied(AuthenticateError::Storage(_)) => ReasonCode::ServerUnavailable,
            Failed::Denied(_) => ReasonCode::BadUserNameOrPassword,
        }
    })
}

/// A signature of a device made for Azure IoT Hub: its key stands under its name, or under that of the
/// resource where another tenant's device has that name.
fn signed<'a>(access: &'a SharedAccess<'a>) -> Signed<'a> {
    Signed {
        identities: [&access.resource, access.device],
        device: access.device,
        dialect: "azure",
        message: access.signed.as_bytes(),
        signature: &access.signature,
        expires_at: Timestamp(access.expires_at),
    }
}

/// The device's id in a user name. Libraries made for AWS and Azure write more into it
/// (`s1?SDK=…`, `hub/s1/?api-version=…`); no id has a question mark.
fn device_name(username: &str) -> &str {
    let Some((name, _)) = username.split_once('?') else { return username };
    name.trim_end_matches('/').rsplit('/').next().unwrap_or(name)
}

/// Where a requester should await its answers (MQTT 5.0 section 4.10.1).
fn response_information(connect: &Connect<'_>, connected: &Connected) -> Option<String> {
    if !connect.properties.request_response_information {
        return None;
    }
    let session = &connected.session;
    Some(match session.principal().device() {
        Some(device) => format!("devices/{device}/response"),
        None => format!("response/{}", session.client_id()),
    })
}

fn connack<'a>(
    connect: &Connect<'_>,
    connected: &'a Connected,
    response_information: Option<&'a str>,
) -> ConnAck<'a> {
    let granted = u32::try_from(connected.expiry.as_secs()).unwrap_or(u32::MAX);
    ConnAck {
        session_present: connected.is_present,
        reason: ReasonCode::Success,
        properties: ConnAckProperties {
            session_expiry: (granted != connect.properties.session_expiry).then_some(granted),
            assigned_client_id: connect.client_id.is_empty().then(|| connected.session.client_id()),
            response_information,
            ..ConnAckProperties::default()
        },
    }
}

/// M-61: a client that promises no sign of life is asked for one by the kernel.
fn keep_alive(stream: &Stream) {
    if let Stream::Tcp(socket) = stream {
        let asked =
            SockRef::from(&**socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEP_ALIVE));
        if let Err(error) = asked {
            tracing::debug!(%error, "no TCP keep-alive");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::device_name;

    #[test]
    fn what_libraries_add_to_a_user_name_does_not_count() {
        for (username, device) in [
            ("s1", "s1"),
            ("s1?SDK=IoTDeviceSDK/Python&Platform=Unix", "s1"),
            ("hub.example/s1/?api-version=2021-04-12&DeviceClientType=x", "s1"),
            ("hub.example/s1/", "hub.example/s1/"),
            ("?a", ""),
            ("", ""),
        ] {
            assert_eq!(device_name(username), device, "{username}");
        }
    }
}
