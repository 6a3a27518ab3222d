//! Content formats that have a name here (RFC 7252 section 12.3, RFC 8428 section 12.3).

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentFormat(pub u16);

impl ContentFormat {
    /// text/plain; charset=utf-8
    pub const TEXT: Self = Self(0);
    /// application/link-format
    pub const LINKS: Self = Self(40);
    /// application/octet-stream
    pub const OCTETS: Self = Self(42);
    /// application/json
    pub const JSON: Self = Self(50);
    /// application/merge-patch+json
    pub const MERGE_PATCH: Self = Self(52);
    /// application/cbor
    pub const CBOR: Self = Self(60);
    /// application/senml+json
    pub const SENML_JSON: Self = Self(110);
    /// application/senml+cbor
    pub const SENML_CBOR: Self = Self(112);
}

/// Formats and the media types that they stand for.
const NAMES: &[(u16, &str)] = &[
    (0, "text/plain;charset=utf-8"),
    (40, "application/link-format"),
    (41, "application/xml"),
    (42, "application/octet-stream"),
    (47, "application/exi"),
    (50, "application/json"),
    (51, "application/json-patch+json"),
    (52, "application/merge-patch+json"),
    (60, "application/cbor"),
    (61, "application/cwt"),
    (63, "application/cbor-seq"),
    (101, "application/cose-key"),
    (110, "application/senml+json"),
    (112, "application/senml+cbor"),
    (310, "application/senml+xml"),
    (11_542, "application/vnd.oma.lwm2m+tlv"),
    (11_543, "application/vnd.oma.lwm2m+json"),
    (11_544, "application/vnd.oma.lwm2m+cbor"),
];

impl ContentFormat {
    /// The media type; `None` for a number without a name here.
    #[must_use]
    pub fn media_type(self) -> Option<&'static str> {
        NAMES.iter().find(|(number, _)| *number == self.0).map(|(_, name)| *name)
    }

    /// The number of a media type; parameters and case do not count.
    #[must_use]
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let wanted = essence(media_type);
        NAMES
            .iter()
            .find(|(_, name)| essence(name).eq_ignore_ascii_case(wanted))
            .map(|(number, _)| Self(*number))
    }
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}
