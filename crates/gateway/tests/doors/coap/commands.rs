use roost_hub::id::CommandId;
use roost_hub::mailbox::{CommandState, NewCommand};
use roost_hub::registry::Presented;
use roost_wire::coap::{Code, Kind, number};
use serde_json::json;

use super::{Came, Device, ask};
use crate::common::{PATIENCE, TOKEN, World, device, tenant};

async fn send(world: &World, name: &str) -> CommandId {
    send_with(world, name, json!({ "relay": 1 })).await
}

async fn send_with(world: &World, name: &str, params: serde_json::Value) -> CommandId {
    let new = NewCommand { name: name.to_owned(), params, ..NewCommand::default() };
    world.hub.send_command(&tenant(), &device(), new).await.unwrap().id
}

fn state(world: &World, id: &CommandId) -> CommandState {
    world.hub.command(&tenant(), &device(), id).unwrap().unwrap().state
}

/// Waits until the command has come so far.
async fn reaches(world: &World, id: &CommandId, wanted: CommandState) {
    let mut watch = world.hub.watch_mailbox(&tenant(), &device());
    let reached = async {
        while state(world, id) != wanted {
            watch.changed().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{:?}", state(world, id)));
}

fn names(came: &Came) -> Vec<String> {
    let json = came.json();
    let items = json["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_device_fetches_its_commands_and_their_arrival_is_known() {
    let world = World::new().await;
    let mut actor = Device::proven(&world).await;
    let empty = actor.call(Code::GET, ask("me/commands")).await.expect(Code::CONTENT);
    assert_eq!((empty.json(), empty.message().kind), (json!({ "items": [] }), Kind::Acknowledgement));
    let (one, two) = (send(&world, "one").await, send(&world, "two").await);
    let came = actor.call(Code::GET, ask("me/commands")).await.expect(Code::CONTENT);
    assert_eq!(names(&came), ["one", "two"]);
    assert_eq!(came.message().kind, Kind::Confirmable, "so that its arrival is told");
    let item = came.json()["items"][0].clone();
    assert_eq!(item, json!({ "id": one.as_str(), "name": "one", "params": { "relay": 1 } }));
    reaches(&world, &one, CommandState::Delivered).await;
    reaches(&world, &two, CommandState::Delivered).await;
    let again = actor.call(Code::GET, ask("me/commands")).await;
    assert_eq!(names(&again), [""; 0]);
}

#[tokio::test]
async fn commands_whose_answer_was_lost_are_given_again() {
    let world = World::new().await;
    let mut actor = Device::proven(&world).await;
    let one = send(&world, "one").await;
    let head = actor.head(Code::GET);
    actor.send(&ask("me/commands").bytes(head)).await;
    actor.receive().await.expect(Code::EMPTY);
    // The device restarts here, and never acknowledges.
    assert_eq!(names(&actor.receive().await), ["one"]);
    assert_eq!(state(&world, &one), CommandState::Sent);
    let mut restarted = Device::proven(&world).await;
    let came = restarted.call(Code::GET, ask("me/commands")).await;
    assert_eq!(names(&came), ["one"]);
    reaches(&world, &one, CommandState::Delivered).await;
}

#[tokio::test]
async fn an_observer_gets_commands_as_they_come_and_acknowledges_them() {
    let world = World::new().await;
    let mut actor = Device::proven(&world).await;
    let first =
        actor.call(Code::GET, ask("me/commands").uint(number::OBSERVE, 0)).await.expect(Code::CONTENT);
    let mut last = first.uint(number::OBSERVE).unwrap();
    for name in ["one", "two", "three"] {
        let id = send(&world, name).await;
        let came = actor.receive().await.expect(Code::CONTENT);
        assert_eq!(names(&came), [name]);
        assert_eq!((came.message().kind, came.message().token), (Kind::Confirmable, first.message().token));
        assert!(came.uint(number::OBSERVE).unwrap() > last);
        last = came.uint(number::OBSERVE).unwrap();
        assert_eq!(state(&world, &id), CommandState::Sent);
        actor.acknowledge(&came).await;
        reaches(&world, &id, CommandState::Delivered).await;
    }
}

#[tokio::test]
async fn an_observer_that_begins_late_gets_what_waits() {
    let world = World::new().await;
    let id = send(&world, "one").await;
    let mut actor = Device::proven(&world).await;
    let first =
        actor.call(Code::GET, ask("me/commands").uint(number::OBSERVE, 0)).await.expect(Code::CONTENT);
    assert_eq!(names(&first), ["one"]);
    assert!(first.uint(number::OBSERVE).is_some());
    reaches(&world, &id, CommandState::Delivered).await;
}

#[tokio::test]
async fn c_20_an_observer_that_rejects_or_ends_is_told_nothing_more() {
    let world = World::new().await;
    let mut actor = Device::proven(&world).await;
    let observe = ask("me/commands").uint(number::OBSERVE, 0);
    actor.call(Code::GET, observe.clone()).await.expect(Code::CONTENT);
    send(&world, "one").await;
    let came = actor.receive().await;
    actor.reset(&came).await;
    // A request behind it shows that it was seen.
    actor.call(Code::GET, ask("me/twin")).await.expect(Code::CONTENT);
    let two = send(&world, "two").await;
    actor.call(Code::GET, ask("me/twin")).await.expect(Code::CONTENT);
    assert_eq!(state(&world, &two), CommandState::Queued);
    // What was rejected is not known to have arrived.
    let came = actor.call(Code::GET, ask("me/commands")).await;
    assert_eq!(names(&came), ["one", "two"]);
}

#[tokio::test]
async fn a_device_answers_its_commands() {
    let world = World::new().await;
    let mut actor = Device::proven(&world).await;
    let (one, two) = (send(&world, "one").await, send(&world, "two").await);
    actor.call(Code::GET, ask("me/commands")).await;
    let result = |id: &CommandId| ask(&format!("me/commands/{id}/result"));
    actor
        .call(Code::POST, result(&one).format(50).payload(r#"{"ok":true,"result":5}"#))
        .await
        .expect(Code::CHANGED);
    let cbor = roost_wire::telemetry::json_to_cbor(&json!({ "ok": false, "error": "stuck" }));
    actor.call(Code::POST, result(&two).format(60).payload(cbor)).await.expect(Code::CHANGED);
    assert_eq!((state(&world, &one), state(&world, &two)), (CommandState::Succeeded, CommandState::Failed));
    actor.call(Code::POST, result(&one).payload("5")).await.expect(Code::UNPROCESSABLE);
    let unknown = ask("me/commands/none/result").payload(r#"{"ok":true}"#);
    actor.call(Code::POST, unknown).await.expect(Code::NOT_FOUND);
    let three = send(&world, "three").await;
    world.hub.cancel_command(&tenant(), &device(), &three).await.unwrap();
    actor.call(Code::POST, result(&three).payload(r#"{"ok":true}"#)).await.expect(Code::CONFLICT);
}

#[tokio::test]
async fn a_command_fits_what_an_unproven_address_may_be_sent() {
    let world = World::new().await;
    send(&world, "one").await;
    let mut actor = Device::new(&world).await;
    let came = actor.call(Code::GET, ask("me/commands")).await;
    assert_eq!(names(&came), ["one"]);
}

#[tokio::test]
async fn commands_larger_than_a_block_are_fetched_block_by_block() {
    let world = World::new().await;
    let id = send_with(&world, "long", json!({ "text": "x".repeat(3_000) })).await;
    let mut actor = Device::proven(&world).await;
    let body = actor.download(ask("me/commands")).await;
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["items"][0]["params"]["text"].as_str().unwrap().len(), 3_000);
    reaches(&world, &id, CommandState::Delivered).await;
}

#[tokio::test]
async fn x_04_an_observer_whose_credential_is_revoked_is_told_so_and_no_more() {
    let world = World::new().await;
    let mut actor = Device::proven(&world).await;
    actor.call(Code::GET, ask("me/commands").uint(number::OBSERVE, 0)).await.expect(Code::CONTENT);
    let principal = world.hub.authenticate(Presented::Token(TOKEN)).unwrap();
    let credential = principal.credential.clone().unwrap().id;
    world.hub.revoke_credential(&tenant(), &device(), &credential).await.unwrap();
    let came = actor.receive().await;
    assert_eq!((came.code(), came.uint(number::OBSERVE)), (Code::UNAUTHORIZED, None));
    actor.acknowledge(&came).await;
    actor.call(Code::GET, ask("me/commands")).await.expect(Code::UNAUTHORIZED);
}

#[tokio::test]
async fn c_21_a_device_has_so_many_observations_from_wherever() {
    let world = World::new().await;
    let mut taken = 0;
    let mut refused = None;
    for _ in 0..10 {
        let mut actor = Device::proven(&world).await;
        for _ in 0..10 {
            let came = actor.call(Code::GET, ask("me/twin").uint(number::OBSERVE, 0)).await;
            match came.code() {
                Code::CONTENT => taken += 1,
                _ => refused = Some(came),
            }
        }
    }
    assert_eq!(taken, roost_hub::changes::WATCHES_MAX);
    let refused = refused.unwrap().expect(Code::TOO_MANY);
    assert_eq!(refused.uint(number::MAX_AGE), Some(60));
}
