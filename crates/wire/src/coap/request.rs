//! What a request says in its options (RFC 7252 section 5.4).

use super::block::Block;
use super::code::Code;
use super::format::ContentFormat;
use super::message::{Kind, Message};
use super::option::{is_critical, number, uint};

/// The longest Echo that a request may have, in bytes (RFC 9175 section 2.2.1).
const ECHO_LENGTH_MAX: usize = 40;

/// A request. What stands once is read; what may repeat is read where it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The message it came in.
    pub message: Message<'a>,
    /// 0 registers, 1 deregisters (RFC 7641 section 2).
    pub observe: Option<u32>,
    /// What the payload is.
    pub content_format: Option<ContentFormat>,
    /// What the answer shall be.
    pub accept: Option<ContentFormat>,
    /// Only where there is nothing yet.
    pub if_none_match: bool,
    /// Which block of the body this is.
    pub block1: Option<Block>,
    /// Which block of the answer is wanted.
    pub block2: Option<Block>,
    /// How long the whole body is.
    pub size1: Option<u32>,
    /// What we gave for the proof of the address.
    pub echo: Option<&'a [u8]>,
    /// The classes of responses that are not wanted, as bits (RFC 7967 section 2.1).
    pub no_response: u8,
}

/// Why a request cannot be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// With what it is answered. 4.02 is for confirmable requests; others are then ignored.
    pub code: Code,
    /// For the device's maker.
    pub text: &'static str,
}

impl RequestError {
    fn new(code: Code, text: &'static str) -> Self {
        Self { code, text }
    }

    fn option(text: &'static str) -> Self {
        Self::new(Code::BAD_OPTION, text)
    }
}

impl<'a> Request<'a> {
    /// Reads the options of a message whose code is a method.
    ///
    /// # Errors
    /// [`RequestError`]
    pub fn read(message: Message<'a>) -> Result<Self, RequestError> {
        let mut request = Self {
            message,
            observe: None,
            content_format: None,
            accept: None,
            if_none_match: false,
            block1: None,
            block2: None,
            size1: None,
            echo: None,
            no_response: 0,
        };
        let mut last = None;
        for (number, value) in message.options() {
            // Section 5.4.5: one too many is as one that is not known.
            let is_again = last.replace(number) == Some(number) && !is_repeatable(number);
            if !is_again && has_length(number, value.len()) {
                request.take(number, value)?;
            } else if is_critical(number) {
                let twice = "an option stands twice that may stand once";
                return Err(RequestError::option(if is_again { twice } else { rule(number) }));
            }
        }
        Ok(request)
    }

    fn take(&mut self, number: u16, value: &'a [u8]) -> Result<(), RequestError> {
        let uint = || uint(value).unwrap_or_default();
        let format = || ContentFormat(u16::try_from(uint()).unwrap_or(u16::MAX));
        let block = || {
            let text = "a block has at most 1,024 bytes: szx 7 is reserved";
            Block::from_uint(uint()).map(Some).ok_or(RequestError::new(Code::BAD_REQUEST, text))
        };
        match number {
            number::OBSERVE => self.observe = Some(uint()),
            number::CONTENT_FORMAT => self.content_format = Some(format()),
            number::ACCEPT => self.accept = Some(format()),
            number::IF_NONE_MATCH => self.if_none_match = true,
            number::BLOCK1 => self.block1 = block()?,
            number::BLOCK2 => self.block2 = block()?,
            number::SIZE1 => self.size1 = Some(uint()),
            number::ECHO => self.echo = Some(value),
            number::NO_RESPONSE => self.no_response = u8::try_from(uint()).unwrap_or_default(),
            number::PROXY_URI | number::PROXY_SCHEME => {
                return Err(RequestError::new(Code::PROXYING, "this is no proxy"));
            }
            _ => {}
        }
        Ok(())
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Code {
        self.message.code
    }

    /// Whether the request itself asks to be acknowledged.
    #[must_use]
    pub fn is_confirmable(&self) -> bool {
        self.message.kind == Kind::Confirmable
    }

    /// The segments of the path as they are: `..` means nothing here.
    ///
    /// # Errors
    /// One of them is no UTF-8.
    pub fn path(&self) -> Result<Vec<&'a str>, RequestError> {
        let text = |segment| {
            std::str::from_utf8(segment)
                .map_err(|_no_text| RequestError::new(Code::BAD_REQUEST, "the path is no UTF-8"))
        };
        self.message.values(number::URI_PATH).map(text).collect()
    }

    /// The parts of the query that are UTF-8.
    pub fn queries(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.message.values(number::URI_QUERY).filter_map(|part| std::str::from_utf8(part).ok())
    }

    /// The value of `{name}=…` in the query; `None` when it is not there or no UTF-8.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&'a str> {
        self.queries().find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    }

    /// The etags that the client has already.
    pub fn etags(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.message.values(number::ETAG).filter(|etag| has_length(number::ETAG, etag.len()))
    }

    /// The etags of which one must be what stands there; an empty one means that anything does.
    pub fn if_match(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.message.values(number::IF_MATCH)
    }
}

fn is_repeatable(number: u16) -> bool {
    matches!(
        number,
        number::IF_MATCH | number::ETAG | number::URI_PATH | number::URI_QUERY | number::REQUEST_TAG
    )
}

/// Whether an option is known, with a value of this length (RFC 7252 table 4 and its successors).
fn has_length(number: u16, length: usize) -> bool {
    match number {
        number::IF_MATCH | number::REQUEST_TAG => length <= 8,
        number::URI_HOST => (1..=255).contains(&length),
        number::ETAG => (1..=8).contains(&length),
        number::IF_NONE_MATCH => length == 0,
        number::OBSERVE | number::BLOCK1 | number::BLOCK2 => length <= 3,
        number::URI_PORT | number::CONTENT_FORMAT | number::ACCEPT => length <= 2,
        number::URI_PATH | number::URI_QUERY => length <= 255,
        number::PROXY_URI => (1..=1_034).contains(&length),
        number::PROXY_SCHEME => (1..=255).contains(&length),
        number::SIZE1 => length <= 4,
        number::ECHO => (1..=ECHO_LENGTH_MAX).contains(&length),
        number::NO_RESPONSE => length <= 1,
        _ => false,
    }
}

/// What is not so of a critical option.
fn rule(number: u16) -> &'static str {
    match number {
        number::IF_MATCH => "If-Match has at most 8 bytes",
        number::IF_NONE_MATCH => "If-None-Match has no value",
        number::URI_PATH | number::URI_QUERY => "a part of path or query has at most 255 bytes",
        number::URI_HOST => "Uri-Host has 1 to 255 bytes",
        number::BLOCK1 | number::BLOCK2 => "a block option has at most 3 bytes",
        number::URI_PORT | number::ACCEPT => "this option has at most 2 bytes",
        _ => "a critical option is not known",
    }
}
