//! One message (RFC 7252 section 3).

use super::code::Code;
use super::option::{Options, PAYLOAD_MARKER};

/// What a message asks of the message layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// To be acknowledged.
    Confirmable,
    /// Not to be.
    NonConfirmable,
    /// Acknowledges, perhaps with the response in it.
    Acknowledgement,
    /// Says that a message could not be made sense of.
    Reset,
}

impl Kind {
    fn of(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Confirmable,
            1 => Self::NonConfirmable,
            2 => Self::Acknowledgement,
            _ => Self::Reset,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Confirmable => 0,
            Self::NonConfirmable => 1,
            Self::Acknowledgement => 2,
            Self::Reset => 3,
        }
    }
}

/// By which a response finds its request: 0 to 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Token {
    bytes: [u8; 8],
    length: u8,
}

impl Token {
    /// Takes up to eight bytes; `None` for more.
    #[must_use]
    pub fn new(token: &[u8]) -> Option<Self> {
        let mut bytes = [0; 8];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        Some(Self { bytes, length: u8::try_from(token.len()).ok()? })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// A message whose parts lie in the datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What it asks of the message layer.
    pub kind: Kind,
    /// Method or response code.
    pub code: Code,
    /// By which duplicates and acknowledgements are recognised.
    pub id: u16,
    /// By which a response finds its request.
    pub token: Token,
    /// Checked: every one of them can be read.
    options: &'a [u8],
    /// What follows the options; never empty behind a marker.
    pub payload: &'a [u8],
}

/// Why a datagram is no message, and what is to be done about it (RFC 7252 sections 3, 4.2, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Nothing: it may not even be CoAP.
    Ignore,
    /// A Reset with this id.
    Reset(u16),
}

/// Reads a datagram.
///
/// # Errors
/// [`DecodeError`] says what to answer.
pub fn decode(datagram: &[u8]) -> Result<Message<'_>, DecodeError> {
    let (&[first, code, high, low], rest) = datagram.split_first_chunk().ok_or(DecodeError::Ignore)?;
    if first >> 6 != 1 {
        return Err(DecodeError::Ignore);
    }
    let (kind, code, id) = (Kind::of(first >> 4), Code(code), u16::from_be_bytes([high, low]));
    // A format error in anything but a confirmable message is not worth an answer.
    let malformed = if kind == Kind::Confirmable { DecodeError::Reset(id) } else { DecodeError::Ignore };
    let (token, rest) = rest.split_at_checked(usize::from(first & 0x0F)).ok_or(malformed)?;
    let token = Token::new(token).ok_or(malformed)?;
    if code == Code::EMPTY {
        let is_empty = token.as_bytes().is_empty() && rest.is_empty();
        return if is_empty {
            Ok(Message { kind, code, id, token, options: &[], payload: &[] })
        } else {
            Err(malformed)
        };
    }
    if !code.is_request() && !code.is_response() {
        return Err(malformed);
    }
    let mut options = Options::new(rest);
    while options.step().map_err(|_malformed| malformed)?.is_some() {}
    let payload = match options.rest().split_first() {
        None => &[],
        Some((&PAYLOAD_MARKER, payload)) if !payload.is_empty() => payload,
        Some(_) => return Err(malformed),
    };
    Ok(Message { kind, code, id, token, options: rest, payload })
}

impl<'a> Message<'a> {
    /// The options in the order of their numbers.
    #[must_use]
    pub fn options(&self) -> Options<'a> {
        Options::new(self.options)
    }

    /// The values of a repeatable option.
    pub fn values(&self, wanted: u16) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        self.options()
            .skip_while(move |(number, _)| *number < wanted)
            .take_while(move |(number, _)| *number == wanted)
            .map(|(_, value)| value)
    }
}

/// What begins every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it asks of the message layer.
    pub kind: Kind,
    /// Method or response code.
    pub code: Code,
    /// Its id.
    pub id: u16,
    /// Its token.
    pub token: Token,
}

impl Head {
    /// A message without anything: an acknowledgement, a Reset, a ping.
    #[must_use]
    pub fn empty(kind: Kind, id: u16) -> Self {
        Self { kind, code: Code::EMPTY, id, token: Token::default() }
    }

    /// Appends the four bytes and the token.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let [high, low] = self.id.to_be_bytes();
        out.extend([0x40 | self.kind.bits() << 4 | self.token.length, self.code.0, high, low]);
        out.extend_from_slice(self.token.as_bytes());
    }
}

/// Appends a payload behind its marker; nothing for an empty one.
pub fn encode_payload(out: &mut Vec<u8>, payload: &[u8]) {
    if !payload.is_empty() {
        out.push(PAYLOAD_MARKER);
        out.extend_from_slice(payload);
    }
}
