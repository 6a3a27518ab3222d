//! Devices, credentials, tokens, people and tenants by their public verbs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use roost_hub::Hub;
use roost_hub::id::{DeviceId, ProfileId, TenantId};
use roost_hub::principal::{Principal, Role};
use roost_hub::registry::{
    AddCredentialError, AuthenticateError, CreateDeviceError, CreateTenantError, DeleteUserError,
    DeviceQuery, DeviceUpdate, NewCredential, NewDevice, NewToken, NewUser, PasswordHash, Presented,
    SetUpError, SignInError, Throttle, UserUpdate, Visit, WEB_SESSION_LIFETIME, default_tenant,
};
use roost_hub::storage::{Expected, Key};
use roost_hub::time::Timestamp;
use roost_testkit::world::{World, id};

fn named(text: &str) -> NewDevice {
    NewDevice { id: Some(id(text)), ..NewDevice::default() }
}

fn pair<'a>(username: &'a str, password: &'a str) -> Presented<'a> {
    Presented::Pair { username, password: password.as_bytes() }
}

async fn device(hub: &Hub, tenant: &TenantId, text: &str) -> String {
    hub.create_device(tenant, named(text)).await.unwrap().2.reveal().to_owned()
}

async fn tenant(hub: &Hub, text: &str) -> (TenantId, String) {
    let (tenant, secret) = hub.create_tenant(TenantId::parse(text).unwrap(), None).await.unwrap();
    (tenant.id, secret.reveal().to_owned())
}

fn is_unknown(result: Result<Arc<Principal>, AuthenticateError>) -> bool {
    matches!(result, Err(AuthenticateError::Unknown))
}

async fn token(hub: &Hub, role: Role, expires_at: Option<Timestamp>) -> String {
    let new = NewToken { name: "app".to_owned(), role, operator: false, expires_at };
    hub.create_token(&default_tenant(), new).await.unwrap().1.reveal().to_owned()
}

fn password(hub: &Hub) -> PasswordHash {
    hub.hash_password("correct horse").unwrap()
}

fn person(hub: &Hub, email: &str, role: Role) -> NewUser {
    NewUser { email: email.to_owned(), name: None, role, password: password(hub) }
}

#[tokio::test]
async fn a_device_logs_in_in_every_way_that_is_promised_and_in_no_other() {
    let world = World::new();
    let hub = world.hub();
    let secret = device(hub, &default_tenant(), "s1").await;
    let other = device(hub, &default_tenant(), "s2").await;
    assert!(secret.len() <= 48);
    let basic = Presented::Basic { username: "s1", password: secret.as_bytes() };
    for shown in [pair("s1", &secret), pair(&secret, ""), Presented::Token(&secret), basic] {
        assert_eq!(hub.authenticate(shown).unwrap().device(), Some(&id("s1")));
    }
    for shown in [
        pair("s1", ""),
        pair("s1", "wrong"),
        pair("s1", &other),
        pair("", &secret),
        pair(&secret, &secret),
        Presented::Token(""),
        Presented::Token("s1"),
        Presented::Certificate { common_name: "s1" },
    ] {
        assert!(is_unknown(hub.authenticate(shown)));
    }
}

#[tokio::test]
async fn an_application_logs_in_with_any_name_and_its_token() {
    let world = World::new();
    let hub = world.hub();
    let secret = token(hub, Role::Viewer, Some(hub.now().after(Duration::from_secs(60)))).await;
    for shown in [pair("anything", &secret), pair("", &secret), Presented::Token(&secret)] {
        assert_eq!(hub.authenticate(shown).unwrap().role(), Some(Role::Viewer));
    }
    assert!(is_unknown(hub.authenticate(pair(&secret, ""))));
    world.advance(Duration::from_secs(60));
    assert!(matches!(hub.authenticate(Presented::Token(&secret)), Err(AuthenticateError::Expired)));
}

#[tokio::test]
async fn m_16_a_wildcard_or_a_path_is_no_id_and_opens_nothing() {
    let world = World::new();
    let hub = world.hub();
    let secret = device(hub, &default_tenant(), "s1").await;
    for bad in ["+", "#", "a/b", "..", "../s1", "s1/#"] {
        assert!(DeviceId::parse(bad).is_err());
        assert!(is_unknown(hub.authenticate(pair(bad, &secret))));
        assert!(is_unknown(hub.authenticate(Presented::Certificate { common_name: bad })));
    }
}

#[tokio::test]
async fn x_04_a_revoked_credential_opens_nothing_from_then_on() {
    let world = World::new();
    let hub = world.hub();
    let (created, first, secret) = hub.create_device(&default_tenant(), named("s1")).await.unwrap();
    let given = NewCredential::Token { given: Some("burned-in-token".to_owned()) };
    hub.add_credential(&default_tenant(), &created.id, given.clone()).await.unwrap();
    let again = hub.add_credential(&default_tenant(), &created.id, given).await;
    assert!(matches!(again, Err(AddCredentialError::Taken(_))));
    let principal = hub.authenticate(Presented::Token(secret.reveal())).unwrap();
    assert!(hub.principal_holds(&principal).unwrap());
    hub.revoke_credential(&default_tenant(), &created.id, &first).await.unwrap();
    assert!(is_unknown(hub.authenticate(Presented::Token(secret.reveal()))));
    assert!(!hub.principal_holds(&principal).unwrap());
    assert!(hub.authenticate(pair("s1", "burned-in-token")).is_ok());
    assert_eq!(hub.credentials(&default_tenant(), &created.id).unwrap().len(), 1);
}

#[tokio::test]
async fn a_password_is_hashed_once_and_known_quickly_after() {
    let world = World::new();
    let hub = world.hub();
    device(hub, &default_tenant(), "s1").await;
    let new = NewCredential::Password { hash: password(hub) };
    let (added, _) = hub.add_credential(&default_tenant(), &id("s1"), new).await.unwrap();
    let Err(AuthenticateError::NeedsHashing(check)) = hub.authenticate(pair("s1", "correct horse")) else {
        panic!("a password has to be hashed");
    };
    assert_eq!(hub.verify_password(&check).unwrap().device(), Some(&id("s1")));
    assert!(hub.authenticate(pair("s1", "correct horse")).is_ok());
    let Err(AuthenticateError::NeedsHashing(wrong)) = hub.authenticate(pair("s1", "wrong horse")) else {
        panic!("a password has to be hashed");
    };
    assert!(is_unknown(hub.verify_password(&wrong)));
    hub.revoke_credential(&default_tenant(), &id("s1"), &added.id).await.unwrap();
    assert!(is_unknown(hub.authenticate(pair("s1", "correct horse"))));
    assert!(is_unknown(hub.verify_password(&check)));
}

#[tokio::test]
async fn certificates_and_pre_shared_keys_name_their_device() {
    let world = World::new();
    let hub = world.hub();
    device(hub, &default_tenant(), "s1").await;
    let tenant = default_tenant();
    hub.add_credential(&tenant, &id("s1"), NewCredential::X509 { common_name: None }).await.unwrap();
    let psk = NewCredential::Psk { identity: "sensor 1".to_owned(), key: Some(b"12345678".to_vec()) };
    hub.add_credential(&tenant, &id("s1"), psk).await.unwrap();
    let shown = Presented::Certificate { common_name: "s1" };
    assert_eq!(hub.authenticate(shown).unwrap().device(), Some(&id("s1")));
    let psk = hub.psk("sensor 1").unwrap();
    assert_eq!((psk.principal.device(), psk.key.as_slice()), (Some(&id("s1")), &b"12345678"[..]));
    assert!(hub.psk("sensor 2").is_err());
    assert!(!format!("{psk:?}").contains("key"));
}

#[tokio::test]
async fn a_deleted_devices_token_does_not_open_the_next_one_of_its_id() {
    let world = World::new();
    let hub = world.hub();
    let old = device(hub, &default_tenant(), "s1").await;
    let again = hub.create_device(&default_tenant(), named("s1")).await;
    assert_eq!(again.unwrap_err(), CreateDeviceError::Exists);
    hub.delete_device(&default_tenant(), &id("s1")).await.unwrap();
    assert!(hub.delete_device(&default_tenant(), &id("s1")).await.is_err());
    let new = device(hub, &default_tenant(), "s1").await;
    assert!(is_unknown(hub.authenticate(Presented::Token(&old))));
    assert!(hub.authenticate(Presented::Token(&new)).is_ok());
    assert_eq!(hub.credentials(&default_tenant(), &id("s1")).unwrap().len(), 1);
}

#[tokio::test]
async fn a_tenant_has_so_many_devices_and_no_more() {
    let world = World::with(|settings| settings.devices_max = 2);
    let hub = world.hub();
    device(hub, &default_tenant(), "s1").await;
    device(hub, &default_tenant(), "s2").await;
    let third = hub.create_device(&default_tenant(), named("s3")).await;
    assert_eq!(third.unwrap_err(), CreateDeviceError::TooMany(2));
    hub.delete_device(&default_tenant(), &id("s1")).await.unwrap();
    device(hub, &default_tenant(), "s3").await;
}

#[tokio::test]
async fn devices_are_listed_page_by_page_and_found_by_text_and_label() {
    let world = World::new();
    let hub = world.hub();
    for number in 0..25 {
        let labels = BTreeMap::from([("room".to_owned(), format!("r{}", number % 2))]);
        let new = NewDevice { labels, ..named(&format!("d{number:02}")) };
        hub.create_device(&default_tenant(), new).await.unwrap();
    }
    let find = |query: DeviceQuery| {
        let mut query = DeviceQuery { limit: 10, ..query };
        let mut found = Vec::new();
        loop {
            let page = hub.devices(&default_tenant(), &query).unwrap();
            assert!(page.items.len() <= 10);
            found.extend(page.items.into_iter().map(|device| device.id.as_str().to_owned()));
            query.cursor = page.next;
            if query.cursor.is_none() {
                return found;
            }
        }
    };
    let all = find(DeviceQuery::default());
    assert_eq!(all.len(), 25);
    assert!(all.is_sorted());
    let label =
        |text: &str| find(DeviceQuery { label: Some(text.to_owned()), ..DeviceQuery::default() }).len();
    assert_eq!(
        [label("room"), label("room=r0"), label("room:r1"), label("room=r2"), label("r0")],
        [25, 13, 12, 0, 0]
    );
    let text = |text: &str| find(DeviceQuery { q: Some(text.to_owned()), ..DeviceQuery::default() }).len();
    assert_eq!([text("D1"), text("R0"), text("nothing")], [10, 13, 0]);
    assert_eq!(find(DeviceQuery { online: Some(true), ..DeviceQuery::default() }).len(), 0);
}

#[tokio::test]
async fn a_gateway_speaks_for_its_children_as_long_as_they_are() {
    let world = World::new();
    let hub = world.hub();
    let tenant = default_tenant();
    let secret = device(hub, &tenant, "gateway").await;
    hub.create_device(&tenant, NewDevice { parent: Some(id("gateway")), ..named("child") }).await.unwrap();
    let gateway = hub.authenticate(Presented::Token(&secret)).unwrap();
    let may = || roost_hub::access::may_receive(&gateway, "devices/child/commands");
    assert!(may() && hub.parent_of(&tenant, &id("child")) == Some(id("gateway")));
    assert_eq!(hub.children(&tenant, &id("gateway")).unwrap().len(), 1);
    let update = DeviceUpdate { parent: Some(None), ..DeviceUpdate::default() };
    hub.update_device(&tenant, &id("child"), update).await.unwrap();
    assert!(!may());
    let update = DeviceUpdate { parent: Some(Some(id("gateway"))), ..DeviceUpdate::default() };
    hub.update_device(&tenant, &id("child"), update).await.unwrap();
    assert!(may());
    let restarted = world.restarted();
    assert_eq!(restarted.hub().parent_of(&tenant, &id("child")), Some(id("gateway")));
    hub.delete_device(&tenant, &id("gateway")).await.unwrap();
    assert!(!may());
    assert_eq!(hub.device(&tenant, &id("child")).unwrap().unwrap().parent, None);
}

#[tokio::test]
async fn h_19_the_same_id_in_two_tenants_is_two_devices() {
    let world = World::new();
    let hub = world.hub();
    let (other, _) = tenant(hub, "other").await;
    let ours = device(hub, &default_tenant(), "s1").await;
    assert_eq!(hub.device(&other, &id("s1")).unwrap(), None);
    let theirs = device(hub, &other, "s1").await;
    assert_eq!(hub.authenticate(pair("s1", &ours)).unwrap().tenant, default_tenant());
    assert_eq!(hub.authenticate(pair("s1", &theirs)).unwrap().tenant, other);
    hub.delete_device(&other, &id("s1")).await.unwrap();
    assert!(hub.authenticate(pair("s1", &ours)).is_ok());
}

#[tokio::test]
async fn x_07_a_deleted_tenant_is_gone_and_its_id_is_never_used_again() {
    let world = World::new();
    let hub = world.hub();
    let (gone, owner) = tenant(hub, "gone").await;
    let secret = device(hub, &gone, "s1").await;
    let user = hub.create_user(&gone, person(hub, "o@example.com", Role::Owner)).await.unwrap();
    hub.delete_tenant(&gone).await.unwrap();
    assert!(is_unknown(hub.authenticate(Presented::Token(&owner))));
    assert!(is_unknown(hub.authenticate(Presented::Token(&secret))));
    assert_eq!(hub.verify_user("o@example.com", "correct horse").unwrap_err(), SignInError::Wrong);
    assert_eq!((hub.tenant(&gone).unwrap(), hub.user(&gone, &user.id).unwrap()), (None, None));
    assert_eq!(hub.create_tenant(gone.clone(), None).await.unwrap_err(), CreateTenantError::Exists);
    assert!(hub.create_device(&gone, named("s2")).await.is_err());
    assert_eq!(world.restarted().hub().tenant(&gone).unwrap(), None);
    for table in ["devices", "credentials", "tokens", "users", "secrets", "emails"] {
        assert_eq!(hub.store().table.scan(&format!("{table}/"), None, 10).unwrap(), [], "{table}");
    }
    assert!(hub.delete_tenant(&default_tenant()).await.is_err());
}

#[tokio::test]
async fn m_72_a_damaged_registry_denies() {
    let world = World::new();
    let hub = world.hub();
    let secret = device(hub, &default_tenant(), "s1").await;
    for garbage in ["", "{}", "null", "[1", "{\"id\":\"s1\"}"] {
        let key = Key::of("devices").level("default").level("s1").key().unwrap();
        hub.store().table.put(&key, Some(Bytes::from(garbage)), Expected::Any).unwrap();
        let denied = hub.authenticate(Presented::Token(&secret));
        assert!(matches!(denied, Err(AuthenticateError::Storage(_))), "{garbage}");
    }
}

#[tokio::test]
async fn m_72_a_device_whose_profile_is_gone_is_denied() {
    let world = World::new();
    let hub = world.hub();
    let secret = device(hub, &default_tenant(), "s1").await;
    let key = Key::of("devices").level("default").level("s1").key().unwrap();
    let mut kept = serde_json::to_value(hub.device(&default_tenant(), &id("s1")).unwrap().unwrap()).unwrap();
    kept.as_object_mut().unwrap().insert("profile".to_owned(), "nobody".into());
    let bytes = Bytes::from(serde_json::to_vec(&kept).unwrap());
    hub.store().table.put(&key, Some(bytes), Expected::Any).unwrap();
    assert!(is_unknown(hub.authenticate(Presented::Token(&secret))));
    let unknown = NewDevice { profile: Some(ProfileId::parse("nobody").unwrap()), ..named("s2") };
    assert!(matches!(
        hub.create_device(&default_tenant(), unknown).await,
        Err(CreateDeviceError::Invalid(_))
    ));
}

#[tokio::test]
async fn x_12_the_first_owner_needs_the_token_from_the_console_once_and_in_time() {
    let world = World::new();
    let hub = world.hub();
    let owner = || person(hub, "o@example.com", Role::Viewer);
    let set_up = async |token: &str| hub.set_up(token, owner(), Visit::default()).await;
    assert!(hub.setup_needed().unwrap());
    assert_eq!(set_up("guess").await.unwrap_err(), SetUpError::Token);
    let old = hub.setup_token().unwrap().unwrap();
    world.advance(Duration::from_secs(30 * 60));
    assert_eq!(set_up(old.reveal()).await.unwrap_err(), SetUpError::Token);
    let token = hub.setup_token().unwrap().unwrap();
    let (cookie, principal) = set_up(token.reveal()).await.unwrap();
    assert!(principal.is_operator() && principal.role() == Some(Role::Owner));
    assert!(hub.web_session(cookie.reveal()).is_ok());
    assert_eq!(set_up(token.reveal()).await.unwrap_err(), SetUpError::Done);
    assert_eq!((hub.setup_token().unwrap(), hub.setup_needed().unwrap()), (None, false));
}

#[tokio::test]
async fn the_admin_token_is_the_operators_and_the_latest_text_counts() {
    let world = World::new();
    let hub = world.hub();
    hub.ensure_admin_token("first-admin-token").await.unwrap();
    hub.ensure_admin_token("first-admin-token").await.unwrap();
    assert!(hub.authenticate(Presented::Token("first-admin-token")).unwrap().is_operator());
    assert!(!hub.setup_needed().unwrap());
    hub.ensure_admin_token("second-admin-token").await.unwrap();
    assert!(is_unknown(hub.authenticate(Presented::Token("first-admin-token"))));
    assert!(hub.authenticate(Presented::Token("second-admin-token")).is_ok());
    assert!(hub.ensure_admin_token("short").await.is_err());
    assert_eq!(hub.tokens(&default_tenant()).unwrap().len(), 1);
}

#[tokio::test]
async fn x_04_a_new_password_or_being_shut_out_ends_what_is_signed_in() {
    let world = World::new();
    let hub = world.hub();
    let tenant = default_tenant();
    hub.create_user(&tenant, person(hub, "owner@example.com", Role::Owner)).await.unwrap();
    let user = hub.create_user(&tenant, person(hub, "V@Example.com", Role::Viewer)).await.unwrap();
    let sign_in = async || {
        let verified = hub.verify_user(" v@example.COM", "correct horse")?;
        hub.start_web_session(&verified, Visit::default()).await
    };
    let (cookie, _) = sign_in().await.unwrap();
    assert_eq!(hub.web_session(cookie.reveal()).unwrap().role(), Some(Role::Viewer));
    let update = UserUpdate { password: Some(password(hub)), ..UserUpdate::default() };
    hub.update_user(&tenant, &user.id, update).await.unwrap();
    assert!(is_unknown(hub.web_session(cookie.reveal())));
    let (cookie, _) = sign_in().await.unwrap();
    hub.sign_out(cookie.reveal()).await.unwrap();
    assert!(is_unknown(hub.web_session(cookie.reveal())));
    let (cookie, _) = sign_in().await.unwrap();
    let update = UserUpdate { disabled: Some(true), ..UserUpdate::default() };
    hub.update_user(&tenant, &user.id, update).await.unwrap();
    assert!(is_unknown(hub.web_session(cookie.reveal())));
    assert_eq!(sign_in().await.unwrap_err(), SignInError::Wrong);
}

#[tokio::test]
async fn where_somebody_is_signed_in_is_listed_and_one_place_can_be_ended() {
    let world = World::new();
    let hub = world.hub();
    let tenant = default_tenant();
    let user = hub.create_user(&tenant, person(hub, "o@example.com", Role::Owner)).await.unwrap().id;
    let sign_in = async |browser: &str| {
        let verified = hub.verify_user("o@example.com", "correct horse").unwrap();
        let visit = Visit { address: Some([10, 0, 0, 7].into()), browser: Some(browser.to_owned()) };
        hub.start_web_session(&verified, visit).await.unwrap().0
    };
    let (first, second) = (sign_in("Firefox").await, sign_in(&"ü".repeat(300)).await);
    let listed = hub.web_sessions(&tenant, &user).unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].visit.browser.as_deref(), Some("Firefox"));
    assert_eq!(listed[1].visit.browser.as_ref().map(String::len), Some(200));
    assert_eq!(
        (listed[0].started_at, listed[0].visit.address),
        (Some(hub.now()), Some([10, 0, 0, 7].into()))
    );
    assert!(hub.end_web_session(&tenant, &user, &listed[0].id).await.unwrap());
    assert!(!hub.end_web_session(&tenant, &user, &listed[0].id).await.unwrap());
    assert!(is_unknown(hub.web_session(first.reveal())));
    assert!(hub.web_session(second.reveal()).is_ok());
    let third = sign_in("phone").await;
    let stays = hub.web_session(third.reveal()).unwrap().credential.as_ref().map(|own| own.id.clone());
    let update = UserUpdate { password: Some(password(hub)), stays, ..UserUpdate::default() };
    hub.update_user(&tenant, &user, update).await.unwrap();
    assert!(is_unknown(hub.web_session(second.reveal())));
    assert!(hub.web_session(third.reveal()).is_ok());
    world.advance(WEB_SESSION_LIFETIME);
    assert!(hub.web_sessions(&tenant, &user).unwrap().is_empty());
}

#[tokio::test]
async fn a_web_session_ends_by_itself_and_a_cookie_is_no_token() {
    let world = World::new();
    let hub = world.hub();
    hub.create_user(&default_tenant(), person(hub, "o@example.com", Role::Owner)).await.unwrap();
    let verified = hub.verify_user("o@example.com", "correct horse").unwrap();
    let (cookie, _) = hub.start_web_session(&verified, Visit::default()).await.unwrap();
    assert!(is_unknown(hub.authenticate(Presented::Token(cookie.reveal()))));
    world.advance(WEB_SESSION_LIFETIME);
    assert!(matches!(hub.web_session(cookie.reveal()), Err(AuthenticateError::Expired)));
}

#[tokio::test]
async fn h_29_an_unknown_address_and_a_wrong_password_are_told_alike() {
    let world = World::new();
    let hub = world.hub();
    let owner = hub.create_user(&default_tenant(), person(hub, "o@example.com", Role::Owner)).await.unwrap();
    let wrong = hub.verify_user("o@example.com", "wrong horse").unwrap_err();
    assert_eq!(hub.verify_user("nobody@example.com", "wrong horse").unwrap_err(), wrong);
    let last = hub.delete_user(&default_tenant(), &owner.id).await;
    assert_eq!(last.unwrap_err(), DeleteUserError::LastOwner);
}

#[tokio::test]
async fn no_secret_stands_in_the_store() {
    let world = World::new();
    let hub = world.hub();
    let mut secrets = vec![device(hub, &default_tenant(), "s1").await, token(hub, Role::Admin, None).await];
    hub.create_user(&default_tenant(), person(hub, "o@example.com", Role::Owner)).await.unwrap();
    secrets.push("correct horse".to_owned());
    for (key, entry) in hub.store().table.scan("", None, 1_000).unwrap() {
        let text = String::from_utf8_lossy(&entry.value).into_owned();
        assert!(!secrets.iter().any(|secret| text.contains(secret) || key.as_str().contains(secret)));
    }
}

#[tokio::test]
async fn a_link_names_one_device_in_the_whole_server() {
    let world = World::new();
    let hub = world.hub();
    let links = vec![serde_json::json!({"listen": "spot", "serial": "1187"})];
    let new = NewDevice { links: links.clone(), ..named("spot") };
    hub.create_device(&default_tenant(), new).await.unwrap();
    assert_eq!(hub.device_by_link("spot", "1187").unwrap(), Some((default_tenant(), id("spot"))));
    let second = hub.create_device(&default_tenant(), NewDevice { links, ..named("other") }).await;
    assert!(matches!(second, Err(CreateDeviceError::Invalid(_))));
    let update = DeviceUpdate { links: Some(Vec::new()), ..DeviceUpdate::default() };
    hub.update_device(&default_tenant(), &id("spot"), update).await.unwrap();
    assert_eq!(hub.device_by_link("spot", "1187").unwrap(), None);
}

#[test]
fn m_28_failures_hold_up_the_guesser_and_not_the_others_behind_the_same_address() {
    let throttle = Throttle::default();
    let address: IpAddr = [192, 0, 2, 1].into();
    let now = Timestamp(1_000_000);
    throttle.login_succeeded(address, "known", now);
    for number in 0..200_i64 {
        throttle.login_failed(address, "victim", Timestamp(now.0 + number));
    }
    let now = Timestamp(now.0 + 200);
    let wait = throttle.allow_login(address, "victim", now).unwrap_err().0;
    assert!(wait <= Duration::from_secs(60) && !wait.is_zero());
    assert!(throttle.allow_login([192, 0, 2, 2].into(), "victim", now).is_err());
    for good in ["known", "fresh"] {
        assert_eq!(throttle.allow_login(address, good, now), Ok(()));
    }
    assert_eq!(throttle.allow_hashing(address, "known", now), Ok(()));
    assert!(throttle.allow_hashing(address, "fresh", now).is_err());
    assert_eq!(throttle.allow_login(address, "victim", now.after(Duration::from_secs(60))), Ok(()));
}

#[test]
fn nobody_waits_for_a_wall_clock_that_was_set_back() {
    let throttle = Throttle::default();
    let address: IpAddr = [192, 0, 2, 1].into();
    let ahead = Timestamp(365 * 86_400_000);
    throttle.login_succeeded(address, "s1", ahead);
    for _ in 0..20 {
        throttle.login_failed(address, "s2", ahead);
    }
    let now = Timestamp(0);
    assert_eq!(throttle.allow_login(address, "s1", now), Ok(()));
    assert_eq!(throttle.allow_login(address, "s2", now), Ok(()));
    // Guessing still costs.
    for _ in 0..20 {
        throttle.login_failed(address, "s2", now);
    }
    let wait = throttle.allow_login(address, "s2", now).unwrap_err().0;
    assert!(wait <= Duration::from_secs(60));
}

#[test]
fn m_28_a_known_client_is_not_shut_out_by_strangers_who_use_its_name() {
    let throttle = Throttle::default();
    let (home, stranger): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [203, 0, 113, 9].into());
    let now = Timestamp(0);
    throttle.login_succeeded(home, "s1", now);
    for _ in 0..100 {
        throttle.login_failed(stranger, "s1", now);
    }
    assert!(throttle.allow_login(stranger, "s1", now).is_err());
    assert_eq!(throttle.allow_login(home, "s1", now), Ok(()));
}
