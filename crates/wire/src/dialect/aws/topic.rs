//! `$aws/things/{thing}/…` and `$aws/commands/things/{thing}/…`: what devices write.

use super::shadow::Shadow;

const THING_LENGTH_MAX: usize = 128;
const SHADOW_LENGTH_MAX: usize = 64;
const ID_LENGTH_MAX: usize = 64;

/// What a device writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Topic<'a> {
    pub(super) thing: &'a str,
    pub(super) verb: Verb<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb<'a> {
    Update(Shadow<'a>),
    Get(Shadow<'a>),
    Delete(Shadow<'a>),
    Job(Job),
    /// To the execution of a command with this id.
    Response(&'a str),
}

/// What is asked of the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    List,
    Next,
    One,
}

impl<'a> Topic<'a> {
    /// `None` for topics of others, those of the answers among them.
    pub(super) fn parse(topic: &'a str) -> Option<Self> {
        let rest = topic.strip_prefix("$aws/")?;
        if let Some(rest) = rest.strip_prefix("commands/things/") {
            let (thing, rest) = rest.split_once('/')?;
            let id = rest.strip_prefix("executions/")?.strip_suffix("/response/json")?;
            let fits = is_thing(thing) && is_name(id, ID_LENGTH_MAX, b"-_");
            return fits.then_some(Self { thing, verb: Verb::Response(id) });
        }
        let (thing, rest) = rest.strip_prefix("things/")?.split_once('/')?;
        if !is_thing(thing) {
            return None;
        }
        if let Some(rest) = rest.strip_prefix("jobs/") {
            let job = match rest.split_once('/') {
                None if rest == "get" => Job::List,
                None if rest == "start-next" => Job::Next,
                Some(("$next", "get")) => Job::Next,
                Some((id, "get" | "update")) if is_name(id, ID_LENGTH_MAX, b"-_") => Job::One,
                _ => return None,
            };
            return Some(Self { thing, verb: Verb::Job(job) });
        }
        let rest = rest.strip_prefix("shadow/")?;
        let (name, verb) = match rest.strip_prefix("name/") {
            Some(rest) => rest.split_once('/').map(|(name, verb)| (Some(name), verb))?,
            None => (None, rest),
        };
        if !name.is_none_or(is_shadow) {
            return None;
        }
        let shadow = Shadow { thing, name };
        let verb = match verb {
            "update" => Verb::Update(shadow),
            "get" => Verb::Get(shadow),
            "delete" => Verb::Delete(shadow),
            _ => return None,
        };
        Some(Self { thing, verb })
    }
}

pub(super) fn is_thing(name: &str) -> bool {
    is_name(name, THING_LENGTH_MAX, b"-_:")
}

pub(super) fn is_shadow(name: &str) -> bool {
    is_name(name, SHADOW_LENGTH_MAX, b"-_:$")
}

fn is_name(name: &str, length_max: usize, marks: &[u8]) -> bool {
    (1..=length_max).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(&byte))
}
