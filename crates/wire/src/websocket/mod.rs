//! WebSocket (RFC 6455) for one connection: framing, closing, and the answer to
//! the upgrade. No extensions are negotiated, so every RSV bit is an error.
//!
//! The buffer is the caller's: [`Decoder`] unmasks in it and gives slices of
//! it. Data is given as it comes, which suits protocols that are a stream
//! themselves (MQTT); [`Assembler`] makes whole messages of it.

mod assemble;
mod decode;
mod encode;
pub mod handshake;
mod header;
mod utf8;

pub use assemble::{Assembler, Message};
pub use decode::{Data, Decoder, Event, Limits, Part, Step};
pub use encode::{FrameHeader, encode_close, encode_frame, encode_masked_frame, frame_header};
pub use header::Opcode;

/// What a message is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
}

/// Close codes, RFC 6455 section 7.4.1.
pub mod close_code {
    pub const NORMAL: u16 = 1000;
    pub const GOING_AWAY: u16 = 1001;
    pub const PROTOCOL_ERROR: u16 = 1002;
    pub const UNSUPPORTED_DATA: u16 = 1003;
    pub const INVALID_DATA: u16 = 1007;
    pub const POLICY_VIOLATION: u16 = 1008;
    pub const TOO_BIG: u16 = 1009;
    pub const INTERNAL_ERROR: u16 = 1011;
    pub const SERVICE_RESTART: u16 = 1012;
    pub const TRY_AGAIN_LATER: u16 = 1013;
}

/// The peer broke the protocol: send a close frame with this, then hang up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("websocket {code}: {reason}")]
pub struct CloseError {
    /// 1002, 1007 or 1009, see [`close_code`].
    pub code: u16,
    pub reason: &'static str,
}

impl CloseError {
    pub(crate) fn protocol(reason: &'static str) -> Self {
        Self { code: close_code::PROTOCOL_ERROR, reason }
    }

    pub(crate) fn too_big(reason: &'static str) -> Self {
        Self { code: close_code::TOO_BIG, reason }
    }

    pub(crate) fn not_utf8() -> Self {
        Self { code: close_code::INVALID_DATA, reason: "text is not UTF-8" }
    }
}

#[cfg(test)]
mod tests;
