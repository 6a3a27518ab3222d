//! Streams with a name, by their public verbs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use roost_hub::id::{DeviceId, TenantId};
use roost_hub::registry::{NewDevice, Presented};
use roost_hub::stream::{NamedStream, OtherStream, stream_id};
use roost_testkit::world::World;

const TOKEN: &str = "a-token-of-the-lamp";

async fn world_with_lamp() -> World {
    let world = World::new();
    let id = Some(DeviceId::parse("lamp").unwrap());
    let new = NewDevice { id, token: Some(TOKEN.to_owned()), ..NewDevice::default() };
    world.hub().create_device(&TenantId::parse("default").unwrap(), new).await.unwrap();
    world
}

fn named(world: &World, name: &str) -> NamedStream {
    let principal = world.hub().authenticate(Presented::Token(TOKEN)).unwrap();
    world.hub().named_stream(stream_id(&principal, principal.device().unwrap(), name)).unwrap()
}

fn take(world: &World, name: &str, lines: &[&[u8]]) {
    let mut stream = named(world, name);
    for line in lines {
        stream.take(line);
    }
    world.hub().keep_progress(&stream, u64::try_from(lines.len()).unwrap()).unwrap();
}

#[tokio::test]
async fn lines_that_were_taken_are_known_also_after_a_restart() {
    let world = world_with_lamp().await;
    take(&world, "monday", &[b"1", b"2"]);
    let world = world.restarted();
    let mut again = named(&world, "monday");
    assert_eq!((again.before().accepted, again.before().line), (2, 2));
    let taken = [b"1", b"2", b"3"].map(|line| again.was_taken(line));
    assert_eq!(taken, [Ok(true), Ok(true), Ok(false)]);
    assert_eq!(named(&world, "tuesday").was_taken(b"1"), Ok(false));
}

#[tokio::test]
async fn another_stream_under_the_same_name_is_told_apart() {
    let world = world_with_lamp().await;
    take(&world, "monday", &[b"1", b"2"]);
    for other in [[b"1", b"3"], [b"3", b"2"]] {
        let mut again = named(&world, "monday");
        assert_eq!(other.map(|line| again.was_taken(line)), [Ok(true), Err(OtherStream)]);
    }
}

#[tokio::test]
async fn a_name_counts_for_a_day() {
    let world = world_with_lamp().await;
    take(&world, "monday", &[b"1"]);
    world.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(named(&world, "monday").before().line, 1);
    world.advance(Duration::from_secs(1));
    assert_eq!(named(&world, "monday").before().line, 0);
}

#[tokio::test]
async fn of_too_many_names_the_oldest_go() {
    let world = world_with_lamp().await;
    take(&world, "first", &[b"1"]);
    for number in 0..10_000 {
        world.advance(Duration::from_millis(1));
        take(&world, &format!("stream {number}"), &[b"1"]);
    }
    assert_eq!(named(&world, "first").before().line, 0);
    for kept in ["stream 0", "stream 9999"] {
        assert_eq!(named(&world, kept).before().line, 1, "{kept}");
    }
}
