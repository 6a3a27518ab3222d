//! Rules by which devices are let in without anybody asking. Asked when a device is heard of for
//! the first time, and for those that wait when the rules are set; whoever then still waits, waits
//! for a person.
//!
//! One fact per tenant, `inbox-rules/{tenant}/all`, with what each rule has let in so far.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Accept, Recognised, Waiting, prefix, waiting_id, waiting_key};
use crate::Hub;
use crate::flight::FlightKind;
use crate::id::{DeviceId, ProfileId, TenantId};
use crate::registry::link::LINK_NAME_LENGTH_MAX;
use crate::registry::{CreateDeviceError, DIALECT_PROFILES, check_labels, fact};
use crate::storage::{Key, StorageError};

/// The most rules of a tenant.
pub const INBOX_RULES_MAX: usize = 100;
/// The most bytes of a tenant's rules as JSON.
const RULES_SIZE_MAX: usize = 64 * 1024;
/// How many devices a rule lets in when it does not say.
const LIMIT_DEFAULT: u32 = 1_000;
/// How many of those that wait are looked at between two syncs.
const LOOKED_AT_ONCE: usize = 100;
/// The bytes of an etag.
const ETAG_LENGTH: usize = 8;

/// A rule by which devices are let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboxRule {
    /// Whose devices: one of [`DIALECT_PROFILES`], or `unit`.
    pub dialect: String,
    /// By what the dialect knows them: `*` stands for any text, `?` for one character.
    #[serde(default = "any_name")]
    pub name: String,
    /// Only those behind this gateway; all when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<DeviceId>,
    /// Labels that they get beside the proposed ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Their profile; the proposed one when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileId>,
    /// How many devices it lets in, ever.
    #[serde(default = "default_limit")]
    pub limit: u32,
    /// How many it has let in. The hub counts; what a caller says here is not heard.
    #[serde(default)]
    pub accepted: u32,
}

fn any_name() -> String {
    "*".to_owned()
}

fn default_limit() -> u32 {
    LIMIT_DEFAULT
}

/// Why rules were not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutInboxRulesError {
    /// Something about them is not as it must be; says what.
    #[error("{0}")]
    Invalid(String),
    /// Other rules stand there than those that were to be changed; their etag.
    #[error("the rules are not those that were to be changed")]
    Conflict(String),
    /// The store could not.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A hash by which rules are told from others, without how many devices each has let in: that goes
/// on counting while somebody edits them.
#[must_use]
pub fn inbox_rules_etag(rules: &[InboxRule]) -> String {
    let mut rules = rules.to_vec();
    for rule in &mut rules {
        rule.accepted = 0;
    }
    let json = serde_json::to_vec(&rules).unwrap_or_default();
    hex::encode(Sha256::digest(json).get(..ETAG_LENGTH).unwrap_or_default())
}

impl InboxRule {
    fn matches(&self, waiting: &Waiting) -> bool {
        self.accepted < self.limit
            && self.dialect == waiting.dialect
            && (self.parent.is_none() || self.parent == waiting.parent)
            && glob_matches(&self.name, &waiting.name)
    }

    fn is_for_the_same(&self, other: &Self) -> bool {
        (&self.dialect, &self.name, &self.parent) == (&other.dialect, &other.name, &other.parent)
    }
}

/// Whether the whole text is as the pattern says.
fn glob_matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Where to go on when what follows the last `*` turns out not to match: one character later.
    let mut retry = None;
    loop {
        let from_here = text.clone();
        match (pattern.next(), text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                retry = Some((pattern.clone(), from_here.clone()));
                text = from_here;
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => {
                let Some((behind_star, mut later)) = retry.take() else { return false };
                if later.next().is_none() {
                    return false;
                }
                (pattern, text) = (behind_star.clone(), later.clone());
                retry = Some((behind_star, later));
            }
        }
    }
}

fn rules_key(tenant: &TenantId) -> Result<Key, StorageError> {
    fact::key(Key::of("inbox-rules").level(tenant.as_str()).level("all"))
}

impl Hub {
    /// The rules by which a tenant's devices are let in, in the order in which they are asked.
    ///
    /// # Errors
    /// The store could not tell.
    pub fn inbox_rules(&self, tenant: &TenantId) -> Result<Vec<InboxRule>, StorageError> {
        let found = fact::get(&*self.store.table, &rules_key(tenant)?)?;
        Ok(found.map(|fact| fact.value).unwrap_or_default())
    }

    /// Sets all rules of a tenant, and lets in whom of those that wait they match; where an etag is
    /// said, only instead of the rules that have it. A rule that was there before (same dialect, name
    /// and gateway) goes on counting. Gives the rules as they then are. Not cancel safe.
    ///
    /// # Errors
    /// [`PutInboxRulesError`]; where it is no storage error, nothing was changed.
    pub async fn put_inbox_rules(
        &self,
        tenant: &TenantId,
        (rules, etag): (Vec<InboxRule>, Option<&str>),
    ) -> Result<Vec<InboxRule>, PutInboxRulesError> {
        self.check_inbox_rules(tenant, &rules)?;
        self.put_inbox_rules_now(tenant, rules, etag)?;
        let mut after = None;
        loop {
            let page = self.store.table.scan(&prefix(tenant), after.as_ref(), LOOKED_AT_ONCE)?;
            for (key, entry) in &page {
                self.let_in_waiting(tenant, fact::read(key, &entry.value)?)?;
            }
            // A store takes so many changes at a time.
            self.durable(self.store.log.end()).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
        }
        Ok(self.inbox_rules(tenant)?)
    }

    fn check_inbox_rules(&self, tenant: &TenantId, rules: &[InboxRule]) -> Result<(), PutInboxRulesError> {
        let invalid = |text: String| Err(PutInboxRulesError::Invalid(text));
        if rules.len() > INBOX_RULES_MAX {
            return invalid(format!("a tenant has at most {INBOX_RULES_MAX} inbox rules"));
        }
        for rule in rules {
            if rule.dialect != "unit" && !DIALECT_PROFILES.contains(&rule.dialect.as_str()) {
                return invalid(format!("the dialect of a rule is unit, {}", DIALECT_PROFILES.join(", ")));
            }
            if !(1..=LINK_NAME_LENGTH_MAX).contains(&rule.name.len()) {
                return invalid(format!("the name of a rule has 1 to {LINK_NAME_LENGTH_MAX} bytes"));
            }
            if rule.limit == 0 {
                return invalid("a rule lets in at least one device".to_owned());
            }
            check_labels(&rule.labels).map_err(PutInboxRulesError::Invalid)?;
            if let Some(profile) = &rule.profile
                && self.profile(tenant, profile)?.is_none()
            {
                return invalid(format!("there is no profile {profile}"));
            }
        }
        if serde_json::to_vec(rules).is_ok_and(|json| json.len() > RULES_SIZE_MAX) {
            return invalid(format!("the inbox rules of a tenant have at most {RULES_SIZE_MAX} bytes"));
        }
        Ok(())
    }

    fn put_inbox_rules_now(
        &self,
        tenant: &TenantId,
        mut rules: Vec<InboxRule>,
        etag: Option<&str>,
    ) -> Result<(), PutInboxRulesError> {
        let _turn = self.inbox.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.inbox_rules(tenant)?;
        let stands = inbox_rules_etag(&before);
        if etag.is_some_and(|etag| etag != stands) {
            return Err(PutInboxRulesError::Conflict(stands));
        }
        for rule in &mut rules {
            let same = before.iter().find(|other| other.is_for_the_same(rule));
            rule.accepted = same.map_or(0, |same| same.accepted);
        }
        fact::set(&*self.store.table, &rules_key(tenant)?, &rules)?;
        Ok(())
    }

    /// Registers a device that a dialect recognised, where a rule lets it in and it does not wait for
    /// a person already. Durable before anything that is appended later. Cheap where no rule is.
    ///
    /// # Errors
    /// The store could not.
    pub fn let_in_by_rule(
        &self,
        tenant: &TenantId,
        recognised: &Recognised,
    ) -> Result<Option<DeviceId>, StorageError> {
        let table = &*self.store.table;
        if table.get(&rules_key(tenant)?)?.is_none()
            || table.get(&waiting_key(tenant, &waiting_id(recognised))?)?.is_some()
        {
            return Ok(None);
        }
        self.let_in(tenant, Waiting::new(recognised.clone(), self.now()))
    }

    fn let_in_waiting(&self, tenant: &TenantId, waiting: Waiting) -> Result<(), StorageError> {
        let (id, sample) = (waiting.id.clone(), waiting.sample.clone());
        if let Some(device) = self.let_in(tenant, waiting)? {
            self.forget_waiting(tenant, &id)?;
            self.keep_waited(tenant, &device, &sample)?;
        }
        Ok(())
    }

    /// One rule at a time lets somebody in, so that none goes over its limit.
    fn let_in(&self, tenant: &TenantId, waiting: Waiting) -> Result<Option<DeviceId>, StorageError> {
        let _turn = self.inbox.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rules = self.inbox_rules(tenant)?;
        let Some(rule) = rules.iter_mut().find(|rule| rule.matches(&waiting)) else { return Ok(None) };
        let name = (waiting.dialect.as_str(), waiting.name.as_str());
        if let Some(device) = self.device_by_name(tenant, waiting.parent.as_ref(), name)? {
            // Another connection of the same device was quicker.
            return Ok(Some(device));
        }
        let mut labels = waiting.proposed.labels.clone();
        labels.extend(rule.labels.clone());
        let accept = Accept { labels: Some(labels), profile: rule.profile.clone(), ..Accept::default() };
        let (device, _, _) = match self.create_device_now(tenant, waiting.into_new(accept)) {
            Ok(created) => created,
            Err(CreateDeviceError::Storage(error)) => return Err(error),
            // The id is taken, or the tenant is full: that is for a person to decide.
            Err(_) => return Ok(None),
        };
        rule.accepted += 1;
        let said = format!("let in by the inbox rule {} {}", rule.dialect, rule.name);
        fact::set(&*self.store.table, &rules_key(tenant)?, &rules)?;
        self.note(tenant, &device.id, FlightKind::Link, said, device.created_at);
        Ok(Some(device.id))
    }
}

#[cfg(test)]
mod tests {
    use super::glob_matches;

    #[test]
    fn a_pattern_matches_the_whole_name() {
        for (pattern, text, wanted) in [
            ("*", "", true),
            ("*", "1187", true),
            ("11*", "1187", true),
            ("11*", "2187", false),
            ("*87", "118787", true),
            ("*87", "11878", false),
            ("1?87", "1187", true),
            ("1?87", "187", false),
            ("a*b*c", "a-bb-b-c", true),
            ("a*b*c", "a-bb-b-d", false),
            ("**", "x", true),
            ("?", "ü", true),
            ("?", "", false),
            ("", "", true),
            ("", "x", false),
            ("1187", "1187", true),
            ("1187", "11870", false),
        ] {
            assert_eq!(glob_matches(pattern, text), wanted, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn a_pattern_full_of_stars_takes_no_time() {
        let pattern = "*a".repeat(64);
        assert!(!glob_matches(&pattern, &"a".repeat(63)));
        assert!(glob_matches(&pattern, &"a".repeat(128)));
        assert!(!glob_matches(&pattern, &format!("{}b", "a".repeat(127))));
    }
}
