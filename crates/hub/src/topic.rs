//! Topic names and topic filters (MQTT 5.0 section 4.7), and what a match is.

use std::fmt;
use std::sync::Arc;

/// The longest topic or filter, in bytes.
pub const TOPIC_LENGTH_MAX: usize = 1024;
/// The most levels of a topic or filter.
pub const TOPIC_LEVELS_MAX: usize = 128;

/// Why a text is no topic or filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    /// MQTT 5.0 [MQTT-4.7.3-1].
    #[error("a topic has at least one character")]
    Empty,
    /// MQTT 5.0 [MQTT-4.7.3-2].
    #[error("a topic has no character U+0000")]
    Null,
    /// MQTT 5.0 [MQTT-3.3.2-2].
    #[error("`+` and `#` stand in filters only, not in topic names")]
    Wildcard,
    /// MQTT 5.0 [MQTT-4.7.1-1] and [MQTT-4.7.1-2].
    #[error("`+` and `#` fill a whole level, and `#` is the last one")]
    MisplacedWildcard,
    /// MQTT 5.0 [MQTT-4.8.2-1] and [MQTT-4.8.2-2].
    #[error("a shared subscription is `$share/NAME/FILTER`, the name without `/`, `+` and `#`")]
    Share,
    /// Our own limits, [`TOPIC_LENGTH_MAX`] and [`TOPIC_LEVELS_MAX`] or less.
    #[error("a topic has at most {bytes} bytes and {levels} levels")]
    TooLong {
        /// The most bytes.
        bytes: usize,
        /// The most levels.
        levels: usize,
    },
}

const TOO_LONG: InvalidTopic = InvalidTopic::TooLong { bytes: TOPIC_LENGTH_MAX, levels: TOPIC_LEVELS_MAX };

fn check_text(text: &str) -> Result<(), InvalidTopic> {
    if text.is_empty() {
        return Err(InvalidTopic::Empty);
    }
    if text.len() > TOPIC_LENGTH_MAX {
        return Err(TOO_LONG);
    }
    let mut levels = 1;
    for byte in text.bytes() {
        match byte {
            0 => return Err(InvalidTopic::Null),
            b'/' => levels += 1,
            _ => {}
        }
    }
    if levels > TOPIC_LEVELS_MAX { Err(TOO_LONG) } else { Ok(()) }
}

/// A topic name: what a message is published to. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Reads a topic name.
    ///
    /// # Errors
    /// [`InvalidTopic`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, InvalidTopic> {
        check_text(text)?;
        if text.bytes().any(|byte| byte == b'+' || byte == b'#') {
            return Err(InvalidTopic::Wildcard);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it belongs to the server (`$…`), which wildcards at the first level do not match.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }

    /// For `devices/{id}/{rest}`: the id and the rest.
    #[must_use]
    pub fn device(&self) -> Option<(&str, &str)> {
        self.0.strip_prefix("devices/")?.split_once('/')
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

/// A topic filter without its share name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// The text, for who keeps it beside the filter.
    pub(crate) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// Reads a filter; `$share/…` is read by [`Subscribed::parse`].
    ///
    /// # Errors
    /// [`InvalidTopic`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, InvalidTopic> {
        check_text(text)?;
        let mut ended = false;
        for level in text.split('/') {
            let wildcard = level.bytes().any(|byte| byte == b'+' || byte == b'#');
            if ended || (wildcard && level.len() > 1) {
                return Err(InvalidTopic::MisplacedWildcard);
            }
            ended = level == "#";
        }
        Ok(Self(Arc::from(text)))
    }

    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one topic only.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.bytes().any(|byte| byte == b'+' || byte == b'#')
    }

    /// The definition of a match, which the subscription tree must equal. `#` also matches its
    /// parent; a wildcard at the first level does not match `$…` [MQTT-4.7.2-1].
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && (self.0.starts_with('+') || self.0.starts_with('#')) {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.0.split('/') {
            if wanted == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if wanted == "+" || wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", &*self.0)
    }
}

/// What a SUBSCRIBE names: a filter, and for a shared subscription the name it is shared under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscribed {
    /// `NAME` of `$share/NAME/FILTER`.
    pub share: Option<Arc<str>>,
    /// The filter.
    pub filter: TopicFilter,
}

impl Subscribed {
    /// Reads what a SUBSCRIBE or UNSUBSCRIBE names.
    ///
    /// # Errors
    /// [`InvalidTopic`] says which rule is broken.
    pub fn parse(text: &str) -> Result<Self, InvalidTopic> {
        let Some(shared) = text.strip_prefix("$share/") else {
            return Ok(Self { share: None, filter: TopicFilter::parse(text)? });
        };
        let (name, filter) = shared.split_once('/').ok_or(InvalidTopic::Share)?;
        if name.is_empty() || filter.is_empty() || name.contains(['+', '#']) {
            return Err(InvalidTopic::Share);
        }
        check_text(name)?;
        Ok(Self { share: Some(Arc::from(name)), filter: TopicFilter::parse(filter)? })
    }
}

impl fmt::Display for Subscribed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.share {
            Some(name) => write!(formatter, "$share/{name}/{}", self.filter),
            None => self.filter.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::parse(filter).unwrap().matches(topic)
    }

    #[test]
    fn matching_is_as_the_specification_tells_it() {
        // MQTT 5.0 sections 4.7.1.2 and 4.7.1.3.
        for (filter, topic) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
            ("sport/#", "sport"),
            ("#", "a/b"),
            ("+", "a"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("sport/+", "sport/"),
            ("$SYS/#", "$SYS/a"),
            ("$SYS/+", "$SYS/a"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/a"),
            ("+/a", "$SYS/a"),
            ("a", "a/b"),
            ("A", "a"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn m_55_a_misplaced_wildcard_is_no_filter() {
        for text in ["a/#/b", "a#", "+a", "#/", "", "a/b+", "a\0"] {
            assert!(TopicFilter::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn m_56_a_share_needs_a_name_and_a_filter() {
        for text in ["$share//t", "$share/g", "$share/g/", "$share/+/t", "$share/a#/t"] {
            assert!(Subscribed::parse(text).is_err(), "{text}");
        }
        let shared = Subscribed::parse("$share/g/a/#").unwrap();
        assert_eq!((shared.share.as_deref(), shared.filter.as_str()), (Some("g"), "a/#"));
        assert_eq!(shared.to_string(), "$share/g/a/#");
    }

    #[test]
    fn a_topic_name_has_no_wildcard_and_bounds() {
        for text in ["", "a/+", "#", "a\0b", &"x".repeat(1_025), &"/".repeat(128)] {
            assert!(Topic::parse(text).is_err());
        }
        assert!(Topic::parse(&"/".repeat(127)).is_ok());
        assert_eq!(Topic::parse("devices/a/telemetry/t").unwrap().device(), Some(("a", "telemetry/t")));
    }
}
