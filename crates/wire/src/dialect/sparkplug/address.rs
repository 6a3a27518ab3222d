//! `spBv1.0/{group}/{kind}/{node}[/{device}]`

use std::borrow::Cow;

use crate::dialect::Unread;

pub(super) const NAMESPACE: &str = "spBv1.0";
/// The longest name of a node or device, with its group, in bytes.
const NAME_LENGTH_MAX: usize = 512;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Birth,
    Death,
    Data,
    /// From a host, not from a device.
    Command,
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    pub(super) kind: Kind,
    pub(super) group: &'a str,
    pub(super) node: &'a str,
    pub(super) device: Option<&'a str>,
}

impl<'a> Address<'a> {
    /// `None` for topics of others, and for STATE, which hosts say.
    pub(super) fn parse(topic: &'a str) -> Result<Option<Self>, Unread> {
        let mut levels = topic.split('/');
        if levels.next() != Some(NAMESPACE) {
            return Ok(None);
        }
        let (group, kind, node) = (levels.next(), levels.next(), levels.next());
        if group == Some("STATE") {
            return Ok(None);
        }
        let (device, more) = (levels.next(), levels.next());
        let wrong = |detail: &'static str| Err(Unread(Cow::Borrowed(detail)));
        let (Some(group), Some(kind), Some(node), None) = (group, kind, node, more) else {
            return wrong(
                "a topic of Sparkplug B is spBv1.0/group/kind/node or spBv1.0/group/kind/node/device",
            );
        };
        if group.is_empty() || node.is_empty() || device == Some("") || topic.len() > NAME_LENGTH_MAX {
            return wrong("a name in the topic is empty or too long");
        }
        let (of, kind) = kind.split_at_checked(1).unwrap_or_default();
        let kind = match kind {
            "BIRTH" => Kind::Birth,
            "DEATH" => Kind::Death,
            "DATA" => Kind::Data,
            "CMD" => Kind::Command,
            _ => return wrong("the kind in the topic is none of Sparkplug B"),
        };
        match (of, device) {
            ("N", None) | ("D", Some(_)) => Ok(Some(Self { kind, group, node, device })),
            ("N", Some(_)) => wrong("a message of a node names no device in its topic"),
            ("D", None) => wrong("a message of a device names the device in its topic"),
            _ => wrong("the kind in the topic is none of Sparkplug B"),
        }
    }

    /// Of `group/node` or `group/node/device`.
    pub(super) fn of_name(name: &'a str) -> Option<Self> {
        let mut parts = name.splitn(3, '/');
        let (group, node, device) = (parts.next()?, parts.next()?, parts.next());
        let all = [Some(group), Some(node), device];
        let fits =
            all.into_iter().flatten().all(|part| !part.is_empty() && !part.contains(['/', '+', '#', '\0']));
        fits.then_some(Self { kind: Kind::Command, group, node, device })
    }

    pub(super) fn node_name(&self) -> String {
        format!("{}/{}", self.group, self.node)
    }

    pub(super) fn command_topic(&self) -> String {
        match self.device {
            Some(device) => format!("{NAMESPACE}/{}/DCMD/{}/{device}", self.group, self.node),
            None => format!("{NAMESPACE}/{}/NCMD/{}", self.group, self.node),
        }
    }
}
