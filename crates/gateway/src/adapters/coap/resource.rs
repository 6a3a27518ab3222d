//! What a path names: the names of the HTTP API, with or without `/api/v1`.

/// Something that can be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resource<'a> {
    /// `.well-known/core`
    Links,
    /// A topic that a device may publish to, as it was written.
    Topic(TopicKind, String),
    /// `me/twin`
    Twin,
    /// `me/twin/desired`
    Desired,
    /// `me/commands`
    Commands,
    /// `me/commands/{id}/result`
    Result(&'a str),
    /// `me/documents/{name}`
    Document(&'a str),
}

/// What is published there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicKind {
    Telemetry,
    Event,
    Reported,
}

impl<'a> Resource<'a> {
    /// Reads a path; `None` for one that names nothing.
    pub(super) fn of(path: &[&'a str]) -> Option<Self> {
        let path = path.strip_prefix(&["api", "v1"]).unwrap_or(path);
        Some(match path {
            [".well-known", "core"] => Self::Links,
            ["me", "twin"] => Self::Twin,
            ["me", "twin", "desired"] => Self::Desired,
            ["me", "commands"] => Self::Commands,
            ["me", "commands", id, "result"] => Self::Result(id),
            ["me", "documents", name] => Self::Document(name),
            ["me", rest @ ..] | ["devices", _, rest @ ..] => Self::Topic(TopicKind::of(rest)?, join(path)?),
            _ => return None,
        })
    }
}

impl TopicKind {
    fn of(rest: &[&str]) -> Option<Self> {
        match rest {
            ["telemetry", ..] => Some(Self::Telemetry),
            ["events", _, ..] => Some(Self::Event),
            ["twin", "reported"] => Some(Self::Reported),
            _ => None,
        }
    }
}

/// A segment with a slash of its own would be two levels of a topic.
fn join(path: &[&str]) -> Option<String> {
    let is_level = |segment: &&str| !segment.is_empty() && !segment.contains('/');
    path.iter().all(is_level).then(|| path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_they_name_over_http() {
        let topic = |kind, name: &str| Some(Resource::Topic(kind, name.to_owned()));
        for (path, expected) in [
            ("me/telemetry", topic(TopicKind::Telemetry, "me/telemetry")),
            ("api/v1/me/telemetry/temp/1", topic(TopicKind::Telemetry, "me/telemetry/temp/1")),
            ("devices/a/telemetry", topic(TopicKind::Telemetry, "devices/a/telemetry")),
            ("me/events/door", topic(TopicKind::Event, "me/events/door")),
            ("me/twin/reported", topic(TopicKind::Reported, "me/twin/reported")),
            ("me/twin", Some(Resource::Twin)),
            ("api/v1/me/twin/desired", Some(Resource::Desired)),
            ("me/commands", Some(Resource::Commands)),
            ("me/commands/1/result", Some(Resource::Result("1"))),
            ("me/documents/..", Some(Resource::Document(".."))),
            (".well-known/core", Some(Resource::Links)),
            ("me", None),
            ("me/events", None),
            ("me/telemetry/", None),
            ("devices/a/commands", None),
            ("api/v1", None),
            ("telemetry", None),
        ] {
            let segments: Vec<_> = path.split('/').collect();
            assert_eq!(Resource::of(&segments), expected, "{path}");
        }
        assert_eq!(Resource::of(&["me", "telemetry", "a/b"]), None);
        assert_eq!(Resource::of(&[]), None);
    }
}
