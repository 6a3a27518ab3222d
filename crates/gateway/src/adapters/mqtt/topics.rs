//! The topics that a client published to lately, so that the next message there needs no look.

use roost_hub::principal::Principal;
use roost_hub::topic::Topic;

/// How many topics are remembered for one connection.
const REMEMBERED_MAX: usize = 8;

/// Topics as the client says them, with what they mean.
#[derive(Debug, Default)]
pub(super) struct Topics {
    known: Vec<Known>,
    /// Which entry makes place for the next.
    oldest: u8,
}

#[derive(Debug)]
struct Known {
    /// What the client says, where it is another name (`me/…`).
    said: Option<Box<str>>,
    topic: Topic,
}

/// Why a topic is none of this client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicError {
    /// It said `me` and is no device.
    NotADevice,
    /// It is no topic.
    Invalid,
}

impl Topics {
    /// Whether the client published nothing yet.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The topic that `text` names.
    pub(super) fn find(&mut self, text: &str, principal: &Principal) -> Result<Topic, TopicError> {
        let is_meant = |known: &&Known| known.said.as_deref().unwrap_or(known.topic.as_str()) == text;
        if let Some(known) = self.known.iter().find(is_meant) {
            return Ok(known.topic.clone());
        }
        let full = principal.full_name(text).map_err(|_error| TopicError::NotADevice)?;
        let topic = Topic::parse(&full).map_err(|_error| TopicError::Invalid)?;
        let said = matches!(full, std::borrow::Cow::Owned(_)).then(|| Box::from(text));
        let known = Known { said, topic: topic.clone() };
        if self.known.len() < REMEMBERED_MAX {
            self.known.push(known);
        } else if let Some(place) = self.known.get_mut(usize::from(self.oldest) % REMEMBERED_MAX) {
            *place = known;
            self.oldest = self.oldest.wrapping_add(1);
        }
        Ok(topic)
    }
}

#[cfg(test)]
mod tests {
    use roost_hub::access::Grants;
    use roost_hub::id::{DeviceId, ProfileId, TenantId};
    use roost_hub::principal::Actor;

    use super::*;

    fn device() -> Principal {
        let actor = Actor::Device {
            device: DeviceId::parse("s1").unwrap(),
            profile: ProfileId::parse("standard").unwrap(),
            grants: Grants::standard(),
        };
        Principal { tenant: TenantId::parse("t").unwrap(), actor, credential: None }
    }

    #[test]
    fn a_topic_is_the_same_again_by_either_name() {
        let mut topics = Topics::default();
        for _ in 0..2 {
            assert_eq!(topics.find("me/telemetry", &device()).unwrap().as_str(), "devices/s1/telemetry");
            assert_eq!(topics.find("a/b", &device()).unwrap().as_str(), "a/b");
            let full = topics.find("devices/s1/telemetry", &device()).unwrap();
            assert_eq!(full.as_str(), "devices/s1/telemetry");
        }
        assert_eq!(topics.known.len(), 3);
        assert_eq!(topics.find("a/+", &device()), Err(TopicError::Invalid));
    }

    #[test]
    fn a_few_topics_are_remembered_and_no_more() {
        let mut topics = Topics::default();
        for number in 0..100 {
            topics.find(&format!("t/{number}"), &device()).unwrap();
        }
        assert_eq!(topics.known.len(), REMEMBERED_MAX);
        assert_eq!(topics.find("t/99", &device()).unwrap().as_str(), "t/99");
    }
}
