//! A store without room: what cannot be written down has not happened, and is tried again.

use std::num::NonZeroU16;
use std::time::Duration;

use roost_hub::broker::Will;
use roost_hub::message::QoS;
use roost_testkit::simulation::{Lie, SimStore, SimulatedStore as _, Trouble};
use roost_testkit::world::{World, message, options, packet_ids, payloads, with_qos};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

#[test]
fn a_qos_2_message_whose_pubrec_could_not_be_written_down_is_not_released() {
    let store = SimStore::empty(Lie::None).unwrap();
    let world = World::on(store.store());
    let mut away = world.connect("away", options().expiry(WEEK));
    world.subscribe(&mut away, "a", QoS::ExactlyOnce);
    let mut one = world.connect("one", options());
    one.publish(with_qos(message("a", "x"), QoS::ExactlyOnce), NonZeroU16::new(5)).unwrap();
    world.deliver_deferred();
    let sent = packet_ids(&mut away);
    store.trouble(Trouble::Room(0));
    assert!(away.received(sent[0].0).is_err());
    drop(away);
    // Were it released now, the client would take it for a new one after a crash.
    let mut away = world.try_connect("away", options().expiry(WEEK)).unwrap().session;
    assert_eq!(packet_ids(&mut away), [(sent[0].0, true)]);
}

#[test]
fn a_will_that_finds_no_room_is_sent_when_there_is_some() {
    let store = SimStore::empty(Lie::None).unwrap();
    let world = World::on(store.store());
    let mut reader = world.connect("reader", options().expiry(WEEK));
    world.subscribe(&mut reader, "w", QoS::AtLeastOnce);
    let will = Will {
        message: with_qos(message("w", "gone"), QoS::AtLeastOnce),
        delay: Duration::ZERO,
        expiry: None,
    };
    let mortal = world.connect("mortal", options().will(will));
    store.trouble(Trouble::Room(0));
    drop(mortal);
    world.advance(Duration::from_secs(5));
    assert_eq!(payloads(&mut reader), [""; 0]);
    store.trouble(Trouble::Over);
    world.advance(Duration::from_secs(5));
    assert_eq!(payloads(&mut reader), ["gone"]);
}

#[test]
fn a_session_whose_client_could_not_be_let_in_still_ends() {
    let store = SimStore::empty(Lie::None).unwrap();
    let world = World::on(store.store());
    let minute = Duration::from_secs(60);
    drop(world.connect("visitor", options().expiry(minute)));
    store.trouble(Trouble::NoTables);
    assert!(world.try_connect("visitor", options().expiry(minute)).is_err());
    store.trouble(Trouble::Over);
    world.advance(minute * 2);
    assert!(!world.try_connect("visitor", options().expiry(minute)).unwrap().is_present);
}
