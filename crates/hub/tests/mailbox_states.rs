//! The life of a command, whatever happens to it in whatever order.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::{Just, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use roost_hub::id::{CommandId, DeviceId};
use roost_hub::mailbox::state::after;
use roost_hub::mailbox::{Answer, Command, CommandEvent, CommandState, Receipt};
use roost_hub::time::Timestamp;
use serde_json::json;

fn command(expires_at: Option<i64>) -> Command {
    Command {
        id: CommandId::parse("c").unwrap(),
        device: DeviceId::parse("d").unwrap(),
        name: "x".to_owned(),
        params: json!({}),
        priority: None,
        state: CommandState::Queued,
        created_at: Timestamp(100),
        expires_at: expires_at.map(Timestamp),
        sent_at: None,
        delivered_at: None,
        finished_at: None,
        result: None,
        error: None,
        idempotency_key: None,
        receipt: Receipt::None,
    }
}

fn events() -> impl Strategy<Value = CommandEvent> {
    prop_oneof![
        Just(CommandEvent::Sent(Receipt::None)),
        Just(CommandEvent::Sent(Receipt::Awaited)),
        Just(CommandEvent::Delivered),
        Just(CommandEvent::InDoubt("reset".to_owned())),
        Just(CommandEvent::Answered(Answer::Succeeded(Some(json!(1))))),
        Just(CommandEvent::Answered(Answer::Failed("no".to_owned()))),
        Just(CommandEvent::Expired),
        Just(CommandEvent::Cancelled),
    ]
}

fn rank(state: CommandState) -> u8 {
    match state {
        CommandState::Queued => 0,
        CommandState::Sent => 1,
        CommandState::Delivered => 2,
        _ => 3,
    }
}

proptest! {
    #[test]
    fn no_order_of_events_makes_a_state_lie(
        expires_at in proptest::option::of(90_i64..200),
        happenings in proptest::collection::vec((events(), 50_i64..250), 0..20),
    ) {
        let mut command = command(expires_at);
        for (event, now) in happenings {
            let now = Timestamp(now);
            let Some(next) = after(&command, event.clone(), now) else { continue };
            prop_assert!(!command.state.is_final(), "{command:?} {event:?}");
            prop_assert!(rank(next.state) >= rank(command.state), "{command:?} {event:?}");
            // Nothing that was said is taken back.
            prop_assert!(command.sent_at.is_none() || next.sent_at == command.sent_at);
            prop_assert!(command.delivered_at.is_none() || next.delivered_at == command.delivered_at);
            prop_assert_eq!(&next.created_at, &command.created_at);
            // A time for each state, rising, whatever the wall clock says.
            prop_assert!(next.delivered_at.is_none() || next.sent_at.is_some());
            prop_assert!(next.state != CommandState::Sent || next.sent_at.is_some());
            prop_assert!(next.state != CommandState::Delivered || next.delivered_at.is_some());
            prop_assert_eq!(next.state.is_final(), next.finished_at.is_some());
            let times: Vec<_> = [Some(next.created_at), next.sent_at, next.delivered_at, next.finished_at]
                .into_iter().flatten().collect();
            prop_assert!(times.is_sorted(), "{next:?}");
            // Only what has time left is sent; only an answer makes a result.
            if matches!(event, CommandEvent::Sent(_)) {
                prop_assert!(!command.is_overdue(now));
                prop_assert_eq!(command.state, CommandState::Queued);
            }
            prop_assert_eq!(next.result.is_some(), next.state == CommandState::Succeeded);
            if next.state == CommandState::Expired {
                prop_assert!(next.expires_at.is_some_and(|at| Some(at) <= next.finished_at));
            }
            command = next;
        }
        let stored: Command = serde_json::from_slice(&serde_json::to_vec(&command).unwrap()).unwrap();
        prop_assert_eq!(stored, command);
    }
}
