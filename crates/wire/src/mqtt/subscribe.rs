//! SUBSCRIBE (section 3.8).

use std::num::{NonZeroU16, NonZeroU32};

use super::fault::{self, DecodeError};
use super::filter;
use super::limits::Limits;
use super::properties::{Property, PropertyBlock, UserProperties};
use super::reader::Reader;
use super::source::Source;
use super::writer::Writer;
use super::{QoS, Version};

/// What a client wants to get.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// Comes back in SUBACK.
    pub packet_id: NonZeroU16,
    /// Defaults in 3.1.1.
    pub properties: SubscribeProperties<'a>,
    /// At least one.
    pub subscriptions: Subscriptions<'a>,
}

/// The properties of section 3.8.2.1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubscribeProperties<'a> {
    /// Sent back with every message that these filters match; at most 268,435,455.
    pub subscription_identifier: Option<NonZeroU32>,
    /// In order.
    pub user_properties: UserProperties<'a>,
}

/// One filter with how it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// Well-formed; `$share/name/filter` if shared. Bounds are [`Limits::allow_topic`].
    pub filter: &'a str,
    /// Only `qos` in 3.1.1.
    pub options: SubscriptionOptions,
}

/// Section 3.8.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// The most that is wanted.
    pub qos: QoS,
    /// Not what this client published itself.
    pub no_local: bool,
    /// Keep the retain flag as the publisher set it.
    pub retain_as_published: bool,
    /// Which retained messages to send at once.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent for a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum RetainHandling {
    /// Each time it is made.
    #[default]
    Send = 0,
    /// Only if it did not exist.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

impl SubscriptionOptions {
    fn from_byte(byte: u8, version: Version) -> Result<Self, DecodeError> {
        let reserved = match version {
            Version::V3 => 0xFC,
            Version::V5 => 0xC0,
        };
        if byte & reserved != 0 {
            return Err((&fault::SUBSCRIPTION_RESERVED).into());
        }
        Ok(Self {
            qos: QoS::from_bits(byte & 3).ok_or(&fault::SUBSCRIPTION_QOS)?,
            no_local: byte & 0x04 != 0,
            retain_as_published: byte & 0x08 != 0,
            retain_handling: match byte >> 4 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err((&fault::RETAIN_HANDLING).into()),
            },
        })
    }

    fn byte(self, version: Version) -> u8 {
        let qos = self.qos.bits();
        match version {
            Version::V3 => qos,
            Version::V5 => {
                qos | u8::from(self.no_local) << 2
                    | u8::from(self.retain_as_published) << 3
                    | (self.retain_handling as u8) << 4
            }
        }
    }
}

/// The filters of a SUBSCRIBE in their order.
#[derive(Clone, Copy)]
pub struct Subscriptions<'a>(Source<'a, Subscription<'a>>);

impl<'a> Subscriptions<'a> {
    /// Each filter with its options.
    pub fn iter(&self) -> impl Iterator<Item = Subscription<'a>> + use<'a> {
        let (bytes, list) = match self.0 {
            Source::Encoded(bytes) => (bytes, &[][..]),
            Source::List(list) => (&[][..], list),
        };
        let mut rest = Reader::new(bytes);
        // What 3.1.1 allows in the options is a part of what 5.0 does, and both were checked.
        let encoded = std::iter::from_fn(move || one(&mut rest, Version::V5).ok());
        encoded.chain(list.iter().copied())
    }

    fn read(bytes: &'a [u8], version: Version, limits: &Limits) -> Result<Self, DecodeError> {
        let mut rest = Reader::new(bytes);
        let mut count = 0;
        while !rest.is_empty() {
            count += 1;
            if count > limits.filters_max {
                return Err((&fault::TOO_MANY_FILTERS).into());
            }
            let subscription = one(&mut rest, version)?;
            filter::check(subscription.filter)?;
            if subscription.options.no_local && filter::shared(subscription.filter).is_some() {
                return Err((&fault::NO_LOCAL_SHARED).into());
            }
        }
        if count == 0 { Err((&fault::NO_FILTERS).into()) } else { Ok(Self(Source::Encoded(bytes))) }
    }
}

fn one<'a>(reader: &mut Reader<'a>, version: Version) -> Result<Subscription<'a>, DecodeError> {
    let filter = reader.string()?;
    let options = SubscriptionOptions::from_byte(reader.u8()?, version)?;
    Ok(Subscription { filter, options })
}

impl<'a> From<&'a [Subscription<'a>]> for Subscriptions<'a> {
    fn from(list: &'a [Subscription<'a>]) -> Self {
        Self(Source::List(list))
    }
}

impl PartialEq for Subscriptions<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for Subscriptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Subscribe<'a> {
    pub(super) fn read(
        mut reader: Reader<'a>,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = match version {
            Version::V3 => SubscribeProperties::default(),
            Version::V5 => SubscribeProperties::read(&mut reader, limits)?,
        };
        let subscriptions = Subscriptions::read(reader.remaining(), version, limits)?;
        Ok(Self { packet_id, properties, subscriptions })
    }

    pub(super) fn write(&self, version: Version, writer: &mut Writer<'_>) {
        writer.packet_id(self.packet_id);
        if version == Version::V5 {
            writer.sized(|writer| {
                if let Some(id) = self.properties.subscription_identifier {
                    Property::SubscriptionIdentifier(id.get()).write(writer);
                }
                self.properties.user_properties.visit(&mut |property| property.write(writer));
            });
        }
        for subscription in self.subscriptions.iter() {
            writer.string(subscription.filter);
            writer.u8(subscription.options.byte(version));
        }
    }
}

impl<'a> SubscribeProperties<'a> {
    fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut block = PropertyBlock::open(reader, limits)?;
        let mut properties = Self::default();
        while let Some(property) = block.read()? {
            match property {
                Property::SubscriptionIdentifier(id) => {
                    if properties.subscription_identifier.is_some() {
                        return Err((&fault::PROPERTY_TWICE).into());
                    }
                    properties.subscription_identifier = NonZeroU32::new(id);
                }
                Property::User(..) => {}
                _ => return Err((&fault::PROPERTY_NOT_ALLOWED).into()),
            }
        }
        properties.user_properties = block.user_properties();
        Ok(properties)
    }
}
