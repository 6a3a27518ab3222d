//! What a request does.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use roost_hub::access::{self, Action};
use roost_hub::document::DOCUMENT_LENGTH_MAX;
use roost_hub::flight::FlightKind;
use roost_hub::id::{CommandId, DeviceId};
use roost_hub::mailbox;
use roost_hub::message::{Message, Properties, QoS};
use roost_hub::principal::Principal;
use roost_hub::topic::Topic;
use roost_wire::coap::{Answer, Assembled, Code, ContentFormat, Request, Ticket};
use roost_wire::telemetry::Format;
use serde_json::{Map, Value};

use super::door::{Done, Door};
use super::mapping::IntoAnswer;
use super::observing::Observed;
use super::resource::{Resource, TopicKind};
use super::{conditions, links, payload};
use crate::adapters::decoders::{PORT, Said, Source};
use crate::adapters::readings::{self, ReadingsError, TelemetryTopic};
use crate::shared::Shared;

impl Door {
    pub(super) fn act(&mut self, ticket: &Ticket, request: &Request<'_>) -> Done {
        let path = match request.path() {
            Ok(path) => path,
            Err(error) => return Done::Now(Answer::error(error.code, error.text)),
        };
        let resource = Resource::of(&path);
        if let Some(Resource::Links) = resource {
            return links::show(request).into();
        }
        let principal = match self.recognise(ticket, request) {
            Ok(principal) => principal,
            Err(answer) => return Done::Now(answer),
        };
        if let Some(device) = principal.device() {
            self.shared.hub.presence_seen(&principal.tenant, device, "coap", self.shared.hub.now());
        }
        let Some(resource) = resource else {
            return Done::Now(Answer::error(Code::NOT_FOUND, "there is nothing of this name"));
        };
        let done = match request.method() {
            Code::GET => self.get(ticket, request, (&resource, principal)),
            Code::POST | Code::PUT | Code::PATCH | Code::IPATCH | Code::DELETE => {
                self.change(ticket, request, (resource, principal))
            }
            _ => Err(not_allowed()),
        };
        done.unwrap_or_else(Done::Now)
    }

    fn get(
        &mut self,
        ticket: &Ticket,
        request: &Request<'_>,
        (resource, principal): (&Resource<'_>, Arc<Principal>),
    ) -> Result<Done, Answer> {
        let what = match resource {
            Resource::Twin => Observed::Twin,
            Resource::Desired => Observed::Desired,
            Resource::Commands => Observed::Commands,
            Resource::Document(name) => Observed::Document((*name).into()),
            Resource::Links | Resource::Topic(..) | Resource::Result(_) => return Err(not_allowed()),
        };
        let device = acting(&principal)?;
        match request.observe {
            Some(0) => return self.register(ticket, request, (what, principal)),
            Some(1) => {
                self.endpoint.unobserve(ticket);
                self.handle_events();
            }
            _ => {}
        }
        if what == Observed::Commands {
            return self.fetch_commands(ticket, request, (&principal, &device));
        }
        Ok(Done::Now(self.represent(&principal, &what, request.accept)?.known_to(request)))
    }

    fn change(
        &mut self,
        ticket: &Ticket,
        request: &Request<'_>,
        (resource, principal): (Resource<'_>, Arc<Principal>),
    ) -> Result<Done, Answer> {
        let method = request.method();
        let is_allowed = match &resource {
            Resource::Document(_) => matches!(method, Code::PUT | Code::DELETE),
            Resource::Twin | Resource::Topic(TopicKind::Reported, _) => method != Code::DELETE,
            Resource::Topic(..) | Resource::Result(_) => matches!(method, Code::POST | Code::PUT),
            Resource::Links | Resource::Desired | Resource::Commands => false,
        };
        if !is_allowed {
            return Err(not_allowed());
        }
        if let (Resource::Document(name), Code::DELETE) = (&resource, method) {
            return self.delete_document(request, (name, &principal));
        }
        let length_max = match resource {
            Resource::Document(_) => DOCUMENT_LENGTH_MAX,
            _ => self.shared.settings.body_length_max,
        };
        let taken = self.assembler.take(self.now, ticket.peer, request, length_max);
        let (body, block1) = match taken.map_err(IntoAnswer::into_answer)? {
            Assembled::Continue(block) => {
                return Ok(Done::Now(Answer { block1: Some(block), ..Answer::new(Code::CONTINUE) }));
            }
            Assembled::Whole(body, block) => (body, block),
        };
        if !matches!(resource, Resource::Document(_)) {
            conditions::check(request, || self.etags(&resource, &principal))?;
        }
        let done = match resource {
            Resource::Document(name) => self.put_document(request, (name, &principal), body),
            Resource::Result(id) => self.result(request, (id, &principal), &body),
            Resource::Twin => self.report(request, &principal, &body),
            Resource::Topic(kind, name) => self.publish((kind, &name), request, &principal, &body),
            Resource::Links | Resource::Desired | Resource::Commands => Err(not_allowed()),
        };
        let with_block = move |answer| Answer { block1, ..answer };
        Ok(match done.unwrap_or_else(Done::Now) {
            Done::Now(answer) => Done::Now(with_block(answer)),
            Done::At(position, answer) => Done::At(position, with_block(answer)),
            Done::Later(work) => Done::Later(Box::pin(async move { with_block(work.await) })),
            Done::Taken => Done::Taken,
        })
    }

    /// Those of what a GET gives; what cannot be read has none.
    fn etags(&self, resource: &Resource<'_>, principal: &Principal) -> Result<Vec<[u8; 8]>, Answer> {
        let mut etags = Vec::new();
        if *resource == Resource::Twin {
            for format in conditions::TWIN_FORMATS {
                etags.extend(self.represent(principal, &Observed::Twin, Some(format))?.etag());
            }
        }
        Ok(etags)
    }

    /// `me/twin` takes `{"reported":{…}}`; what is to be is others' to say.
    fn report(&self, request: &Request<'_>, principal: &Principal, body: &[u8]) -> Result<Done, Answer> {
        let rule = || Answer::error(Code::UNPROCESSABLE, "a twin is changed by {\"reported\":{…}}");
        let json = payload::json(request.content_format, body)?;
        let said: Map<String, Value> = serde_json::from_slice(&json)
            .map_err(|error| Answer::error(Code::BAD_REQUEST, error.to_string()))?;
        if said.contains_key("desired") {
            return Err(Answer::error(Code::FORBIDDEN, "a device reports; what it shall be is said to it"));
        }
        let reported = said.get("reported").filter(|_| said.len() == 1).ok_or_else(rule)?;
        let message = self.message("me/twin/reported", principal, reported.to_string().into())?;
        self.send(principal, message)
    }

    fn publish(
        &self,
        (kind, name): (TopicKind, &str),
        request: &Request<'_>,
        principal: &Principal,
        body: &[u8],
    ) -> Result<Done, Answer> {
        let format = request.content_format;
        if kind == TopicKind::Reported {
            let json = payload::json(format, body)?;
            let message = self.message(name, principal, Bytes::copy_from_slice(&json))?;
            return self.send(principal, message);
        }
        let mut message = self.message(name, principal, Bytes::copy_from_slice(body))?;
        // JSON is what everybody takes telemetry for.
        let said = format.filter(|format| kind == TopicKind::Event || !is_json(*format));
        let content_type = said.and_then(ContentFormat::media_type).map(Arc::from);
        let port = request.query(PORT).map(|port| (Arc::from(PORT), Arc::from(port)));
        if content_type.is_some() || port.is_some() {
            let user = port.into_iter().collect();
            message.properties = Some(Box::new(Properties { content_type, user, ..Properties::default() }));
        }
        if kind == TopicKind::Telemetry {
            self.read_telemetry(principal, format, &mut message)?;
        }
        self.send(principal, message)
    }

    fn read_telemetry(
        &self,
        principal: &Principal,
        format: Option<ContentFormat>,
        message: &mut Message,
    ) -> Result<(), Answer> {
        let topic = message.topic.clone();
        let Some(topic) = TelemetryTopic::of(&topic) else {
            return Err(Answer::error(Code::NOT_FOUND, "there is nothing of this name"));
        };
        let Shared { hub, decoders, .. } = &*self.shared;
        let read = if topic.key.is_none() && matches!(format, None | Some(ContentFormat::OCTETS)) {
            let said = format.map_or(Said::Nothing, |_octets| Said::Bytes);
            let source = Source { hub, decoders, principal };
            source.telemetry(topic.device, said, message)
        } else {
            let format = payload::telemetry_format(format)?;
            let (payload, media_type) = readable(topic, format, &message.payload)?;
            readings::read(topic, &payload, media_type, message.time)
        };
        message.telemetry = Some(read.map_err(|error| {
            hub.counters.telemetry_refused_total.increment();
            note(hub, principal, topic.device, &error);
            error.into_answer()
        })?);
        Ok(())
    }

    fn message(&self, name: &str, principal: &Principal, payload: Bytes) -> Result<Message, Answer> {
        let full =
            principal.full_name(name).map_err(|error| Answer::error(Code::FORBIDDEN, error.to_string()))?;
        let topic =
            Topic::parse(&full).map_err(|error| Answer::error(Code::BAD_REQUEST, error.to_string()))?;
        let mut message = Message::new(topic, payload, self.shared.hub.now());
        message.qos = QoS::AtLeastOnce;
        Ok(message)
    }

    fn send(&self, principal: &Principal, message: Message) -> Result<Done, Answer> {
        let published = self.shared.hub.publish(principal, message).map_err(IntoAnswer::into_answer)?;
        Ok(Done::At(published.position.unwrap_or_default(), Answer::new(Code::CHANGED)))
    }

    fn result(
        &self,
        request: &Request<'_>,
        (id, principal): (&str, &Principal),
        body: &[u8],
    ) -> Result<Done, Answer> {
        let device = acting(principal)?;
        let unknown = || Answer::error(Code::NOT_FOUND, "there is no such command");
        let id = CommandId::parse(id).map_err(|_no_id| unknown())?;
        let json = payload::json(request.content_format, body)?;
        let answer = mailbox::Answer::parse(&json).map_err(|why| Answer::error(Code::UNPROCESSABLE, why))?;
        let (hub, tenant) = (Arc::clone(&self.shared.hub), principal.tenant.clone());
        Ok(Done::Later(Box::pin(async move {
            match hub.answer_command(&tenant, &device, &id, answer).await {
                Ok(_command) => Answer::new(Code::CHANGED),
                Err(error) => error.into_answer(),
            }
        })))
    }
}

pub(super) fn not_allowed() -> Answer {
    Answer::error(Code::METHOD_NOT_ALLOWED, "this method does nothing here")
}

fn is_json(format: ContentFormat) -> bool {
    matches!(format, ContentFormat::TEXT | ContentFormat::JSON)
}

/// The device in whose name the caller speaks.
pub(super) fn acting(principal: &Principal) -> Result<DeviceId, Answer> {
    let device = principal.device().ok_or_else(|| {
        Answer::error(Code::FORBIDDEN, "only a device has a `me`; this token is an application's")
    })?;
    access::may(principal, Action::ActAs(device)).map_err(IntoAnswer::into_answer)?;
    Ok(device.clone())
}

/// The payload and the media type by which [`readings::read`] reads it. A bare value in CBOR
/// becomes what it would be in text.
fn readable<'a>(
    topic: TelemetryTopic<'_>,
    format: Format,
    payload: &'a [u8],
) -> Result<(Cow<'a, [u8]>, Option<&'static str>), Answer> {
    let whole = |name| Ok((Cow::Borrowed(payload), name));
    match (topic.key, format) {
        (Some(_), Format::Cbor) => {
            let json = payload::json(Some(ContentFormat::CBOR), payload)?;
            Ok((json, None))
        }
        (Some(_), Format::SenmlJson | Format::SenmlCbor) => Err(Answer::error(
            Code::UNSUPPORTED_FORMAT,
            "one key takes one bare value: post SenML one level up",
        )),
        (None, Format::Cbor) => whole(ContentFormat::CBOR.media_type()),
        (None, Format::SenmlJson) => whole(ContentFormat::SENML_JSON.media_type()),
        (None, Format::SenmlCbor) => whole(ContentFormat::SENML_CBOR.media_type()),
        _ => whole(None),
    }
}

fn note(hub: &roost_hub::Hub, principal: &Principal, device: &str, error: &ReadingsError) {
    if let Ok(device) = DeviceId::parse(device) {
        let text = format_args!("telemetry over CoAP: {error}");
        hub.note(&principal.tenant, &device, FlightKind::Refused, text, hub.now());
    }
}
