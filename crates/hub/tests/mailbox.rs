//! Mailboxes by their public verbs: commands wait, leave once, end, and are there after a restart.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::{pending, ready};
use std::time::Duration;

use roost_hub::document::{Condition, NewDocument};
use roost_hub::flight::FlightKind;
use roost_hub::id::CommandId;
use roost_hub::live::{LiveKind, LiveNext};
use roost_hub::mailbox::{
    Answer, AnswerError, COMMANDS_KEPT_MAX, CancelCommandError, Command, CommandState, NewCommand, Receipt,
    SendCommandError, TakeResultError,
};
use roost_hub::presence::Presence;
use roost_hub::registry::NewDevice;
use roost_hub::twin::Twin;
use roost_testkit::world::{World, lamp, tenant};
use serde_json::json;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn add_lamp(world: &World) {
    let new = NewDevice { id: Some(lamp()), ..NewDevice::default() };
    world.hub().create_device(&tenant(), new).await.unwrap();
}

fn named(name: &str) -> NewCommand {
    NewCommand { name: name.to_owned(), ..NewCommand::default() }
}

async fn send(world: &World, new: NewCommand) -> Command {
    world.hub().send_command(&tenant(), &lamp(), new).await.unwrap()
}

fn state(world: &World, id: &CommandId) -> CommandState {
    world.hub().command(&tenant(), &lamp(), id).unwrap().unwrap().state
}

fn waiting(world: &World) -> Vec<String> {
    let commands = world.hub().waiting_commands(&tenant(), &lamp(), world.hub().now());
    commands.into_iter().map(|command| command.name).collect()
}

fn mark_sent(world: &World, id: &CommandId, receipt: Receipt) -> bool {
    world.hub().mark_sent(&tenant(), &lamp(), id, receipt).unwrap().is_some()
}

fn refusals(world: &World) -> Vec<String> {
    let entries = world.hub().flight_entries(&tenant(), &lamp()).unwrap();
    let refused = entries.into_iter().filter(|entry| entry.kind == FlightKind::Refused);
    refused.map(|entry| entry.detail).collect()
}

#[tokio::test]
async fn commands_wait_the_most_urgent_first_then_the_oldest() {
    let world = World::with_lamp();
    for (name, priority) in [("a", None), ("b", Some(5)), ("c", Some(-1)), ("d", Some(5)), ("e", Some(0))] {
        send(&world, NewCommand { priority, ..named(name) }).await;
    }
    assert_eq!(waiting(&world), ["b", "d", "a", "e", "c"]);
}

#[tokio::test]
async fn a_command_goes_from_queued_to_succeeded_with_a_time_for_each_step() {
    let world = World::with_lamp();
    let command = send(&world, NewCommand { params: json!({"on": true}), ..named("switch") }).await;
    assert_eq!((command.state, &command.params), (CommandState::Queued, &json!({"on": true})));
    world.advance(Duration::from_secs(1));
    assert!(mark_sent(&world, &command.id, Receipt::Awaited));
    world.advance(Duration::from_secs(1));
    assert!(world.hub().mark_delivered(&tenant(), &lamp(), &command.id).unwrap().is_some());
    world.advance(Duration::from_secs(1));
    let answer = Answer::Succeeded(Some(json!(7)));
    let done = world.hub().answer_command(&tenant(), &lamp(), &command.id, answer).await.unwrap();
    assert_eq!((done.state, done.result), (CommandState::Succeeded, Some(json!(7))));
    let after = |time: Option<roost_hub::time::Timestamp>| time.unwrap().since(done.created_at).as_secs();
    assert_eq!([after(done.sent_at), after(done.delivered_at), after(done.finished_at)], [1, 2, 3]);
}

#[tokio::test]
async fn an_unknown_device_a_bad_name_and_a_full_mailbox_are_refused() {
    let world = World::with(|settings| settings.commands_max = 2);
    let unknown = world.hub().send_command(&tenant(), &lamp(), named("x")).await;
    assert!(matches!(unknown, Err(SendCommandError::DeviceUnknown)));
    add_lamp(&world).await;
    for bad in ["", "a\nb", "a\0", &"x".repeat(257)] {
        let refused = world.hub().send_command(&tenant(), &lamp(), named(bad)).await;
        assert!(matches!(refused, Err(SendCommandError::Invalid(_))), "{bad:?}");
    }
    let first = send(&world, named("a")).await;
    send(&world, named("b")).await;
    let full = world.hub().send_command(&tenant(), &lamp(), named("c")).await;
    assert!(matches!(full, Err(SendCommandError::QueueFull(2))));
    // What has left no longer waits.
    assert!(mark_sent(&world, &first.id, Receipt::None));
    send(&world, named("c")).await;
}

#[tokio::test]
async fn j_01_j_02_params_are_bounded_in_depth_size_and_number() {
    let world = World::with_lamp();
    let deep = (0..33).fold(json!(1), |inner, _| json!([inner]));
    let many: serde_json::Map<_, _> = (0..1_025).map(|number| (number.to_string(), json!(0))).collect();
    for params in [deep, many.into(), json!("x".repeat(65_537)), json!(vec![0; 10_001])] {
        let refused = world.hub().send_command(&tenant(), &lamp(), NewCommand { params, ..named("x") }).await;
        assert!(matches!(refused, Err(SendCommandError::Invalid(_))));
    }
}

#[tokio::test]
async fn x_08_a_command_leaves_once_by_whatever_way() {
    let world = World::with_lamp();
    let command = send(&world, named("open")).await;
    assert!(mark_sent(&world, &command.id, Receipt::None));
    assert!(!mark_sent(&world, &command.id, Receipt::None));
    assert!(!mark_sent(&world, &command.id, Receipt::Awaited));
    assert!(waiting(&world).is_empty());
    assert!(world.hub().take_commands(&tenant(), &lamp(), 10).await.unwrap().is_empty());
    let restarted = world.restarted();
    assert!(waiting(&restarted).is_empty());
    assert!(!mark_sent(&restarted, &command.id, Receipt::None));
    assert_eq!(state(&restarted, &command.id), CommandState::Sent);
}

#[tokio::test]
async fn an_unconfirmed_command_may_be_sent_again_only_where_delivery_is_told() {
    let world = World::with_lamp();
    let command = send(&world, named("dim")).await;
    assert!(mark_sent(&world, &command.id, Receipt::Awaited));
    let world = world.restarted();
    let unconfirmed = world.hub().unconfirmed_commands(&tenant(), &lamp(), world.hub().now());
    assert_eq!(unconfirmed.len(), 1);
    assert!(mark_sent(&world, &command.id, Receipt::Awaited));
    assert!(!mark_sent(&world, &command.id, Receipt::None));
    world.hub().mark_delivered(&tenant(), &lamp(), &command.id).unwrap();
    assert!(world.hub().unconfirmed_commands(&tenant(), &lamp(), world.hub().now()).is_empty());
    assert!(!mark_sent(&world, &command.id, Receipt::Awaited));
}

#[tokio::test]
async fn d_11_a_reset_just_after_the_write_leaves_it_sent_with_an_error_and_never_again() {
    let world = World::with_lamp();
    let command = send(&world, named("open")).await;
    assert!(mark_sent(&world, &command.id, Receipt::Awaited));
    world.hub().mark_in_doubt(&tenant(), &lamp(), &command.id, "connection reset").unwrap();
    let world = world.restarted();
    let stored = world.hub().command(&tenant(), &lamp(), &command.id).unwrap().unwrap();
    assert_eq!((stored.state, stored.error.as_deref()), (CommandState::Sent, Some("connection reset")));
    assert!(world.hub().unconfirmed_commands(&tenant(), &lamp(), world.hub().now()).is_empty());
    assert!(!mark_sent(&world, &command.id, Receipt::Awaited));
}

#[tokio::test]
async fn d_11_a_stale_command_is_not_sent_even_before_anybody_says_that_it_expired() {
    let world = World::with_lamp();
    let short = send(&world, NewCommand { expires_in: Some(MINUTE), ..named("open") }).await;
    let later = world.hub().now().after(MINUTE);
    assert!(world.hub().waiting_commands(&tenant(), &lamp(), later).is_empty());
    // Overdue by the clock, but nobody has said so: a hub that is just opened.
    let before = world.restarted();
    assert_eq!(state(&before, &short.id), CommandState::Queued);
    world.advance(MINUTE);
    assert!(!mark_sent(&before, &short.id, Receipt::None));
    assert_eq!(state(&world, &short.id), CommandState::Expired);
}

#[tokio::test]
async fn a_late_answer_does_not_revive_an_expired_command() {
    let world = World::with_lamp();
    let command = send(&world, NewCommand { expires_in: Some(MINUTE), ..named("open") }).await;
    assert!(mark_sent(&world, &command.id, Receipt::None));
    world.advance(MINUTE);
    let late = world.hub().answer_command(&tenant(), &lamp(), &command.id, Answer::Succeeded(None)).await;
    assert!(matches!(late, Err(AnswerError::Late(found)) if found.state == CommandState::Expired));
    assert_eq!(state(&world, &command.id), CommandState::Expired);
    assert!(refusals(&world)[0].contains("late"), "{:?}", refusals(&world));
}

#[tokio::test]
async fn of_two_answers_the_first_counts() {
    let world = World::with_lamp();
    let command = send(&world, named("x")).await;
    assert!(mark_sent(&world, &command.id, Receipt::None));
    let failed = Answer::Failed("no power".to_owned());
    world.hub().answer_command(&tenant(), &lamp(), &command.id, failed).await.unwrap();
    let second = world.hub().answer_command(&tenant(), &lamp(), &command.id, Answer::Succeeded(None)).await;
    let second = second.unwrap();
    assert_eq!((second.state, second.error.as_deref()), (CommandState::Failed, Some("no power")));
    assert_eq!(refusals(&world).len(), 1);
}

#[tokio::test]
async fn a_published_result_is_read_strictly_and_what_is_refused_is_noted() {
    let world = World::with_lamp();
    let now = world.hub().now();
    let command = send(&world, named("x")).await;
    let take =
        |id: &str, payload: &str| world.hub().take_result(&tenant(), &lamp(), id, payload.as_bytes(), now);
    for bad in ["", "1", "{}", "{\"ok\":1}", "{\"ok\":true", "{\"ok\":true,\"ok\":false}", "[true]"] {
        let refused = take(command.id.as_str(), bad);
        assert!(matches!(refused, Err(TakeResultError::Invalid(_))), "{bad}");
    }
    assert!(matches!(take("nobody", "{\"ok\":true}"), Err(TakeResultError::Unknown)));
    assert!(matches!(take("a/b", "{\"ok\":true}"), Err(TakeResultError::Unknown)));
    assert!(refusals(&world).len() >= 3);
    assert!(take(command.id.as_str(), "{\"ok\":false,\"error\":\"hot\"}").unwrap().is_some());
    assert!(take(command.id.as_str(), "{\"ok\":true}").unwrap().is_none());
    assert_eq!(state(&world, &command.id), CommandState::Failed);
}

#[tokio::test]
async fn a_repeated_idempotency_key_gives_the_first_command_for_a_day_also_after_a_restart() {
    let world = World::with_lamp();
    let keyed = || NewCommand { idempotency_key: Some("k1".to_owned()), ..named("x") };
    let first = send(&world, keyed()).await;
    assert_eq!(send(&world, keyed()).await.id, first.id);
    world.hub().cancel_command(&tenant(), &lamp(), &first.id).await.unwrap();
    let world = world.restarted();
    assert_eq!(send(&world, keyed()).await.id, first.id);
    let other = NewCommand { name: "y".to_owned(), ..keyed() };
    let refused = world.hub().send_command(&tenant(), &lamp(), other).await;
    assert!(matches!(refused, Err(SendCommandError::Invalid(_))));
    world.advance(DAY);
    assert_ne!(send(&world, keyed()).await.id, first.id);
}

#[tokio::test]
async fn a_cancelled_command_is_not_sent_and_a_finished_one_is_not_cancelled() {
    let world = World::with_lamp();
    let command = send(&world, named("x")).await;
    let cancelled = world.hub().cancel_command(&tenant(), &lamp(), &command.id).await.unwrap();
    assert_eq!(cancelled.state, CommandState::Cancelled);
    assert!(!mark_sent(&world, &command.id, Receipt::None));
    let again = world.hub().cancel_command(&tenant(), &lamp(), &command.id).await;
    assert!(matches!(again, Err(CancelCommandError::Finished(_))));
    let unknown = CommandId::parse("none").unwrap();
    let nobody = world.hub().cancel_command(&tenant(), &lamp(), &unknown).await;
    assert!(matches!(nobody, Err(CancelCommandError::Unknown)));
}

#[tokio::test]
async fn what_waits_and_what_expires_is_known_after_a_restart() {
    let world = World::with_lamp();
    let short = send(&world, NewCommand { expires_in: Some(MINUTE), ..named("short") }).await;
    send(&world, named("long")).await;
    let world = world.restarted();
    assert_eq!(waiting(&world), ["short", "long"]);
    world.advance(MINUTE);
    assert_eq!(state(&world, &short.id), CommandState::Expired);
    assert_eq!(waiting(&world), ["long"]);
}

#[tokio::test]
async fn the_last_thousand_finished_commands_are_kept_and_listed_newest_first() {
    let world = World::with_lamp();
    let waits = send(&world, named("waits")).await;
    for number in 0..COMMANDS_KEPT_MAX + 3 {
        let command = send(&world, named(&number.to_string())).await;
        world.hub().cancel_command(&tenant(), &lamp(), &command.id).await.unwrap();
    }
    let list =
        |state, limit, cursor| world.hub().commands(&tenant(), &lamp(), state, (limit, cursor)).unwrap();
    let all = list(None, 5_000, None);
    // The last one was still waiting when the oldest went.
    assert_eq!((all.items.len(), all.next), (COMMANDS_KEPT_MAX + 2, None));
    assert_eq!((&*all.items[0].name, &*all.items[1].name), ("1002", "1001"));
    assert_eq!(list(Some(CommandState::Queued), 10, None).items, [waits]);
    let first = list(None, 600, None);
    let second = list(None, 600, first.next.as_deref());
    assert_eq!((first.items.len(), second.items.len(), second.next), (600, COMMANDS_KEPT_MAX - 598, None));
    let both: Vec<_> = first.items.into_iter().chain(second.items).collect();
    assert_eq!(both, all.items);
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_command_or_with_its_time() {
    let world = World::with_lamp();
    assert!(world.hub().next_commands(&tenant(), &lamp(), ready(())).await.is_empty());
    let (tenant, lamp) = (tenant(), lamp());
    let poll = world.hub().next_commands(&tenant, &lamp, pending());
    let (found, sent) = tokio::join!(poll, send(&world, named("x")));
    assert_eq!(found, [sent]);
}

#[tokio::test]
async fn whoever_waits_for_a_command_is_told_when_it_finishes_or_how_far_it_is() {
    let world = World::with_lamp();
    let command = send(&world, named("x")).await;
    let (tenant, lamp) = (tenant(), lamp());
    let as_it_is = world.hub().wait_finished(&tenant, &lamp, &command.id, ready(())).await.unwrap().unwrap();
    assert_eq!(as_it_is.state, CommandState::Queued);
    let wait = world.hub().wait_finished(&tenant, &lamp, &command.id, pending());
    let answer = world.hub().answer_command(&tenant, &lamp, &command.id, Answer::Succeeded(None));
    let (found, answered) = tokio::join!(wait, answer);
    assert_eq!(found.unwrap(), Some(answered.unwrap()));
    let nobody = CommandId::parse("none").unwrap();
    assert_eq!(world.hub().wait_finished(&tenant, &lamp, &nobody, pending()).await.unwrap(), None);
}

#[tokio::test]
async fn each_change_of_a_command_is_a_live_event_and_a_note() {
    let world = World::with_lamp();
    let mut live = world.hub().live.follow(&tenant());
    let command = send(&world, named("x")).await;
    world.hub().cancel_command(&tenant(), &lamp(), &command.id).await.unwrap();
    let mut states = Vec::new();
    while states.len() < 2 {
        let Some(LiveNext::Event(event)) = live.next().await else { panic!("the feed ended") };
        if let LiveKind::Command(command) = &event.kind {
            states.push(command.state);
        }
    }
    assert_eq!(states, [CommandState::Queued, CommandState::Cancelled]);
    let notes = world.hub().flight_entries(&tenant(), &lamp()).unwrap();
    let commands = notes.iter().filter(|entry| entry.kind == FlightKind::Command).count();
    assert_eq!(commands, 2);
}

#[tokio::test]
async fn x_08_of_many_who_want_to_send_it_at_once_one_may() {
    let world = World::with_lamp();
    for _ in 0..50 {
        let command = send(&world, named("open")).await;
        let (world, id) = (&world, &command.id);
        let sent = std::thread::scope(|scope| {
            let tries = [Receipt::None; 4].map(|receipt| scope.spawn(move || mark_sent(world, id, receipt)));
            tries.into_iter().filter_map(|one| one.join().ok().filter(|sent| *sent)).count()
        });
        assert_eq!(sent, 1);
    }
}

#[tokio::test]
async fn a_deleted_device_leaves_nothing_to_the_next_of_its_name() {
    let world = World::with_lamp();
    let hub = world.hub();
    let (tenant, lamp) = (tenant(), lamp());
    let keyed = NewCommand { idempotency_key: Some("k".to_owned()), ..named("open") };
    let old = send(&world, keyed.clone()).await;
    hub.patch_desired(&tenant, &lamp, json!({"a": 1}), None).await.unwrap();
    hub.put_document(&tenant, &lamp, ("d", Condition::Any), NewDocument::default()).await.unwrap();
    hub.presence_seen(&tenant, &lamp, "http", hub.now());
    hub.checkpoint().unwrap();
    let mut watch = hub.watch_mailbox(&tenant, &lamp);
    hub.delete_device(&tenant, &lamp).await.unwrap();
    assert!(!watch.changed().await);
    hub.checkpoint().unwrap();
    let world = world.restarted();
    add_lamp(&world).await;
    let hub = world.hub();
    assert!(waiting(&world).is_empty());
    assert_eq!(hub.command(&tenant, &lamp, &old.id).unwrap(), None);
    assert_eq!(hub.twin(&tenant, &lamp).unwrap(), Twin::default());
    assert!(hub.documents(&tenant, &lamp).unwrap().is_empty());
    assert_eq!(hub.presence(&tenant, &lamp), Presence::default());
    assert!(hub.flight_entries(&tenant, &lamp).unwrap().is_empty());
    send(&world, keyed).await;
    assert_eq!(waiting(&world), ["open"]);
}
