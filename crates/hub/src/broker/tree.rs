//! The subscription tree of one tenant: which subscriptions match a topic.
//!
//! Filters without wildcards lie in one hash map, so that most messages are routed by one look;
//! the others stand in a tree whose nodes keep `+` and `#` in fields of their own. What a match
//! returns is shared with the tree, so that delivery needs no lock on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::message::QoS;
use crate::topic::{Subscribed, TopicFilter};

use super::session::Shared;

/// How a session wants the messages of one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The most that is granted.
    pub qos: QoS,
    /// The flags of MQTT 5.0 section 3.8.3.1, and our own.
    pub flags: SubscriptionFlags,
    /// The subscription identifier; 0 for none.
    pub identifier: u32,
}

/// The yes-or-no options of a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionFlags(u8);

impl SubscriptionFlags {
    /// Messages of the session itself are not sent back to it.
    pub const NO_LOCAL: Self = Self(1);
    /// The retain flag stays as it was published.
    pub const RETAIN_AS_PUBLISHED: Self = Self(2);
    /// The filter was named with `me/…`, and so are the topics of its messages.
    pub const OWN_NAME: Self = Self(4);
    /// The session outlives its connection.
    pub(crate) const PERSISTENT: Self = Self(8);

    /// Whether all of `other` is set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With `other` set as well, when `condition` holds.
    #[must_use]
    pub fn with(self, other: Self, condition: Condition) -> Self {
        match condition {
            Condition::Holds => Self(self.0 | other.0),
            Condition::HoldsNot => Self(self.0 & !other.0),
        }
    }

    /// As a number, to be stored.
    #[must_use]
    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// From the stored number.
    #[must_use]
    pub(crate) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// A truth with a name, where a bare `bool` argument would say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is so.
    Holds,
    /// It is not so.
    HoldsNot,
}

impl From<bool> for Condition {
    fn from(value: bool) -> Self {
        if value { Self::Holds } else { Self::HoldsNot }
    }
}

/// Whether a session already has the subscription, which it knows better than the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It has not.
    New,
    /// It has: its options are replaced.
    Replaces,
}

/// One subscription of one session.
#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    pub(crate) session: Arc<Shared>,
    pub(crate) options: SubscriptionOptions,
}

impl Subscriber {
    /// Whether messages are kept while the session is away.
    fn is_kept_for(&self) -> bool {
        self.options.flags.has(SubscriptionFlags::PERSISTENT) && self.options.qos > QoS::AtMostOnce
    }
}

/// The members of a shared subscription (MQTT 5.0 section 4.8.2).
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) name: Arc<str>,
    pub(crate) members: Vec<Subscriber>,
    next: AtomicUsize,
}

impl Clone for Share {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            members: self.members.clone(),
            next: AtomicUsize::new(self.next.load(Ordering::Relaxed)),
        }
    }
}

impl Share {
    /// The members in turn, beginning with a different one each time.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = &Subscriber> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.members.len().max(1);
        self.members.iter().cycle().skip(first).take(self.members.len())
    }
}

/// Everybody who subscribed to one filter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscribers {
    plain: Vec<Subscriber>,
    shares: Vec<Share>,
    persistent: usize,
}

impl Subscribers {
    fn count_persistent(&mut self) {
        let all = self.plain.iter().chain(self.shares.iter().flat_map(|share| &share.members));
        self.persistent = all.filter(|one| one.is_kept_for()).count();
    }

    fn members_mut(&mut self, share: Option<&Arc<str>>) -> &mut Vec<Subscriber> {
        let Some(name) = share else { return &mut self.plain };
        let place = self.shares.iter().position(|share| share.name == *name).unwrap_or_else(|| {
            self.shares.push(Share {
                name: Arc::clone(name),
                members: Vec::new(),
                next: AtomicUsize::new(0),
            });
            self.shares.len() - 1
        });
        match self.shares.get_mut(place) {
            Some(share) => &mut share.members,
            None => &mut self.plain,
        }
    }

    fn insert(&mut self, share: Option<&Arc<str>>, subscriber: Subscriber, known: Known) {
        let before = self.persistent;
        let counted = subscriber.is_kept_for();
        let members = self.members_mut(share);
        if known == Known::Replaces
            && let Some(one) = members.iter_mut().find(|one| Arc::ptr_eq(&one.session, &subscriber.session))
        {
            *one = subscriber;
            self.count_persistent();
            return;
        }
        if members.is_empty() {
            members.reserve_exact(1);
        }
        members.push(subscriber);
        self.persistent = before + usize::from(counted);
    }

    fn remove(&mut self, share: Option<&Arc<str>>, session: &Arc<Shared>) -> Option<SubscriptionOptions> {
        let members = self.members_mut(share);
        let place = members.iter().position(|one| Arc::ptr_eq(&one.session, session));
        let removed = place.map(|place| members.remove(place).options);
        self.shares.retain(|share| !share.members.is_empty());
        self.count_persistent();
        removed
    }
}

/// Whom a filter leads to. Most filters are one session's: it needs nothing besides.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    One(Subscriber),
    Many(Arc<Subscribers>),
}

impl Default for Place {
    fn default() -> Self {
        Self::Many(Arc::default())
    }
}

impl Place {
    pub(crate) fn plain(&self) -> &[Subscriber] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(all) => &all.plain,
        }
    }

    pub(crate) fn shares(&self) -> &[Share] {
        match self {
            Self::One(_) => &[],
            Self::Many(all) => &all.shares,
        }
    }

    /// Whether a message for them may have to be kept for a session that is away.
    pub(crate) fn has_persistent(&self) -> bool {
        match self {
            Self::One(one) => one.is_kept_for(),
            Self::Many(all) => all.persistent > 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.plain().is_empty() && self.shares().is_empty()
    }

    fn insert(&mut self, share: Option<&Arc<str>>, subscriber: Subscriber, known: Known) {
        match self {
            Self::One(one) if share.is_none() && Arc::ptr_eq(&one.session, &subscriber.session) => {
                *one = subscriber;
            }
            Self::Many(_) if share.is_none() && self.is_empty() => *self = Self::One(subscriber),
            Self::Many(all) => Arc::make_mut(all).insert(share, subscriber, known),
            Self::One(one) => {
                let mut all = Subscribers::default();
                all.insert(None, one.clone(), Known::New);
                all.insert(share, subscriber, known);
                *self = Self::Many(Arc::new(all));
            }
        }
    }

    fn remove(&mut self, share: Option<&Arc<str>>, session: &Arc<Shared>) -> Option<SubscriptionOptions> {
        let all = match self {
            Self::One(one) if share.is_some() || !Arc::ptr_eq(&one.session, session) => return None,
            Self::One(one) => {
                let options = one.options;
                *self = Self::default();
                return Some(options);
            }
            Self::Many(all) => Arc::make_mut(all),
        };
        let removed = all.remove(share, session);
        if let ([last], []) = (all.plain.as_slice(), all.shares.as_slice()) {
            *self = Self::One(last.clone());
        }
        removed
    }
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, Node>,
    plus: Option<Box<Node>>,
    here: Option<Place>,
    below: Option<Place>,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.plus.is_none() && self.here.is_none() && self.below.is_none()
    }

    /// The place of a filter's subscribers, made when absent.
    fn place(&mut self, filter: &TopicFilter) -> &mut Option<Place> {
        let mut node = self;
        for level in filter.as_str().split('/') {
            node = match level {
                "#" => return &mut node.below,
                "+" => node.plus.get_or_insert_default(),
                _ => {
                    if !node.children.contains_key(level) {
                        node.children.insert(level.into(), Self::default());
                    }
                    // The entry was made just now when it was not there.
                    node.children.entry(level.into()).or_default()
                }
            };
        }
        &mut node.here
    }

    /// Removes nodes that became empty along the filter's path.
    fn prune(&mut self, levels: &mut std::str::Split<'_, char>) {
        match levels.next() {
            None | Some("#") => {}
            Some("+") => {
                if let Some(plus) = &mut self.plus {
                    plus.prune(levels);
                    if plus.is_empty() {
                        self.plus = None;
                    }
                }
            }
            Some(level) => {
                if let Some(child) = self.children.get_mut(level) {
                    child.prune(levels);
                    if child.is_empty() {
                        self.children.remove(level);
                    }
                }
            }
        }
    }
}

/// What matches a topic: one set for each filter that does.
pub(crate) type Matched = Vec<Place>;

/// The subscriptions of one tenant.
#[derive(Debug, Default)]
pub(crate) struct SubscriptionTree {
    /// The keys are those of the sessions' own lists.
    exact: HashMap<Arc<str>, Place>,
    wild: Node,
}

impl SubscriptionTree {
    /// Puts a subscription in.
    pub(crate) fn insert(&mut self, subscribed: &Subscribed, subscriber: Subscriber, known: Known) {
        let share = subscribed.share.as_ref();
        if !subscribed.filter.is_exact() {
            let place = self.wild.place(&subscribed.filter).get_or_insert_default();
            place.insert(share, subscriber, known);
            return;
        }
        match self.exact.get_mut(subscribed.filter.as_str()) {
            Some(place) => place.insert(share, subscriber, known),
            None => {
                let mut place = Place::default();
                place.insert(share, subscriber, known);
                self.exact.insert(subscribed.filter.shared(), place);
            }
        }
    }

    /// Takes a subscription out; gives its options if there was one.
    pub(crate) fn remove(
        &mut self,
        subscribed: &Subscribed,
        session: &Arc<Shared>,
    ) -> Option<SubscriptionOptions> {
        let share = subscribed.share.as_ref();
        let filter = &subscribed.filter;
        if filter.is_exact() {
            let place = self.exact.get_mut(filter.as_str())?;
            let removed = place.remove(share, session);
            if place.is_empty() {
                self.exact.remove(filter.as_str());
            }
            return removed;
        }
        let place = self.wild.place(filter);
        let removed = place.as_mut().and_then(|place| place.remove(share, session));
        if place.as_ref().is_none_or(Place::is_empty) {
            *place = None;
            self.wild.prune(&mut filter.as_str().split('/'));
        }
        removed
    }

    /// All that matches `topic`, as [`TopicFilter::matches`] defines it. Visits at most one node
    /// for each stored filter level that fits, and never recurses.
    pub(crate) fn matches(&self, topic: &str) -> Matched {
        let mut matched: Matched = self.exact.get(topic).cloned().into_iter().collect();
        if self.wild.is_empty() {
            return matched;
        }
        // MQTT 5.0 [MQTT-4.7.2-1]: wildcards at the first level do not match `$…`.
        let mut first = topic.starts_with('$');
        let mut nodes = vec![&self.wild];
        let mut next = Vec::new();
        for level in topic.split('/') {
            for node in nodes.drain(..) {
                if !first {
                    matched.extend(node.below.clone());
                    next.extend(node.plus.as_deref());
                }
                next.extend(node.children.get(level));
            }
            first = false;
            std::mem::swap(&mut nodes, &mut next);
        }
        for node in nodes {
            matched.extend(node.here.clone());
            matched.extend(node.below.clone());
        }
        matched
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::super::session::{Facts, Owner, Who};
    use super::super::{TenantBroker, tree};
    use super::*;
    use crate::id::{TenantId, UserId};
    use crate::record::SessionNumber;

    fn session(number: u64) -> Arc<Shared> {
        let tenant = Arc::new(TenantBroker::new(TenantId::parse("t").unwrap()));
        let owner = Owner::User(UserId::parse("u").unwrap());
        let facts = Facts::new(Who::Stored(Box::new(owner)), Default::default());
        Arc::new(Shared::new(SessionNumber(number), tenant, Arc::from(number.to_string()), facts))
    }

    fn subscriber(session: &Arc<Shared>) -> Subscriber {
        let options =
            SubscriptionOptions { qos: QoS::AtMostOnce, flags: SubscriptionFlags::default(), identifier: 0 };
        Subscriber { session: Arc::clone(session), options }
    }

    fn matched(tree: &SubscriptionTree, topic: &str) -> Vec<u64> {
        let matched = tree.matches(topic);
        let mut numbers: Vec<u64> =
            matched.iter().flat_map(|set| set.plain().iter().map(|one| one.session.number.0)).collect();
        numbers.sort_unstable();
        numbers
    }

    fn level() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "c", "", "+", "$x"])
    }

    fn filter() -> impl Strategy<Value = String> {
        (prop::collection::vec(level(), 1..5), any::<bool>()).prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#");
            }
            levels.join("/")
        })
    }

    fn topic() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "c", "", "$x"]);
        prop::collection::vec(level, 1..6).prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn the_tree_equals_the_definition_of_a_match(
            filters in prop::collection::vec(filter(), 1..40),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            topics in prop::collection::vec(topic(), 1..20),
        ) {
            let mut tree = SubscriptionTree::default();
            let mut kept: Vec<(Subscribed, Arc<Shared>)> = Vec::new();
            for (number, text) in filters.iter().enumerate() {
                let Ok(subscribed) = Subscribed::parse(text) else { continue };
                let session = session(number as u64);
                tree.insert(&subscribed, subscriber(&session), Known::New);
                kept.push((subscribed, session));
            }
            for index in removed {
                if kept.is_empty() {
                    break;
                }
                let (subscribed, session) = kept.swap_remove(index.index(kept.len()));
                prop_assert!(tree.remove(&subscribed, &session).is_some());
            }
            for topic in topics.iter().filter(|topic| !topic.is_empty()) {
                let mut wanted: Vec<u64> = kept
                    .iter()
                    .filter(|(subscribed, _)| subscribed.filter.matches(topic))
                    .map(|(_, session)| session.number.0)
                    .collect();
                wanted.sort_unstable();
                prop_assert_eq!(matched(&tree, topic), wanted, "{}", topic);
            }
            for (subscribed, session) in &kept {
                tree.remove(subscribed, session);
            }
            prop_assert!(tree.exact.is_empty() && tree.wild.is_empty());
        }
    }

    #[test]
    fn a_share_gives_its_members_their_turn() {
        let mut tree = tree::SubscriptionTree::default();
        let subscribed = Subscribed::parse("$share/g/a").unwrap();
        for number in 0..3 {
            tree.insert(&subscribed, subscriber(&session(number)), Known::New);
        }
        let turns = Mutex::new(Vec::new());
        for _ in 0..6 {
            let matched = tree.matches("a");
            let first = matched[0].shares()[0].in_turn().next().unwrap().session.number.0;
            turns.lock().unwrap().push(first);
        }
        assert_eq!(turns.into_inner().unwrap(), [0, 1, 2, 0, 1, 2]);
    }
}
