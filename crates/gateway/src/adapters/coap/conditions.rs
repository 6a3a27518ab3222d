//! If-Match and If-None-Match (RFC 7252 section 5.10.8): what has to be so before a request is acted on.

use roost_hub::document::{Condition, PutDocumentError};
use roost_wire::coap::{Answer, ContentFormat, Request};

use super::mapping::IntoAnswer;

/// The condition under which a document is changed. `current` is asked for when several etags are
/// named: what stands there now, which must be one of them, must still stand there then.
pub(super) fn of_document(
    request: &Request<'_>,
    current: impl FnOnce() -> Result<Option<[u8; 8]>, Answer>,
) -> Result<Condition, Answer> {
    let mut wanted = request.if_match().peekable();
    match (wanted.peek().is_some(), request.if_none_match) {
        (false, false) => return Ok(Condition::Any),
        (false, true) => return Ok(Condition::Absent),
        // Nothing is there and is not.
        (true, true) => return Err(failed()),
        (true, false) => {}
    }
    if request.if_match().any(<[u8]>::is_empty) {
        return Ok(Condition::Present);
    }
    let (first, more) = (wanted.next(), wanted.next());
    let etag = match (first, more) {
        (Some(etag), None) => etag.try_into().ok(),
        _ => current()?.filter(|current| request.if_match().any(|etag| etag == current)),
    };
    // An etag that none of ours can be stands nowhere.
    etag.map(Condition::Etag).ok_or_else(failed)
}

/// Checks the conditions on something that is always there, with these etags, if it has any.
pub(super) fn check(
    request: &Request<'_>,
    etags: impl FnOnce() -> Result<Vec<[u8; 8]>, Answer>,
) -> Result<(), Answer> {
    if request.if_none_match {
        return Err(failed());
    }
    if request.if_match().next().is_none() || request.if_match().any(<[u8]>::is_empty) {
        return Ok(());
    }
    let etags = etags()?;
    if request.if_match().any(|wanted| etags.iter().any(|etag| etag == wanted)) {
        Ok(())
    } else {
        Err(failed())
    }
}

/// The formats in which a twin is given, each with an etag of its own.
pub(super) const TWIN_FORMATS: [ContentFormat; 2] = [ContentFormat::JSON, ContentFormat::CBOR];

fn failed() -> Answer {
    PutDocumentError::Conflict(None).into_answer()
}
