//! What the registry takes away ends open connections.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use roost_hub::broker::{CloseReason, Session};
use roost_hub::id::{DeviceId, ProfileId};
use roost_hub::principal::{Principal, Role};
use roost_hub::registry::{
    DeviceUpdate, NewDevice, NewUser, Presented, UserUpdate, Visit, WEB_SESSION_LIFETIME, default_tenant,
};
use roost_hub::storage::Key;
use roost_testkit::world::{World, options};

fn id() -> DeviceId {
    DeviceId::parse("s1").unwrap()
}

async fn connected(world: &World) -> (Session, roost_hub::id::CredentialId) {
    let new = NewDevice { id: Some(id()), ..NewDevice::default() };
    let (_, credential, secret) = world.hub().create_device(&default_tenant(), new).await.unwrap();
    let principal = world.hub().authenticate(Presented::Token(secret.reveal())).unwrap();
    let session = world.hub().connect(&principal, options().build("client")).unwrap().session;
    assert_eq!(session.closing(), None);
    (session, credential)
}

#[tokio::test]
async fn m_69_a_revoked_credentials_connection_is_closed() {
    let world = World::new();
    let (session, credential) = connected(&world).await;
    world.hub().revoke_credential(&default_tenant(), &id(), &credential).await.unwrap();
    assert_eq!(session.closing(), Some(CloseReason::NotAuthorized));
}

#[tokio::test]
async fn m_69_another_profile_closes_the_connection() {
    let world = World::new();
    let (session, _) = connected(&world).await;
    let profile = Some(ProfileId::parse("strict").unwrap());
    let update = DeviceUpdate { profile, ..DeviceUpdate::default() };
    world.hub().update_device(&default_tenant(), &id(), update).await.unwrap();
    assert_eq!(session.closing(), Some(CloseReason::NotAuthorized));
}

#[tokio::test]
async fn a_deleted_device_is_disconnected_and_leaves_no_status() {
    let world = World::new();
    let (session, _) = connected(&world).await;
    world.hub().delete_device(&default_tenant(), &id()).await.unwrap();
    assert!(session.closing().is_some());
    drop(session);
    assert!(!world.hub().is_online(&default_tenant(), &id()));
    let prefix = Key::of("online").level("default").prefix();
    assert_eq!(world.hub().store().table.scan(&prefix, None, 10).unwrap(), []);
}

#[tokio::test]
async fn x_04_what_was_opened_with_a_cookie_holds_as_long_as_its_session() {
    let world = World::new();
    let hub = world.hub();
    let tenant = default_tenant();
    let password = || hub.hash_password("correct horse").unwrap();
    let email = "o@example.com".to_owned();
    let new = NewUser { email, name: None, role: Role::Owner, password: password() };
    let user = hub.create_user(&tenant, new).await.unwrap();
    let sign_in = async || {
        let verified = hub.verify_user("o@example.com", "correct horse").unwrap();
        let (cookie, principal) = hub.start_web_session(&verified, Visit::default()).await.unwrap();
        assert_eq!(hub.web_session(cookie.reveal()).unwrap().credential, principal.credential);
        (cookie, principal)
    };
    let holds = |principal: &Principal| hub.principal_holds(principal).unwrap();
    let (cookie, first) = sign_in().await;
    let (_, second) = sign_in().await;
    assert!(holds(&first) && holds(&second));
    hub.sign_out(cookie.reveal()).await.unwrap();
    assert!(!holds(&first) && holds(&second));
    let update = UserUpdate { password: Some(password()), ..UserUpdate::default() };
    hub.update_user(&tenant, &user.id, update).await.unwrap();
    assert!(!holds(&second));
    let (_, third) = sign_in().await;
    assert!(holds(&third));
    world.advance(WEB_SESSION_LIFETIME);
    assert!(!holds(&third));
}
