//! CoAP (RFC 7252) with Observe (RFC 7641), blocks (RFC 7959) and Echo and Request-Tag (RFC 9175):
//! messages, and the state that a server needs to follow the protocol with many peers. What a
//! request means, and who may ask it, is not decided here.

mod answer;
mod assemble;
mod block;
mod code;
mod echo;
mod endpoint;
mod format;
mod message;
mod option;
mod request;

pub use answer::Answer;
pub use assemble::{AssembleError, Assembled, Assembler, AssemblerOptions};
pub use block::{Block, SZX_MAX};
pub use code::Code;
pub use echo::{ECHO_LENGTH, EchoKey};
pub use endpoint::{
    Counts, Endpoint, EndpointOptions, Event, ObservationId, Output, SEQUENCE_MILLIS, Ticket,
};
pub use format::ContentFormat;
pub use message::{DecodeError, Head, Kind, Message, Token, decode, encode_payload};
pub use option::{OptionWriter, Options, is_critical, number};
pub use request::{Request, RequestError};
