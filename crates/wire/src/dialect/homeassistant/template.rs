//! The part of Jinja that discovery configurations mostly use: text around `{{ … }}`, in which stand
//! paths into the payload, constants, arithmetic, comparisons, `x if y else z` and a few filters.
//! What is beyond that is refused with its words, never guessed.

mod expression;
mod number;

use std::borrow::Cow;

use serde_json::Value as Json;

use self::expression::Expression;

/// The longest template.
pub(super) const LENGTH_MAX: usize = 1_024;

/// What a template can name.
pub(super) struct Scope<'j> {
    /// `value`
    pub(super) value: Json,
    /// `value_json`; `None` where the payload is no JSON.
    pub(super) json: Option<&'j Json>,
}

/// A value under evaluation.
#[derive(Clone, Debug)]
pub(super) enum Term<'j> {
    Is(Cow<'j, Json>),
    /// Named, but not there.
    Undefined,
}

/// A template that is not understood, and what in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beyond(pub(super) String);

/// What a template comes to; `None` where it names something that is not there.
///
/// A template of one expression gives that as it is, any other gives text.
pub(super) fn evaluate(template: &str, scope: &Scope<'_>) -> Result<Option<Json>, Beyond> {
    if template.len() > LENGTH_MAX {
        return Err(Beyond(format!("is longer than {LENGTH_MAX} bytes")));
    }
    if template.contains("{%") || template.contains("{#") {
        return Err(Beyond("statements ({% … %}) are not understood".to_owned()));
    }
    let mut rendered = String::new();
    let mut rest = template.trim();
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inner, after)) = after.split_once("}}") else {
            return Err(Beyond("}} is missing".to_owned()));
        };
        // A minus beside the braces only takes white space away.
        let inner = inner.strip_prefix('-').unwrap_or(inner);
        let inner = inner.strip_suffix('-').unwrap_or(inner);
        let Term::Is(value) = Expression::evaluate(inner, scope)? else { return Ok(None) };
        if rendered.is_empty() && before.is_empty() && after.trim().is_empty() {
            return Ok(Some(value.into_owned()));
        }
        rendered.push_str(before);
        rendered.push_str(&render(&value));
        rest = after;
    }
    rendered.push_str(rest);
    Ok(Some(Json::String(rendered)))
}

/// As Python prints it, which is what the words of a configuration are compared with.
pub(super) fn render(value: &Json) -> Cow<'_, str> {
    match value {
        Json::String(text) => Cow::Borrowed(text),
        Json::Bool(true) => Cow::Borrowed("True"),
        Json::Bool(false) => Cow::Borrowed("False"),
        Json::Null => Cow::Borrowed("None"),
        other => Cow::Owned(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
