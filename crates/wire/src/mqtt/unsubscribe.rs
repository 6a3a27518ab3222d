//! UNSUBSCRIBE (section 3.10).

use std::num::NonZeroU16;

use super::Version;
use super::fault::{self, DecodeError};
use super::filter;
use super::limits::Limits;
use super::properties::{Property, PropertyBlock, UserProperties};
use super::reader::Reader;
use super::source::Source;
use super::writer::Writer;

/// What a client no longer wants to get.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    /// Comes back in UNSUBACK.
    pub packet_id: NonZeroU16,
    /// In order; none in 3.1.1.
    pub user_properties: UserProperties<'a>,
    /// At least one.
    pub filters: Filters<'a>,
}

/// The filters of an UNSUBSCRIBE in their order, each well-formed.
#[derive(Clone, Copy)]
pub struct Filters<'a>(Source<'a, &'a str>);

impl<'a> Filters<'a> {
    /// Each filter.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (bytes, list) = match self.0 {
            Source::Encoded(bytes) => (bytes, &[][..]),
            Source::List(list) => (&[][..], list),
        };
        let mut rest = Reader::new(bytes);
        std::iter::from_fn(move || rest.string().ok()).chain(list.iter().copied())
    }

    fn read(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut rest = Reader::new(bytes);
        let mut count = 0;
        while !rest.is_empty() {
            count += 1;
            if count > limits.filters_max {
                return Err((&fault::TOO_MANY_FILTERS).into());
            }
            filter::check(rest.string()?)?;
        }
        if count == 0 {
            return Err((&fault::NO_FILTERS_TO_REMOVE).into());
        }
        Ok(Self(Source::Encoded(bytes)))
    }
}

impl<'a> From<&'a [&'a str]> for Filters<'a> {
    fn from(list: &'a [&'a str]) -> Self {
        Self(Source::List(list))
    }
}

impl PartialEq for Filters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for Filters<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Unsubscribe<'a> {
    pub(super) fn read(
        mut reader: Reader<'a>,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let user_properties = match version {
            Version::V3 => UserProperties::default(),
            Version::V5 => read_user_properties(&mut reader, limits)?,
        };
        let filters = Filters::read(reader.remaining(), limits)?;
        Ok(Self { packet_id, user_properties, filters })
    }

    pub(super) fn write(&self, version: Version, writer: &mut Writer<'_>) {
        writer.packet_id(self.packet_id);
        if version == Version::V5 {
            writer.sized(|writer| {
                self.user_properties.visit(&mut |property| property.write(writer));
            });
        }
        for filter in self.filters.iter() {
            writer.string(filter);
        }
    }
}

fn read_user_properties<'a>(
    reader: &mut Reader<'a>,
    limits: &Limits,
) -> Result<UserProperties<'a>, DecodeError> {
    let mut block = PropertyBlock::open(reader, limits)?;
    while let Some(property) = block.read()? {
        if !matches!(property, Property::User(..)) {
            return Err((&fault::PROPERTY_NOT_ALLOWED).into());
        }
    }
    Ok(block.user_properties())
}
