//! Which items a Spot sees.

use std::collections::HashMap;
use std::time::Duration;

/// How many items of one Spot are followed; more are passed on without a count.
pub const PRESENCES_MAX: usize = 4_096;
/// How much longer than its hold an item may stay unconfirmed after a restart of the Spot.
const GRACE: Duration = Duration::from_secs(10);
/// The hold of an item that told none.
const HOLD_DEFAULT: Duration = Duration::from_secs(5);
/// The longest hold that a Spot can be set to.
const HOLD_MAX: Duration = Duration::from_secs(3_600);

/// The items of one Spot, by kind and code.
#[derive(Debug, Default)]
pub struct Presences {
    items: HashMap<(Box<str>, Box<str>), Item>,
    /// Set while some items wait to be confirmed.
    has_stale: bool,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    hold: Duration,
    /// When it is dropped if nobody confirms it.
    stale_until: Option<Duration>,
}

/// What a message about an item means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// What it says.
    AsSaid,
    /// It is about an item that nobody knew: it came without being told.
    Unannounced,
}

impl Presences {
    /// An item is there: a `create` or an `update`.
    pub fn seen(&mut self, (kind, code): (&str, &str), hold: Option<u64>) -> Change {
        let hold = hold.map_or(HOLD_DEFAULT, Duration::from_secs).min(HOLD_MAX);
        let name = (Box::from(kind), Box::from(code));
        let is_known = self.items.contains_key(&name);
        if is_known || self.items.len() < PRESENCES_MAX {
            self.items.insert(name, Item { hold, stale_until: None });
        }
        if is_known { Change::AsSaid } else { Change::Unannounced }
    }

    /// An item is gone.
    pub fn gone(&mut self, (kind, code): (&str, &str)) -> Change {
        match self.items.remove(&(Box::from(kind), Box::from(code))) {
            Some(_) => Change::AsSaid,
            None => Change::Unannounced,
        }
    }

    /// The Spot began anew: what it does not repeat soon is gone.
    pub fn restarted(&mut self, now: Duration) {
        for item in self.items.values_mut() {
            item.stale_until = Some(now.saturating_add(item.hold).saturating_add(GRACE));
        }
        self.has_stale = !self.items.is_empty();
    }

    /// The items (kind and code) that were not confirmed in time; they are forgotten.
    pub fn lapsed(&mut self, now: Duration) -> Vec<(Box<str>, Box<str>)> {
        if !self.has_stale {
            return Vec::new();
        }
        let gone = self.items.extract_if(|_, item| item.stale_until.is_some_and(|until| until <= now));
        let gone = gone.map(|(name, _)| name).collect();
        self.has_stale = self.items.values().any(|item| item.stale_until.is_some());
        gone
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.items.len()
    }
}
