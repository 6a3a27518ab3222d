//! Looking at sessions and their queues from outside.

use std::num::NonZeroU16;
use std::time::Duration;

use roost_hub::broker::{Outgoing, QueuedState, Received};
use roost_hub::message::QoS;
use roost_testkit::world::{World, message, options, with_qos};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

#[test]
fn a_queue_shows_what_waits_and_what_is_on_its_way() {
    let world = World::new();
    let tenant = world.principal_of_tenant("default").tenant.clone();
    let mut one = world.connect("one", options().expiry(WEEK));
    world.subscribe(&mut one, "a", QoS::ExactlyOnce);
    let mut two = world.connect("two", options());
    for number in 0..300 {
        let qos = if number == 1 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        two.publish(with_qos(message("a", &format!("number {number}")), qos), None).unwrap();
    }
    world.deliver_deferred();
    let mut out = Vec::new();
    one.next_outgoing(&mut out, 3);
    let sent: Vec<NonZeroU16> = out
        .iter()
        .filter_map(|one| match one {
            Outgoing::Publish(delivery) => delivery.packet_id,
            Outgoing::Release(..) => None,
        })
        .collect();
    assert_eq!(one.received(sent[1]).map(|received| matches!(received, Received::Release(_))), Ok(true));
    let page = world.hub().queue(&tenant, "one", (0, 4)).unwrap();
    let states: Vec<QueuedState> = page.iter().map(|one| one.state).collect();
    let (sent, waits) = (QueuedState::InFlight, QueuedState::Waiting);
    assert_eq!(states, [sent, QueuedState::Received, sent, waits]);
    assert_eq!(page[3].message.as_ref().unwrap().payload, "number 3");
    assert!(page.iter().all(|one| one.position.is_some()));
    // Beyond what is in memory, the log is read.
    let rest = world.hub().queue(&tenant, "one", (page[3].sequence, 1_000)).unwrap();
    assert_eq!(rest.len(), 296);
    assert_eq!(rest[295].message.as_ref().unwrap().payload, "number 299");
    assert!(world.hub().queue(&tenant, "nobody", (0, 1)).is_none());
}
