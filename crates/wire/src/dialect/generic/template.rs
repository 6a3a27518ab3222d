//! Templates of topics and payloads. Only what is a placeholder counts as one: other braces stay.

use serde_json::Value;

use super::shown;
use crate::dialect::{Command, Unsayable};

/// See the module.
#[derive(Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Device,
    Id,
    Name,
    /// The value at this pointer into the params: text as it is, everything else as JSON.
    Params(String),
    /// The same as JSON, text too.
    Json(String),
}

/// What a template is filled from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling<'a> {
    pub(super) device: &'a str,
    pub(super) command: Command<'a>,
}

fn placeholder(name: &str) -> Option<Part> {
    let pointer = |path: &str| {
        let path = path.strip_prefix("params")?;
        let is_path = path.is_empty() || (path.starts_with('.') && path.len() > 1);
        is_path.then(|| path.replace('~', "~0").replace('/', "~1").replace('.', "/"))
    };
    Some(match name {
        "device" => Part::Device,
        "id" => Part::Id,
        "name" => Part::Name,
        "payload" => Part::Params("/payload".to_owned()),
        _ => match name.strip_prefix("json:") {
            Some(path) => Part::Json(pointer(path)?),
            None => Part::Params(pointer(name)?),
        },
    })
}

impl Template {
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            plain.push_str(before);
            let found = behind.split_once('}').and_then(|(name, after)| Some((placeholder(name)?, after)));
            match found {
                Some((part, after)) => {
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(part);
                    rest = after;
                }
                None => {
                    plain.push('{');
                    rest = behind;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Self(parts)
    }

    /// Fills it; a value that is missing cannot be said.
    pub(super) fn fill(&self, filling: Filling<'_>) -> Result<String, Unsayable> {
        let params = |pointer: &str| {
            filling.command.params.pointer(pointer).ok_or_else(|| {
                let missing = format!("params{}", pointer.replace('/', "."));
                Unsayable(format!("the command needs {missing}").into())
            })
        };
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Device => text.push_str(filling.device),
                Part::Id => text.push_str(filling.command.id),
                Part::Name => text.push_str(filling.command.name),
                Part::Params(pointer) => text.push_str(&shown(params(pointer)?)),
                Part::Json(pointer) => text.push_str(&Value::to_string(params(pointer)?)),
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_is_filled_and_other_braces_stay() {
        let params = json!({ "on": true, "text": "a\"b", "deep": { "x": 1 }, "payload": "up" });
        let command = Command { id: "c1", name: "set", params: &params };
        let filling = Filling { device: "d1", command };
        for (template, filled) in [
            ("p/{device}/{name}/{id}", "p/d1/set/c1"),
            ("{\"on\":{params.on},\"t\":{json:params.text}}", "{\"on\":true,\"t\":\"a\\\"b\"}"),
            ("{params.deep.x}{params.deep}", "1{\"x\":1}"),
            ("{payload}", "up"),
            ("{}{x}{", "{}{x}{"),
        ] {
            assert_eq!(Template::parse(template).fill(filling).unwrap(), filled, "{template}");
        }
        let missing = Template::parse("{params.speed}").fill(filling).unwrap_err();
        assert_eq!(missing.to_string(), "the command needs params.speed");
    }
}
