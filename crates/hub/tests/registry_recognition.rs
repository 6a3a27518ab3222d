//! Who shows a token with every request is looked up once, and anew when the registry has changed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use roost_hub::Hub;
use roost_hub::id::{DeviceId, ProfileId};
use roost_hub::principal::{Actor, Principal, Role};
use roost_hub::registry::{AuthenticateError, DeviceUpdate, NewDevice, NewToken, Presented, default_tenant};
use roost_testkit::world::World;

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

async fn device(hub: &Hub, text: &str) -> String {
    let new = NewDevice { id: Some(id(text)), ..NewDevice::default() };
    hub.create_device(&default_tenant(), new).await.unwrap().2.reveal().to_owned()
}

fn is_unknown(result: Result<Arc<Principal>, AuthenticateError>) -> bool {
    matches!(result, Err(AuthenticateError::Unknown))
}

#[tokio::test]
async fn who_shows_a_token_again_is_who_the_registry_says_by_then() {
    let world = World::new();
    let hub = world.hub();
    let in_a_minute = hub.now().after(Duration::from_secs(60));
    let new = NewToken {
        name: "app".to_owned(),
        role: Role::Viewer,
        operator: false,
        expires_at: Some(in_a_minute),
    };
    let application = hub.create_token(&default_tenant(), new).await.unwrap().1.reveal().to_owned();
    let secret = device(hub, "s1").await;
    let other = device(hub, "s2").await;
    let profile = || {
        let device = hub.authenticate(Presented::Token(&secret)).unwrap();
        match &device.actor {
            Actor::Device { profile, .. } => profile.to_string(),
            other => panic!("{other:?}"),
        }
    };
    for _ in 0..2 {
        assert_eq!(profile(), "standard");
        assert!(is_unknown(
            hub.authenticate(Presented::Basic { username: "s1", password: other.as_bytes() })
        ));
        assert_eq!(hub.authenticate(Presented::Token(&application)).unwrap().role(), Some(Role::Viewer));
    }
    let tasmota = ProfileId::parse("tasmota").unwrap();
    let update = DeviceUpdate { profile: Some(tasmota), ..DeviceUpdate::default() };
    hub.update_device(&default_tenant(), &id("s1"), update).await.unwrap();
    assert_eq!(profile(), "tasmota");
    hub.delete_device(&default_tenant(), &id("s1")).await.unwrap();
    assert!(is_unknown(hub.authenticate(Presented::Token(&secret))));
    device(hub, "s1").await;
    assert!(is_unknown(hub.authenticate(Presented::Token(&secret))));
    world.advance(Duration::from_secs(60));
    let expired = hub.authenticate(Presented::Token(&application));
    assert!(matches!(expired, Err(AuthenticateError::Expired)), "{expired:?}");
}

#[tokio::test]
async fn whether_somebody_still_holds_is_known_as_soon_as_the_registry_or_the_time_says_otherwise() {
    let world = World::new();
    let hub = world.hub();
    let secret = device(hub, "s1").await;
    let held = hub.authenticate(Presented::Token(&secret)).unwrap();
    let in_a_minute = Some(hub.now().after(Duration::from_secs(60)));
    let new =
        NewToken { name: "app".to_owned(), role: Role::Viewer, operator: false, expires_at: in_a_minute };
    let token = hub.create_token(&default_tenant(), new).await.unwrap().1;
    let expiring = hub.authenticate(Presented::Token(token.reveal())).unwrap();
    let (mut seen, mut seen_of_expiring) = (None, None);
    for _ in 0..2 {
        assert!(hub.principal_holds_still(&held, &mut seen).unwrap());
        assert!(hub.principal_holds_still(&expiring, &mut seen_of_expiring).unwrap());
    }
    device(hub, "s2").await;
    assert!(hub.principal_holds_still(&held, &mut seen).unwrap());
    world.advance(Duration::from_secs(60));
    assert!(!hub.principal_holds_still(&expiring, &mut seen_of_expiring).unwrap());
    assert!(hub.principal_holds_still(&held, &mut seen).unwrap());
    hub.delete_device(&default_tenant(), &id("s1")).await.unwrap();
    for _ in 0..2 {
        assert!(!hub.principal_holds_still(&held, &mut seen).unwrap());
    }
}
