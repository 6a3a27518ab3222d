//! The hub's words in CoAP's.

use roost_hub::access::Denied;
use roost_hub::broker::PublishError;
use roost_hub::document::{DOCUMENT_LENGTH_MAX, PutDocumentError};
use roost_hub::mailbox::AnswerError;
use roost_hub::registry::AuthenticateError;
use roost_hub::storage::StorageError;
use roost_hub::twin::ReportTwinError;
use roost_wire::coap::{Answer, AssembleError, Code};

use crate::adapters::readings::ReadingsError;
use crate::authenticate::Failed;

/// When a full store, or a busy server, is to be asked again, in seconds.
const COME_AGAIN: u32 = 5;

/// Something that can be said in a response.
pub(super) trait IntoAnswer {
    fn into_answer(self) -> Answer;
}

pub(super) fn come_again(code: Code, seconds: u32, text: &'static str) -> Answer {
    Answer { max_age: Some(seconds), ..Answer::error(code, text) }
}

impl IntoAnswer for StorageError {
    fn into_answer(self) -> Answer {
        match self {
            Self::Full => come_again(Code::UNAVAILABLE, COME_AGAIN, "the store is full"),
            Self::TooLarge(length_max) => too_large(length_max),
            Self::Broken(_) | Self::Damaged(_) => {
                come_again(Code::UNAVAILABLE, COME_AGAIN, "the store cannot be written")
            }
        }
    }
}

/// 4.13, with how large it may be.
pub(super) fn too_large(length_max: usize) -> Answer {
    let size1 = u32::try_from(length_max).ok();
    Answer { size1, ..Answer::error(Code::TOO_LARGE, "the body is too large") }
}

impl IntoAnswer for PublishError {
    fn into_answer(self) -> Answer {
        let text = self.to_string();
        match self {
            Self::NotAuthorized => Answer::error(Code::FORBIDDEN, text),
            Self::DeviceUnknown(_) => Answer::error(Code::NOT_FOUND, text),
            Self::TopicInvalid(_) | Self::PayloadInvalid(_) | Self::QuotaExceeded(_) => {
                Answer::error(Code::UNPROCESSABLE, text)
            }
            Self::Storage(error) => error.into_answer(),
        }
    }
}

impl IntoAnswer for ReadingsError {
    fn into_answer(self) -> Answer {
        let text = self.to_string();
        match self {
            Self::Payload(error) if error.is_syntax() => Answer::error(Code::BAD_REQUEST, text),
            Self::Frame { .. } => Answer::error(Code::BAD_REQUEST, text),
            Self::NoDecoder => Answer::error(Code::UNSUPPORTED_FORMAT, text),
            Self::Device(_) => Answer::error(Code::NOT_FOUND, "there is no such device"),
            Self::Storage(error) => error.into_answer(),
            _ => Answer::error(Code::UNPROCESSABLE, text),
        }
    }
}

impl IntoAnswer for ReportTwinError {
    fn into_answer(self) -> Answer {
        let text = self.to_string();
        match self {
            Self::TooLarge => too_large(roost_hub::twin::TWIN_JSON_MAX),
            Self::Invalid(_) => Answer::error(Code::UNPROCESSABLE, text),
            Self::Storage(error) => error.into_answer(),
        }
    }
}

impl IntoAnswer for PutDocumentError {
    fn into_answer(self) -> Answer {
        let text = self.to_string();
        match self {
            Self::DeviceUnknown => Answer::error(Code::NOT_FOUND, text),
            Self::Invalid(_) => Answer::error(Code::BAD_REQUEST, text),
            Self::TooLarge => too_large(DOCUMENT_LENGTH_MAX),
            Self::TooMany => Answer::error(Code::CONFLICT, text),
            Self::Conflict(_) => Answer::error(Code::PRECONDITION_FAILED, text),
            Self::Storage(error) => error.into_answer(),
        }
    }
}

impl IntoAnswer for AnswerError {
    fn into_answer(self) -> Answer {
        let text = self.to_string();
        match self {
            Self::Unknown => Answer::error(Code::NOT_FOUND, text),
            Self::Late(_) => Answer::error(Code::CONFLICT, text),
            Self::Storage(error) => error.into_answer(),
        }
    }
}

impl IntoAnswer for Denied {
    fn into_answer(self) -> Answer {
        Answer::error(Code::FORBIDDEN, self.0)
    }
}

impl IntoAnswer for Failed {
    fn into_answer(self) -> Answer {
        let seconds = |wait: std::time::Duration| u32::try_from(wait.as_secs().max(1)).unwrap_or(u32::MAX);
        let text = "too many wrong tokens came from there";
        match self {
            Self::Wait(wait) => come_again(Code::TOO_MANY, seconds(wait), text),
            Self::Denied(AuthenticateError::Storage(error)) => error.into_answer(),
            Self::Denied(_) => Answer::error(Code::UNAUTHORIZED, "the token opens nothing, or no longer"),
        }
    }
}

impl IntoAnswer for AssembleError {
    fn into_answer(self) -> Answer {
        match self {
            Self::TooLarge(length_max) => too_large(length_max),
            Self::Malformed => Answer::error(self.code(), "a block is as long as its option says"),
            Self::Incomplete => Answer::error(self.code(), "the blocks before this one are not here"),
        }
    }
}
