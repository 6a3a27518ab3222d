//! What is said to devices in their families' words: to whom it goes, and what becomes of a command.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use roost_hub::broker::{Delivery, OnceDelivered, Outgoing, PublishError, Session, Spoken, Words};
use roost_hub::mailbox::{Command, CommandState, NewCommand};
use roost_hub::message::QoS;
use roost_hub::principal::Principal;
use roost_hub::registry::NewDevice;
use roost_hub::speech::{ToSay, Unsaid};
use roost_testkit::world::{World, id, message, options, tenant, with_qos};
use serde_json::json;

const TOPIC: &str = "cmnd/lamp/power";

struct Lamp {
    world: World,
    principal: Arc<Principal>,
    session: Session,
}

/// A connected lamp that listens with this quality of service.
fn lamp(qos: QoS) -> Lamp {
    let world = World::new();
    let principal = world.create_device("lamp");
    let mut session = world.hub().connect(&principal, options().build("lamp")).unwrap().session;
    world.subscribe(&mut session, "cmnd/lamp/#", qos);
    Lamp { world, principal, session }
}

fn words(once_delivered: OnceDelivered) -> Words {
    Words { messages: vec![with_qos(message(TOPIC, "ON"), QoS::AtLeastOnce)], once_delivered }
}

fn given(session: &mut Session) -> Vec<Delivery> {
    let mut out = Vec::new();
    session.next_outgoing(&mut out, 10);
    let published = out.into_iter().filter_map(|one| match one {
        Outgoing::Publish(delivery) => Some(delivery),
        Outgoing::Release(..) => None,
    });
    published.collect()
}

impl Lamp {
    async fn send(&self) -> Command {
        let new = NewCommand { name: "power".to_owned(), ..NewCommand::default() };
        self.world.hub().send_command(&tenant(), &id("lamp"), new).await.unwrap()
    }

    async fn say(&self, command: &Command, once_delivered: OnceDelivered) -> Result<Spoken, PublishError> {
        self.world.hub().say_command(&self.principal, command, words(once_delivered)).await
    }

    fn state(&self, command: &Command) -> CommandState {
        self.world.hub().command(&tenant(), &id("lamp"), &command.id).unwrap().unwrap().state
    }
}

#[tokio::test]
async fn a_command_is_sent_before_it_leaves_and_follows_its_acknowledgement() {
    for (once_delivered, state) in
        [(OnceDelivered::Answer, CommandState::Delivered), (OnceDelivered::Done, CommandState::Succeeded)]
    {
        let mut lamp = lamp(QoS::AtLeastOnce);
        let command = lamp.send().await;
        assert_eq!(lamp.say(&command, once_delivered).await, Ok(Spoken::Said));
        assert_eq!(lamp.state(&command), CommandState::Sent);
        // It is underway: said again, it is not sent again.
        assert_eq!(lamp.say(&command, once_delivered).await, Ok(Spoken::Said));
        let [delivery] = given(&mut lamp.session).try_into().unwrap();
        assert_eq!((delivery.message.topic.as_str(), &delivery.message.payload[..]), (TOPIC, &b"ON"[..]));
        lamp.session.acknowledge(delivery.packet_id.unwrap());
        assert_eq!(lamp.state(&command), state);
    }
}

#[tokio::test]
async fn without_an_acknowledgement_a_command_stays_sent_and_is_not_said_twice() {
    let mut lamp = lamp(QoS::AtMostOnce);
    let command = lamp.send().await;
    for _ in 0..2 {
        assert_eq!(lamp.say(&command, OnceDelivered::Done).await, Ok(Spoken::Said));
    }
    assert_eq!(given(&mut lamp.session).len(), 1);
    assert_eq!(lamp.state(&command), CommandState::Sent);
}

#[tokio::test]
async fn a_command_that_was_not_acknowledged_is_said_again_to_the_next_session() {
    let lamp = lamp(QoS::AtLeastOnce);
    let command = lamp.send().await;
    lamp.say(&command, OnceDelivered::Answer).await.unwrap();
    let world = lamp.world.restarted();
    let mut session = world.hub().connect(&lamp.principal, options().build("lamp")).unwrap().session;
    world.subscribe(&mut session, "cmnd/lamp/#", QoS::AtLeastOnce);
    let again = world.hub().unconfirmed_commands(&tenant(), &id("lamp"), world.hub().now());
    let said = world.hub().say_command(&lamp.principal, &again[0], words(OnceDelivered::Answer)).await;
    assert_eq!((said, given(&mut session).len()), (Ok(Spoken::Said), 1));
    assert_eq!(world.hub().unanswered_commands(&tenant(), &id("lamp")), [command.id]);
}

#[tokio::test]
async fn a_command_waits_while_nobody_listens_and_one_that_was_taken_back_does_not_leave() {
    let mut lamp = lamp(QoS::AtLeastOnce);
    let command = lamp.send().await;
    let unheard =
        || Words { messages: vec![message("elsewhere", "x")], once_delivered: OnceDelivered::Answer };
    let said = lamp.world.hub().say_command(&lamp.principal, &command, unheard()).await;
    assert_eq!((said, lamp.state(&command)), (Ok(Spoken::Unheard), CommandState::Queued));
    lamp.say(&command, OnceDelivered::Answer).await.unwrap();
    lamp.world.hub().cancel_command(&tenant(), &id("lamp"), &command.id).await.unwrap();
    assert_eq!(given(&mut lamp.session).len(), 0);
    assert_eq!(lamp.say(&command, OnceDelivered::Answer).await, Ok(Spoken::Said));
    assert_eq!(lamp.state(&command), CommandState::Cancelled);
}

#[tokio::test]
async fn words_reach_the_devices_own_sessions_and_who_looks_on_but_no_other_device() {
    let mut lamp = lamp(QoS::AtLeastOnce);
    let other = lamp.world.create_device("other");
    let mut other = lamp.world.hub().connect(&other, options().build("other")).unwrap().session;
    let mut onlooker = lamp.world.connect("app", options());
    for session in [&mut other, &mut onlooker] {
        lamp.world.subscribe(session, "cmnd/#", QoS::AtLeastOnce);
    }
    let word = |topic: &str| lamp.world.hub().say(&lamp.principal, message(topic, "ON"));
    assert_eq!(word(TOPIC), Ok(None));
    for topic in ["devices/other/twin/desired", "$SYS/x"] {
        assert_eq!(word(topic), Err(PublishError::NotAuthorized), "{topic}");
    }
    let mut retained = message("cmnd/lamp/state", "1");
    retained.retain = true;
    assert!(lamp.world.hub().say(&lamp.principal, retained).unwrap().is_some());
    let topics = |session: &mut Session| -> Vec<String> {
        given(session).iter().map(|delivery| delivery.message.topic.to_string()).collect()
    };
    assert_eq!(topics(&mut lamp.session), [TOPIC, "cmnd/lamp/state"]);
    assert_eq!(topics(&mut onlooker), [TOPIC, "cmnd/lamp/state"]);
    // What is retained is said to everybody.
    assert_eq!(topics(&mut other), ["cmnd/lamp/state"]);
}

#[tokio::test]
async fn what_waits_for_a_device_and_those_behind_it_is_to_be_said_when_it_comes() {
    let lamp = lamp(QoS::AtLeastOnce);
    let new = NewDevice { id: Some(id("bulb")), parent: Some(id("lamp")), ..NewDevice::default() };
    lamp.world.hub().create_device(&tenant(), new).await.unwrap();
    let command = NewCommand { name: "blink".to_owned(), ..NewCommand::default() };
    lamp.world.hub().send_command(&tenant(), &id("bulb"), command).await.unwrap();
    // Before anybody speaks a dialect nothing is noted.
    let unsaid = tokio::time::timeout(Duration::ZERO, lamp.world.hub().next_unsaid()).await;
    assert!(unsaid.is_err());
    lamp.world.hub().speak_to(&tenant(), &id("lamp")).unwrap();
    let commands = Unsaid { tenant: tenant(), device: id("bulb"), what: ToSay::Commands };
    assert_eq!(lamp.world.hub().next_unsaid().await, [commands]);
    let patch = json!({ "on": true });
    lamp.world.hub().patch_desired(&tenant(), &id("lamp"), patch, None).await.unwrap();
    let twin = Unsaid { tenant: tenant(), device: id("lamp"), what: ToSay::Twin };
    assert_eq!(lamp.world.hub().next_unsaid().await, [twin]);
}
