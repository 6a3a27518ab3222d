use super::Kind;
use super::decode::{Data, Part};
use std::borrow::Cow;

/// Makes whole messages of the parts a decoder gives. Its memory is bounded by
/// the decoder's `message_max`, grows with what has arrived, and is given away
/// with each message.
#[derive(Debug, Default)]
pub struct Assembler {
    begun: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'b> {
    pub kind: Kind,
    /// Borrowed where the message came in one part. Text is valid UTF-8.
    pub payload: Cow<'b, [u8]>,
}

impl Assembler {
    /// The message that `data` completes.
    pub fn push<'b>(&mut self, data: Data<'b>) -> Option<Message<'b>> {
        let payload = match data.part {
            Part::Whole => Cow::Borrowed(data.payload),
            Part::First | Part::Middle => {
                self.begun.extend_from_slice(data.payload);
                return None;
            }
            Part::Last => {
                self.begun.extend_from_slice(data.payload);
                Cow::Owned(std::mem::take(&mut self.begun))
            }
        };
        Some(Message { kind: data.kind, payload })
    }
}
