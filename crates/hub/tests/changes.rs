//! Watching devices without a task for each.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use roost_hub::Hub;
use roost_hub::changes::{Changes, Part, WATCHES_MAX};
use roost_hub::document::{Condition, NewDocument};
use roost_hub::id::DeviceId;
use roost_hub::mailbox::NewCommand;
use roost_hub::registry::NewDevice;
use roost_testkit::world::{World, tenant};
use serde_json::json;

fn device() -> DeviceId {
    DeviceId::parse("s1").unwrap()
}

fn told(changes: &Changes) -> Vec<u32> {
    match changes.poll_take(&Context::from_waker(Waker::noop())) {
        Poll::Ready(mut numbers) => {
            numbers.sort_unstable();
            numbers
        }
        Poll::Pending => Vec::new(),
    }
}

async fn watched() -> (World, Arc<Changes>) {
    let world = World::new();
    world.hub().ensure_admin_token("an-admin-token-of-the-tests").await.unwrap();
    let new = NewDevice { id: Some(device()), ..NewDevice::default() };
    world.hub().create_device(&tenant(), new).await.unwrap();
    let changes = Arc::new(Changes::default());
    for (part, number) in [(Part::Commands, 1), (Part::Twin, 2), (Part::Documents, 3)] {
        assert!(world.hub().watch_changes(&tenant(), &device(), (part, number), &changes));
    }
    (world, changes)
}

async fn put(hub: &Hub, body: &'static str) {
    let new = NewDocument { content_type: String::new(), body: body.into() };
    hub.put_document(&tenant(), &device(), ("x", Condition::Any), new).await.unwrap();
}

#[tokio::test]
async fn each_part_is_told_of_once_however_often_it_changed() {
    let (world, changes) = watched().await;
    let hub = world.hub();
    assert_eq!(told(&changes), [0_u32; 0]);
    put(hub, "1").await;
    put(hub, "2").await;
    assert_eq!(told(&changes), [3]);
    assert_eq!(told(&changes), [0_u32; 0]);
    hub.patch_desired(&tenant(), &device(), json!({ "a": 1 }), None).await.unwrap();
    let command = NewCommand { name: "go".to_owned(), ..NewCommand::default() };
    hub.send_command(&tenant(), &device(), command).await.unwrap();
    assert_eq!(told(&changes), [1, 2]);
}

#[tokio::test]
async fn whoever_may_no_longer_is_told_to_look() {
    let (world, changes) = watched().await;
    let hub = world.hub();
    let credential = hub.credentials(&tenant(), &device()).unwrap().first().unwrap().id.clone();
    hub.revoke_credential(&tenant(), &device(), &credential).await.unwrap();
    assert_eq!(told(&changes), [1, 2, 3]);
}

#[tokio::test]
async fn a_watch_that_has_ended_is_told_nothing_and_makes_room() {
    let (world, changes) = watched().await;
    let hub = world.hub();
    let watch = |number| hub.watch_changes(&tenant(), &device(), (Part::Twin, number), &changes);
    assert_eq!((100..200).filter(|number| watch(*number)).count(), WATCHES_MAX - 3);
    for number in (0..4).chain(100..200) {
        hub.unwatch_changes(&tenant(), &device(), number, &changes);
    }
    put(hub, "1").await;
    assert_eq!(told(&changes), [0_u32; 0]);
    assert!(watch(1));
}
