//! Who may say and hear what, against a model of twenty lines.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::prelude::*;
use roost_hub::access::{
    Action, Denied, Family, GrantRules, Grants, Scope, may, may_publish, may_receive, may_subscribe,
};
use roost_hub::id::{DeviceId, ProfileId, TenantId, TokenId, UserId};
use roost_hub::principal::{Actor, Principal, Role, Whose};
use roost_hub::topic::{Topic, TopicFilter};

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn principal(actor: Actor) -> Principal {
    Principal { tenant: TenantId::parse("t").unwrap(), actor, credential: None }
}

/// The device `a`, gateway of `c`.
fn device(rules: &GrantRules) -> Principal {
    let family = Family::default();
    family.set(&id("c"), Some(id("a")));
    let grants = Grants::new(rules, &id("a")).unwrap().with_family(Arc::new(family));
    principal(Actor::Device { device: id("a"), profile: ProfileId::parse("p").unwrap(), grants })
}

fn strict() -> Principal {
    device(&GrantRules { scope: Scope::Strict, ..GrantRules::default() })
}

fn application(role: Role) -> Principal {
    with_token(role, Reach::Tenant)
}

fn operator(role: Role) -> Principal {
    with_token(role, Reach::Server)
}

#[derive(PartialEq)]
enum Reach {
    Tenant,
    Server,
}

fn with_token(role: Role, reach: Reach) -> Principal {
    let token = TokenId::parse("k").unwrap();
    principal(Actor::Application { token, name: Arc::from("app"), role, operator: reach == Reach::Server })
}

fn parent_of(child: &DeviceId) -> Option<DeviceId> {
    (child.as_str() == "c").then(|| id("a"))
}

fn publish(principal: &Principal, topic: &str) -> Result<(), Denied> {
    may_publish(principal, &Topic::parse(topic).unwrap(), parent_of)
}

fn subscribe(principal: &Principal, filter: &str) -> Result<(), Denied> {
    may_subscribe(principal, &TopicFilter::parse(filter).unwrap())
}

#[derive(Clone, Copy, PartialEq)]
enum Verb {
    Publish,
    Receive,
}

/// The definition for a device `a` that is the gateway of `c`.
fn model(rules: &GrantRules, topic: &str, verb: Verb) -> bool {
    let (allow, deny) = match verb {
        Verb::Publish => (&rules.publish, &rules.deny_publish),
        Verb::Receive => (&rules.receive, &rules.deny_receive),
    };
    let any = |filters: &[String]| {
        let full = |text: &String| text.replace("me/", "devices/a/");
        filters.iter().any(|text| TopicFilter::parse(&full(text)).unwrap().matches(topic))
    };
    let levels: Vec<&str> = topic.split('/').collect();
    match levels.as_slice() {
        [first, ..] if first.starts_with('$') => false,
        ["devices", _, "status" | "commands"] | ["devices", _, "twin", "desired"]
            if verb == Verb::Publish =>
        {
            false
        }
        _ if any(deny) => false,
        _ if any(allow) => true,
        ["devices", "a" | "c", _, ..] => true,
        ["devices", ..] => false,
        _ => rules.scope == Scope::Standard,
    }
}

const LEVELS: [&str; 12] =
    ["devices", "a", "b", "c", "twin", "desired", "status", "commands", "x", "", "$SYS", "telemetry"];

fn topic() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => Just("devices"), 7 => prop::sample::select(&LEVELS[..])];
    prop::collection::vec(level, 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic", |text| !text.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![4 => prop::sample::select(&LEVELS[..]), 3 => Just("+"), 1 => Just("me")];
    (prop::collection::vec(level, 1..4), any::<bool>()).prop_map(|(mut levels, deep)| {
        levels.extend(deep.then_some("#"));
        levels.join("/")
    })
}

fn filters() -> impl Strategy<Value = Vec<String>> {
    let whole = filter().prop_filter("a filter that is one", |text| {
        // `me` stands at the front only, where it has a meaning.
        TopicFilter::parse(text).is_ok() && !text.get(1..).unwrap_or_default().contains("me") && text != "me"
    });
    prop::collection::vec(whole, 0..3)
}

fn rules() -> impl Strategy<Value = GrantRules> {
    let scope = prop_oneof![Just(Scope::Standard), Just(Scope::Strict)];
    (scope, filters(), filters(), filters(), filters()).prop_map(
        |(scope, publish, receive, deny_publish, deny_receive)| GrantRules {
            own: Vec::new(),
            dtls_only: false,
            scope,
            publish,
            receive,
            deny_publish,
            deny_receive,
        },
    )
}

proptest! {
    #[test]
    fn x_06_what_is_denied_stays_denied_and_the_rest_is_as_the_model_says(rules in rules(), topic in topic()) {
        let device = device(&rules);
        prop_assert_eq!(may_receive(&device, &topic), model(&rules, &topic, Verb::Receive));
        prop_assert_eq!(publish(&device, &topic).is_ok(), model(&rules, &topic, Verb::Publish));
    }

    #[test]
    fn no_subscription_is_refused_that_could_match_something_readable(
        rules in rules(), filter in filter(), topic in topic()
    ) {
        let Ok(filter) = TopicFilter::parse(&filter) else { return Ok(()) };
        for principal in [device(&rules), application(Role::Viewer), operator(Role::Owner)] {
            if filter.matches(&topic) && may_receive(&principal, &topic) {
                prop_assert!(may_subscribe(&principal, &filter).is_ok());
            }
        }
    }
}

#[test]
fn a_device_has_its_own_topics_and_the_ordinary_ones() {
    let standard = device(&GrantRules::default());
    for topic in ["devices/a/telemetry", "devices/a/commands/1/result", "devices/c/telemetry", "home/x"] {
        assert_eq!(publish(&standard, topic), Ok(()), "{topic}");
    }
    for topic in ["devices/b/telemetry", "devices", "devices/b", "devices//x"] {
        assert!(publish(&standard, topic).is_err(), "{topic}");
        assert!(!may_receive(&standard, topic), "{topic}");
    }
    assert!(publish(&strict(), "home/x").is_err() && !may_receive(&strict(), "home/x"));
    assert!(publish(&strict(), "devices/a/events/x").is_ok() && may_receive(&strict(), "devices/a/commands"));
}

#[test]
fn only_the_server_says_status_desired_and_commands() {
    let everyone = [device(&GrantRules::default()), operator(Role::Owner)];
    for principal in &everyone {
        for topic in ["devices/a/status", "devices/a/twin/desired", "devices/a/commands"] {
            assert!(publish(principal, topic).is_err(), "{topic}");
            assert!(may_receive(principal, topic), "{topic}");
        }
    }
    let greedy =
        GrantRules { publish: vec!["#".to_owned(), "me/status".to_owned()], ..GrantRules::default() };
    assert!(publish(&device(&greedy), "devices/a/status").is_err());
}

#[test]
fn m_37_nobody_publishes_to_the_servers_topics() {
    for topic in ["$SYS/x", "$share/g/t", "$foo", "$"] {
        for principal in [device(&GrantRules::default()), operator(Role::Owner)] {
            assert!(publish(&principal, topic).is_err(), "{topic}");
        }
    }
}

#[test]
fn m_22_a_will_is_judged_as_a_publish() {
    let standard = device(&GrantRules::default());
    for topic in ["$SYS/broker", "$CONTROL/dynamic-security/v1", "devices/b/status", "devices/a/status"] {
        assert!(publish(&standard, topic).is_err(), "{topic}");
    }
    for topic in ["a/+", "#"] {
        assert!(Topic::parse(topic).is_err(), "{topic}");
    }
}

#[test]
fn m_58_a_wide_subscription_is_fine_and_the_servers_topics_are_the_operators() {
    for principal in [device(&GrantRules::default()), strict(), application(Role::Viewer)] {
        for filter in ["#", "+/#", "devices/+/telemetry"] {
            assert_eq!(subscribe(&principal, filter), Ok(()), "{filter}");
        }
        assert!(subscribe(&principal, "$SYS/#").is_err() && !may_receive(&principal, "$SYS/a"));
    }
    let server = operator(Role::Owner);
    assert!(subscribe(&server, "$SYS/#").is_ok() && may_receive(&server, "$SYS/a"));
    assert!(subscribe(&server, "$other/#").is_err() && !may_receive(&server, "$other/a"));
    for filter in ["devices/b/telemetry", "devices/b/#"] {
        assert!(subscribe(&strict(), filter).is_err(), "{filter}");
        assert!(subscribe(&device(&GrantRules::default()), filter).is_err(), "{filter}");
    }
    assert!(subscribe(&strict(), "home/#").is_err());
}

#[test]
fn m_48_a_broad_subscription_gets_nothing_that_is_denied() {
    let rules = GrantRules { deny_receive: vec!["home/secret/#".to_owned()], ..GrantRules::default() };
    let device = device(&rules);
    assert_eq!(subscribe(&device, "home/#"), Ok(()));
    assert!(may_receive(&device, "home/open") && !may_receive(&device, "home/secret/door"));
    assert!(!may_receive(&device, "home/secret"));
    assert!(subscribe(&device, "home/secret/+").is_err());
}

#[test]
fn m_69_a_gateways_right_over_a_child_ends_with_their_bond() {
    let family = Arc::new(Family::default());
    let grants = Grants::standard().with_family(Arc::clone(&family));
    let profile = ProfileId::parse("standard").unwrap();
    let gateway = principal(Actor::Device { device: id("a"), profile, grants });
    assert!(!may_receive(&gateway, "devices/c/commands"));
    family.set(&id("c"), Some(id("a")));
    assert!(may_receive(&gateway, "devices/c/commands") && subscribe(&gateway, "devices/c/#").is_ok());
    family.set(&id("c"), Some(id("b")));
    assert!(!may_receive(&gateway, "devices/c/commands") && subscribe(&gateway, "devices/c/#").is_err());
}

#[test]
fn roles_may_what_they_are_for() {
    let a = id("a");
    let actions = [
        (Action::ReadDevices, Role::Viewer),
        (Action::ReadDevice(&a), Role::Viewer),
        (Action::SendCommands, Role::Operator),
        (Action::WriteTwin, Role::Operator),
        (Action::WriteTelemetry(&a), Role::Operator),
        (Action::WriteDocuments(&a), Role::Operator),
        (Action::WriteDevices, Role::Admin),
        (Action::ManageProfiles, Role::Admin),
        (Action::ManageRules, Role::Admin),
        (Action::ReadAudit, Role::Admin),
        (Action::ManageTokens, Role::Owner),
        (Action::ManageUsers, Role::Owner),
    ];
    for role in [Role::Viewer, Role::Operator, Role::Admin, Role::Owner] {
        let somebody = application(role);
        for (action, least) in actions {
            assert_eq!(may(&somebody, action).is_ok(), role >= least, "{role:?} {action:?}");
        }
        for action in [Action::ManageTenants, Action::ReadServer] {
            assert!(may(&somebody, action).is_err() && may(&operator(role), action).is_ok());
        }
        assert_eq!(publish(&somebody, "home/x").is_ok(), role > Role::Viewer);
        assert_eq!(publish(&somebody, "devices/a/telemetry").is_ok(), role > Role::Viewer);
        assert!(may_receive(&somebody, "devices/a/telemetry"));
    }
}

#[test]
fn h_18_a_device_acts_for_itself_and_its_children_and_nothing_else() {
    let device = device(&GrantRules::default());
    let (own, child, other) = (id("a"), id("c"), id("b"));
    for action in [Action::ReadDevice, Action::WriteTelemetry, Action::WriteDocuments, Action::ActAs] {
        assert!(may(&device, action(&own)).is_ok() && may(&device, action(&child)).is_ok());
        assert!(may(&device, action(&other)).is_err());
    }
    for action in [
        Action::ReadDevices,
        Action::WriteDevices,
        Action::SendCommands,
        Action::WriteTwin,
        Action::ManageTokens,
        Action::ManageUsers,
        Action::ManageTenants,
        Action::ReadServer,
    ] {
        assert!(may(&device, action).is_err(), "{action:?}");
    }
    assert!(may(&operator(Role::Owner), Action::ActAs(&own)).is_err());
}

#[test]
fn m_59_the_tenant_is_no_part_of_the_topic() {
    let other = Principal { tenant: TenantId::parse("other").unwrap(), ..device(&GrantRules::default()) };
    // The same words in two tenants are judged alike, and a name that climbs is only a name.
    for topic in ["../other/x", "t/devices/b/telemetry", "other/x"] {
        assert_eq!(publish(&other, topic), publish(&device(&GrantRules::default()), topic), "{topic}");
    }
    assert!(publish(&other, "devices/../b/telemetry").is_err());
}

#[test]
fn whose_means_those_it_names() {
    let user = UserId::parse("u").unwrap();
    let person = principal(Actor::User { user: user.clone(), role: Role::Viewer, operator: false });
    assert!(person.is(&Whose::User(user)) && person.is(&Whose::Everybody));
    assert!(!person.is(&Whose::User(UserId::parse("v").unwrap())) && !person.is(&Whose::Device(id("u"))));
    let device = device(&GrantRules::default());
    assert!(device.is(&Whose::Device(id("a"))) && !device.is(&Whose::Device(id("b"))));
    assert!(device.is(&Whose::Profile(ProfileId::parse("p").unwrap())));
}
