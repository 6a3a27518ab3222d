//! The last raw frames of a device.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use roost_hub::frames::{FRAME_LENGTH_MAX, FRAMES_DEVICES_MAX, FRAMES_MAX, RawFrame};
use roost_hub::principal::Principal;
use roost_hub::registry::{NewDevice, Presented};
use roost_hub::time::Timestamp;
use roost_hub::topic::Topic;
use roost_testkit::world::{World, id, tenant};

const OWNER: &str = "a-token-of-the-owner-1234567890";

async fn registered(world: &World, name: &str) -> Principal {
    let new = NewDevice { id: Some(id(name)), ..NewDevice::default() };
    world.hub().create_device(&tenant(), new).await.unwrap();
    Principal::clone(&world.hub().device_principal(&tenant(), &id(name)).unwrap())
}

async fn world() -> (World, Principal) {
    let world = World::new();
    world.hub().ensure_admin_token(OWNER).await.unwrap();
    let lamp = registered(&world, "lamp").await;
    (world, lamp)
}

fn note(world: &World, sender: &Principal, device: &str, (at, bytes): (i64, &[u8])) {
    let topic = Topic::parse(&format!("devices/{device}/telemetry")).unwrap();
    let frame = RawFrame { at: Timestamp(at), bytes: Bytes::copy_from_slice(bytes), port: None };
    world.hub().note_frame(sender, &topic, &id(device), &frame);
}

fn times(world: &World, device: &str) -> Vec<i64> {
    world.hub().frames(&tenant(), &id(device)).iter().map(|frame| frame.at.0).collect()
}

#[tokio::test]
async fn the_last_frames_of_a_device_are_kept_newest_first() {
    let (world, lamp) = world().await;
    let last = i64::try_from(FRAMES_MAX).unwrap() + 2;
    for at in 0..=last {
        note(&world, &lamp, "lamp", (at, &[1, 2]));
    }
    let wanted: Vec<i64> = (3..=last).rev().collect();
    assert_eq!(times(&world, "lamp"), wanted);
    note(&world, &lamp, "lamp", (99, &[0; FRAME_LENGTH_MAX + 1]));
    assert_eq!(times(&world, "lamp"), wanted);
}

#[tokio::test]
async fn who_may_not_write_a_devices_telemetry_leaves_no_frame() {
    let (world, lamp) = world().await;
    registered(&world, "pump").await;
    note(&world, &lamp, "pump", (1, &[1]));
    assert!(times(&world, "pump").is_empty());
}

#[tokio::test]
async fn a_deleted_devices_frames_are_gone() {
    let (world, lamp) = world().await;
    note(&world, &lamp, "lamp", (1, &[1]));
    world.hub().delete_device(&tenant(), &id("lamp")).await.unwrap();
    assert!(times(&world, "lamp").is_empty());
}

#[tokio::test]
async fn when_too_many_devices_send_those_that_are_silent_longest_give_way() {
    let (world, _) = world().await;
    let owner = world.hub().authenticate(Presented::Token(OWNER)).unwrap();
    for number in 0..=FRAMES_DEVICES_MAX {
        note(&world, &owner, &format!("d{number}"), (i64::try_from(number).unwrap(), &[1]));
    }
    let kept = (0..=FRAMES_DEVICES_MAX).filter(|number| !times(&world, &format!("d{number}")).is_empty());
    let kept: Vec<usize> = kept.collect();
    assert!(kept.len() <= FRAMES_DEVICES_MAX);
    assert_eq!(kept.last(), Some(&FRAMES_DEVICES_MAX));
}
