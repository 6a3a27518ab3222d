//! Topic aliases (MQTT 5.0 section 3.3.2.3.4), both directions.

use std::num::NonZeroU16;
use std::sync::Arc;

use super::ConnectionOptions;
use crate::mqtt::fault::{self, DecodeError};

/// The topic of a message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic<'a> {
    /// It stood in the packet.
    Named(&'a str),
    /// An alias stood for it.
    Aliased(Arc<str>),
}

impl std::ops::Deref for Topic<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Named(topic) => topic,
            Self::Aliased(topic) => topic,
        }
    }
}

/// What the client's aliases stand for, and ours. Nothing is allocated before one is used.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    table: Option<Box<Table>>,
    client_maximum: u16,
}

#[derive(Debug, Default)]
struct Table {
    /// At index alias - 1.
    inbound: Vec<Option<Arc<str>>>,
    /// At index alias - 1; searched from the front, so its length is kept small by the options.
    outbound: Vec<Box<str>>,
}

/// How to name a topic in a PUBLISH to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutboundAlias {
    /// The client knows it: leave the topic empty.
    Known(NonZeroU16),
    /// The client learns it from this packet.
    New(NonZeroU16),
    None,
}

impl Aliases {
    pub(super) fn new(client_maximum: u16) -> Self {
        Self { table: None, client_maximum }
    }

    /// The topic that is meant by a PUBLISH with an alias.
    pub(super) fn resolve<'a>(
        &mut self,
        alias: NonZeroU16,
        topic: &'a str,
        options: &ConnectionOptions,
    ) -> Result<Topic<'a>, DecodeError> {
        if alias.get() > options.topic_alias_maximum {
            return Err((&fault::ALIAS_TOO_LARGE).into());
        }
        let index = usize::from(alias.get()) - 1;
        if topic.is_empty() {
            let known = self.table.as_ref().and_then(|table| table.inbound.get(index)?.clone());
            return Ok(Topic::Aliased(known.ok_or(&fault::ALIAS_UNKNOWN)?));
        }
        if options.limits.allow_topic(topic) {
            let inbound = &mut self.table.get_or_insert_default().inbound;
            if inbound.len() <= index {
                inbound.resize(index + 1, None);
            }
            if let Some(place) = inbound.get_mut(index) {
                *place = Some(Arc::from(topic));
            }
        }
        Ok(Topic::Named(topic))
    }

    /// Aliases are given to the first topics that come, and kept.
    pub(super) fn outbound(&self, topic: &str, options: &ConnectionOptions) -> OutboundAlias {
        let maximum = self.client_maximum.min(options.outbound_aliases_max);
        let known = self.table.as_ref().map_or(&[][..], |table| &table.outbound);
        let aliases = (1..=maximum).filter_map(NonZeroU16::new);
        let mut known = known.iter();
        for alias in aliases {
            match known.next() {
                Some(name) if **name == *topic => return OutboundAlias::Known(alias),
                Some(_) => {}
                None => return OutboundAlias::New(alias),
            }
        }
        OutboundAlias::None
    }

    /// The client was told of the alias that [`Aliases::outbound`] just called new.
    pub(super) fn learned(&mut self, topic: &str) {
        self.table.get_or_insert_default().outbound.push(topic.into());
    }
}
