//! Commands to entities, in the words of their configurations.

use std::borrow::Cow;

use serde_json::{Value as Json, json};

use super::super::document::{outgoing, payload_of};
use super::super::{Outgoing, Unsayable};
use super::config::Entity;
use super::template::{Scope, evaluate, render};

/// The message that sets the entity, or one of its members.
pub(super) fn word(entity: &Entity, member: &str, params: &Json) -> Result<Outgoing, Unsayable> {
    let control = entity.controls.iter().find(|control| control.member == member);
    let control = control.ok_or_else(|| {
        let can_be_set: Vec<_> =
            entity.controls.iter().map(|control| entity.key_of(&control.member)).collect();
        Unsayable(Cow::Owned(format!("can be set: {}", can_be_set.join(", "))))
    })?;
    let value = if member.is_empty() { main(entity, params)? } else { of_member(entity, member, params)? };
    let payload = match &control.template {
        None => payload_of(&value),
        Some(template) => {
            let rendered = evaluate(template, &Scope { value, json: None });
            let rendered =
                rendered.map_err(|beyond| Unsayable(Cow::Owned(format!("its template: {}", beyond.0))))?;
            let rendered =
                rendered.ok_or(Unsayable(Cow::Borrowed("its template has no place for this value")))?;
            render(&rendered).into_owned().into_bytes()
        }
    };
    let message = outgoing(control.topic.clone(), payload)?;
    Ok(Outgoing { retain: entity.retain, ..message })
}

fn main(entity: &Entity, params: &Json) -> Result<Json, Unsayable> {
    let wrong = |what: String| Unsayable(Cow::Owned(format!("params must be {what}")));
    let chosen = |word: &str| Ok(Json::from(entity.word(word)));
    match (entity.component.as_str(), entity.schema.as_str()) {
        ("light", "template") => {
            Err(Unsayable(Cow::Borrowed("a light with the schema template cannot be set from here")))
        }
        ("light", "json") => match params {
            Json::Object(_) => Ok(params.clone()),
            _ => {
                let is_on =
                    on_or_off(entity, params).ok_or_else(|| wrong("true, false or an object".to_owned()))?;
                Ok(json!({ "state": if is_on { "ON" } else { "OFF" } }))
            }
        },
        ("switch" | "light" | "fan" | "siren" | "humidifier", _) => match on_or_off(entity, params) {
            Some(true) => chosen("payload_on"),
            Some(false) => chosen("payload_off"),
            None => Err(wrong("true or false".to_owned())),
        },
        ("button", _) => chosen("payload_press"),
        ("scene", _) => chosen("payload_on"),
        ("number", _) => match (params, entity.range) {
            (Json::Number(number), Some((least, most))) => {
                let is_within = number.as_f64().is_some_and(|number| (least..=most).contains(&number));
                if is_within { Ok(params.clone()) } else { Err(wrong(format!("from {least} to {most}"))) }
            }
            (Json::Number(_), None) => Ok(params.clone()),
            _ => Err(wrong("a number".to_owned())),
        },
        ("select", _) => {
            let is_option =
                params.as_str().is_some_and(|text| entity.options.iter().any(|option| option == text));
            if is_option {
                Ok(params.clone())
            } else {
                Err(wrong(format!("one of {}", entity.options.join(", "))))
            }
        }
        ("cover" | "valve", _) => match params {
            Json::Bool(true) => chosen("payload_open"),
            Json::Bool(false) => chosen("payload_close"),
            Json::Number(_) => Ok(params.clone()),
            Json::String(word) => match word.to_ascii_lowercase().as_str() {
                "open" => chosen("payload_open"),
                "close" => chosen("payload_close"),
                "stop" => chosen("payload_stop"),
                _ => Err(wrong("open, close or stop".to_owned())),
            },
            _ => Err(wrong("open, close or stop".to_owned())),
        },
        ("lock", _) => match params {
            Json::Bool(true) => chosen("payload_lock"),
            Json::Bool(false) => chosen("payload_unlock"),
            Json::String(word) if word.eq_ignore_ascii_case("lock") => chosen("payload_lock"),
            Json::String(word) if word.eq_ignore_ascii_case("unlock") => chosen("payload_unlock"),
            _ => Err(wrong("lock or unlock".to_owned())),
        },
        _ => Ok(params.clone()),
    }
}

fn of_member(entity: &Entity, member: &str, params: &Json) -> Result<Json, Unsayable> {
    if member != "power" {
        return match params {
            Json::Null => Err(Unsayable(Cow::Borrowed("params must be the value to set"))),
            params => Ok(params.clone()),
        };
    }
    let is_on = on_or_off(entity, params).ok_or(Unsayable(Cow::Borrowed("params must be true or false")))?;
    Ok(Json::from(entity.word(if is_on { "payload_on" } else { "payload_off" })))
}

/// `true`, `"on"`, or the entity's own word for it.
fn on_or_off(entity: &Entity, params: &Json) -> Option<bool> {
    match params {
        Json::Bool(is_on) => Some(*is_on),
        Json::String(word) if word == entity.word("payload_on") || word.eq_ignore_ascii_case("on") => {
            Some(true)
        }
        Json::String(word) if word == entity.word("payload_off") || word.eq_ignore_ascii_case("off") => {
            Some(false)
        }
        _ => None,
    }
}
