//! What devices say in the words of their families is heard, by whichever way it came.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roost_hub::Hub;
use roost_hub::broker::{Leave, PublishError, Start, Will};
use roost_hub::id::{DeviceId, ProfileId, TenantId};
use roost_hub::message::QoS;
use roost_hub::principal::Principal;
use roost_hub::registry::{DeviceUpdate, NewDevice, Presented};
use roost_hub::storage::{Position, StorageError};
use roost_testkit::world::{World, message, options, with_qos};

const TOKEN: &str = "a-token-of-the-device";
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

fn tenant() -> TenantId {
    TenantId::parse("default").unwrap()
}

/// A device with the profile of a dialect.
async fn device(world: &World, id: &str, profile: &str) -> Arc<Principal> {
    let new = NewDevice {
        id: DeviceId::parse(id).ok(),
        profile: ProfileId::parse(profile).ok(),
        token: Some(format!("{TOKEN}-{id}")),
        ..NewDevice::default()
    };
    world.hub().create_device(&tenant(), new).await.unwrap();
    world.hub().authenticate(Presented::Token(&format!("{TOKEN}-{id}"))).unwrap()
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// Notes all that the hub shows.
    fn by(hub: &Hub) -> Self {
        let heard = Self::default();
        let note = heard.clone();
        hub.interpret_by(Box::new(move |_hub, principal, message| {
            let device = principal.device().unwrap();
            let text = String::from_utf8_lossy(&message.payload);
            note.0.lock().unwrap().push(format!("{device} {} {text}", message.topic));
            Ok(Some(Position(0)))
        }));
        heard
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[tokio::test]
async fn a_message_is_heard_once_whether_a_session_or_a_request_brings_it() {
    let world = World::new();
    let plug = device(&world, "plug", "tasmota").await;
    let heard = Heard::by(world.hub());
    let mut session = world.hub().connect(&plug, options().build("plug")).unwrap().session;
    session.publish(message("tele/plug/STATE", "1"), None).unwrap();
    let twice = with_qos(message("tele/plug/STATE", "2"), QoS::ExactlyOnce);
    session.publish(twice.clone(), NonZeroU16::new(7)).unwrap();
    session.publish(twice, NonZeroU16::new(7)).unwrap();
    let published = world.hub().publish(&plug, message("tele/plug/STATE", "3")).unwrap();
    assert!(published.is_routed, "who heard it got it");
    assert_eq!(heard.take(), ["plug tele/plug/STATE 1", "plug tele/plug/STATE 2", "plug tele/plug/STATE 3"]);
    world.hub().publish_translated(&plug, message("tele/plug/STATE", "4")).unwrap();
    assert_eq!(heard.take(), Vec::<String>::new());
}

#[tokio::test]
async fn only_devices_with_a_dialect_are_heard_and_only_where_they_may_publish() {
    let world = World::new();
    let plug = device(&world, "plug", "tasmota").await;
    let plain = device(&world, "plain", "standard").await;
    let heard = Heard::by(world.hub());
    world.hub().publish(&plain, message("tele/plug/STATE", "1")).unwrap();
    world.hub().publish(&world.principal_of_tenant("default"), message("tele/plug/STATE", "2")).unwrap();
    let denied = world.hub().publish(&plug, message("devices/plain/telemetry", "{}"));
    assert_eq!(denied, Err(PublishError::NotAuthorized));
    assert_eq!(heard.take(), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_not_understood_for_want_of_room_is_not_taken() {
    let world = World::new();
    let plug = device(&world, "plug", "tasmota").await;
    world.hub().interpret_by(Box::new(|_hub, _principal, _message| Err(StorageError::Full)));
    let refused = world.hub().publish(&plug, message("tele/plug/STATE", "1"));
    assert_eq!(refused, Err(PublishError::Storage(StorageError::Full)));
}

#[tokio::test]
async fn a_will_is_heard_when_it_is_sent_and_not_before() {
    let world = World::new();
    let plug = device(&world, "plug", "tasmota").await;
    let heard = Heard::by(world.hub());
    let will = |seconds| Will {
        message: message("tele/plug/LWT", "Offline"),
        delay: Duration::from_secs(seconds),
        expiry: None,
    };
    let connect = |seconds, start| {
        let options = options().expiry(WEEK).will(will(seconds)).start(start);
        world.hub().connect(&plug, options.build("plug")).unwrap().session
    };
    let once = ["plug tele/plug/LWT Offline"];
    connect(0, Start::Clean).leave(Leave::Normally, None);
    assert_eq!(heard.take(), Vec::<String>::new(), "it said good-bye");
    connect(0, Start::Clean).leave(Leave::Lost, None);
    assert_eq!(heard.take(), once, "it was lost");
    let old = connect(0, Start::Clean);
    let new = connect(60, Start::Clean);
    assert_eq!(heard.take(), once, "another connection took the session over");
    old.leave(Leave::TakenOver, None);
    new.leave(Leave::Lost, None);
    world.advance(Duration::from_secs(59));
    assert_eq!(heard.take(), Vec::<String>::new(), "it has a delay");
    world.advance(Duration::from_secs(2));
    assert_eq!(heard.take(), once, "its delay is over");
    let _connected = connect(0, Start::Clean);
    let world = world.restarted();
    let heard = Heard::by(world.hub());
    world.advance(Duration::from_secs(1));
    assert_eq!(heard.take(), once, "the server died while it was connected");
}

#[tokio::test]
async fn a_will_is_no_longer_heard_of_a_device_that_speaks_another_way_by_then() {
    let world = World::new();
    let plug = device(&world, "plug", "tasmota").await;
    let heard = Heard::by(world.hub());
    let will = Will { message: message("tele/plug/LWT", "Offline"), delay: WEEK, expiry: None };
    let options = options().expiry(WEEK).will(will);
    world.hub().connect(&plug, options.build("plug")).unwrap().session.leave(Leave::Lost, None);
    let update = DeviceUpdate { profile: ProfileId::parse("standard").ok(), ..DeviceUpdate::default() };
    world.hub().update_device(&tenant(), plug.device().unwrap(), update).await.unwrap();
    let world = world.restarted();
    let again = Heard::by(world.hub());
    world.advance(WEEK + Duration::from_secs(1));
    assert_eq!((heard.take(), again.take()), (Vec::new(), Vec::<String>::new()));
}
