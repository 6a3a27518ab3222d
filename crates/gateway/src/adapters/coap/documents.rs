//! Documents: put, deleted, on conditions.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use roost_hub::access::{self, Action};
use roost_hub::document::{Document, NewDocument};
use roost_hub::id::DeviceId;
use roost_hub::principal::Principal;
use roost_wire::coap::{Answer, Code, ContentFormat, Request};

use super::actions::acting;
use super::conditions;
use super::door::{Done, Door};
use super::mapping::IntoAnswer;

/// How a content format without a media type of its own is kept.
const NUMBERED: &str = "application/vnd.roost.coap-content-format-";

impl Door {
    pub(super) fn put_document(
        &self,
        request: &Request<'_>,
        (name, principal): (&str, &Principal),
        body: Cow<'_, [u8]>,
    ) -> Result<Done, Answer> {
        let device = writing(principal)?;
        let condition = conditions::of_document(request, || self.etag(principal, &device, name))?;
        let content_type = request.content_format.map_or_else(String::new, media_type);
        let new = NewDocument { content_type, body: Bytes::from(body.into_owned()) };
        let (hub, tenant, name) = (Arc::clone(&self.shared.hub), principal.tenant.clone(), name.to_owned());
        Ok(Done::Later(Box::pin(async move {
            let is_new = hub.document(&tenant, &device, &name).is_ok_and(|found| found.is_none());
            match hub.put_document(&tenant, &device, (&name, condition), new).await {
                Ok(document) => {
                    let code = if is_new { Code::CREATED } else { Code::CHANGED };
                    Answer { etag: Some(document.etag), ..Answer::new(code) }
                }
                Err(error) => error.into_answer(),
            }
        })))
    }

    pub(super) fn delete_document(
        &self,
        request: &Request<'_>,
        (name, principal): (&str, &Principal),
    ) -> Result<Done, Answer> {
        let device = writing(principal)?;
        let condition = conditions::of_document(request, || self.etag(principal, &device, name))?;
        let (hub, tenant, name) = (Arc::clone(&self.shared.hub), principal.tenant.clone(), name.to_owned());
        Ok(Done::Later(Box::pin(async move {
            match hub.delete_document(&tenant, &device, (&name, condition)).await {
                // RFC 7252 section 5.8.4: also where there was none.
                Ok(_was_there) => Answer::new(Code::DELETED),
                Err(error) => error.into_answer(),
            }
        })))
    }

    fn etag(&self, principal: &Principal, device: &DeviceId, name: &str) -> Result<Option<[u8; 8]>, Answer> {
        let found = self.shared.hub.document(&principal.tenant, device, name);
        Ok(found.map_err(IntoAnswer::into_answer)?.map(|document| document.etag))
    }
}

fn writing(principal: &Principal) -> Result<DeviceId, Answer> {
    let device = acting(principal)?;
    access::may(principal, Action::WriteDocuments(&device)).map_err(IntoAnswer::into_answer)?;
    Ok(device)
}

fn media_type(format: ContentFormat) -> String {
    format.media_type().map_or_else(|| format!("{NUMBERED}{}", format.0), str::to_owned)
}

fn format_of(content_type: &str) -> ContentFormat {
    let numbered = || content_type.strip_prefix(NUMBERED)?.parse().ok().map(ContentFormat);
    // What CoAP has no number for goes out as bytes.
    ContentFormat::of_media_type(content_type).or_else(numbered).unwrap_or(ContentFormat::OCTETS)
}

/// A document as an answer.
pub(super) fn show(document: Document, accept: Option<ContentFormat>) -> Result<Answer, Answer> {
    let format = format_of(&document.content_type);
    if accept.is_some_and(|accept| accept != format) {
        return Err(Answer::error(Code::NOT_ACCEPTABLE, format!("it is in format {}", format.0)));
    }
    Ok(Answer { etag: Some(document.etag), ..Answer::content(format, document.body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_format_comes_back_as_it_was() {
        for number in [0, 40, 42, 50, 60, 110, 112, 777, 65_000] {
            assert_eq!(format_of(&media_type(ContentFormat(number))), ContentFormat(number));
        }
        assert_eq!(format_of("application/json; charset=utf-8"), ContentFormat::JSON);
        assert_eq!(format_of("image/png"), ContentFormat::OCTETS);
    }
}
