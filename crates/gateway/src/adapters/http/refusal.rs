//! A problem document with members beside the standard ones.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderValue};
use roost_hub::access::Denied;
use serde_json::{Map, Value};

use crate::adapters::readings::ReadingsError;
use crate::problem::Problem;

/// Why a request was refused.
#[derive(Debug)]
pub(super) struct Refusal(Box<(Problem, Map<String, Value>)>);

impl Refusal {
    /// Adds a member beside the standard ones.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.1.insert(name.to_owned(), value.into());
        self
    }

    /// The problem document.
    pub(super) fn document(&self) -> Value {
        let (problem, more) = &*self.0;
        let mut document = problem.document();
        if let Some(members) = document.as_object_mut() {
            members.extend(more.clone());
        }
        document
    }
}

impl<P: Into<Problem>> From<P> for Refusal {
    fn from(problem: P) -> Self {
        Self(Box::new((problem.into(), Map::new())))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let document = self.document();
        let (problem, _) = *self.0;
        let mut response = problem.into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.map(|_same_without_more| Body::from(document.to_string()))
    }
}

/// The caller may not.
pub(super) fn denied(denied: Denied) -> Problem {
    Problem::forbidden(sentence(&denied.to_string()))
}

/// The payload is no telemetry that can be kept.
pub(super) fn unread(error: &ReadingsError) -> Refusal {
    let detail = sentence(&error.to_string());
    match error {
        ReadingsError::Payload(error) => {
            let problem =
                if error.is_syntax() { Problem::unreadable(detail) } else { Problem::invalid(detail) };
            Refusal::from(problem).with("offset", error.offset)
        }
        ReadingsError::Frame { error, .. } => {
            let refusal = Refusal::from(Problem::unreadable(detail)).with("offset", error.offset);
            refusal.with("field", error.field.clone())
        }
        ReadingsError::Device(_) => Problem::not_found(detail).into(),
        ReadingsError::NoDecoder => Problem::media_type(detail).into(),
        ReadingsError::Key | ReadingsError::BaseName(_) | ReadingsError::Decoder(_) => {
            Problem::invalid(detail).into()
        }
        ReadingsError::Storage(error) => error.clone().into(),
    }
}

/// A text of an error as a sentence for a person.
pub(super) fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let mut out: String = characters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    out.push_str(characters.as_str());
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}
