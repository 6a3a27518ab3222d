//! Methods and response codes.

use std::fmt;

/// A method or a response code (RFC 7252 section 12.1): three bits of class, five of detail.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u8);

impl Code {
    /// 0.00, the message without anything.
    pub const EMPTY: Self = Self(0);
    /// 0.01
    pub const GET: Self = Self(1);
    /// 0.02
    pub const POST: Self = Self(2);
    /// 0.03
    pub const PUT: Self = Self(3);
    /// 0.04
    pub const DELETE: Self = Self(4);
    /// 0.05 (RFC 8132)
    pub const FETCH: Self = Self(5);
    /// 0.06 (RFC 8132)
    pub const PATCH: Self = Self(6);
    /// 0.07 (RFC 8132)
    pub const IPATCH: Self = Self(7);
    /// 2.01
    pub const CREATED: Self = Self(65);
    /// 2.02
    pub const DELETED: Self = Self(66);
    /// 2.03
    pub const VALID: Self = Self(67);
    /// 2.04
    pub const CHANGED: Self = Self(68);
    /// 2.05
    pub const CONTENT: Self = Self(69);
    /// 2.31 (RFC 7959)
    pub const CONTINUE: Self = Self(95);
    /// 4.00
    pub const BAD_REQUEST: Self = Self(128);
    /// 4.01
    pub const UNAUTHORIZED: Self = Self(129);
    /// 4.02
    pub const BAD_OPTION: Self = Self(130);
    /// 4.03
    pub const FORBIDDEN: Self = Self(131);
    /// 4.04
    pub const NOT_FOUND: Self = Self(132);
    /// 4.05
    pub const METHOD_NOT_ALLOWED: Self = Self(133);
    /// 4.06
    pub const NOT_ACCEPTABLE: Self = Self(134);
    /// 4.08 (RFC 7959)
    pub const INCOMPLETE: Self = Self(136);
    /// 4.09 (RFC 8132)
    pub const CONFLICT: Self = Self(137);
    /// 4.12
    pub const PRECONDITION_FAILED: Self = Self(140);
    /// 4.13
    pub const TOO_LARGE: Self = Self(141);
    /// 4.15
    pub const UNSUPPORTED_FORMAT: Self = Self(143);
    /// 4.22 (RFC 8132)
    pub const UNPROCESSABLE: Self = Self(150);
    /// 4.29 (RFC 8516)
    pub const TOO_MANY: Self = Self(157);
    /// 5.00
    pub const INTERNAL_ERROR: Self = Self(160);
    /// 5.03
    pub const UNAVAILABLE: Self = Self(163);
    /// 5.05
    pub const PROXYING: Self = Self(165);

    /// 0 for methods, 2 for success, 4 for the client's and 5 for the server's errors.
    #[must_use]
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The part behind the dot.
    #[must_use]
    pub const fn detail(self) -> u8 {
        self.0 & 0x1F
    }

    /// Whether it asks for something: class 0, but not empty.
    #[must_use]
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// Whether it answers something.
    #[must_use]
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }

    /// Whether it says that all is well.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:02}", self.class(), self.detail())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
