//! What our devices can be commanded, as Home Assistant's MQTT discovery is told of it: a button, a
//! switch, a number or a choice for each command that a profile names.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Number, Value, json};

use super::announce::{Kind, NODE, plain, template};
use super::{Outgoing, Unread};

/// The member of a profile that names its commands.
pub const COMMANDS: &str = "commands";
/// The most commands of a profile.
const COMMANDS_MAX: usize = 100;
/// The longest name, in bytes.
const NAME_LENGTH_MAX: usize = 256;
/// The most options of a choice.
const OPTIONS_MAX: usize = 100;
/// The longest payload of a command, in bytes.
const PAYLOAD_LENGTH_MAX: usize = 1_024;
/// What a button says.
const PRESS: &str = "PRESS";

/// A command that a person may give by hand.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// The command's name.
    pub name: String,
    /// The key of the readings that show what was set.
    #[serde(default)]
    key: Option<String>,
    /// The member of the params that has the value; without it, the params are the value.
    #[serde(default)]
    param: Option<String>,
    #[serde(default, rename = "type")]
    kind: ValueKind,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    min: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
    #[serde(default)]
    step: Option<f64>,
    #[serde(default)]
    unit: Option<String>,
}

/// What the value is that goes with a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ValueKind {
    /// There is none, or it is one of the options.
    #[default]
    None,
    Boolean,
    Number,
}

/// The commands that a profile names.
///
/// # Errors
/// Words for people: which of them is not as it must be.
pub fn controls(profile: &Map<String, Value>) -> Result<Vec<Control>, String> {
    let Some(said) = profile.get(COMMANDS) else { return Ok(Vec::new()) };
    let controls = Vec::<Control>::deserialize(said).map_err(|error| error.to_string())?;
    if controls.len() > COMMANDS_MAX {
        return Err(format!("a profile names at most {COMMANDS_MAX} commands"));
    }
    for (index, control) in controls.iter().enumerate() {
        control.check().map_err(|wrong| format!("command {}: {wrong}", index + 1))?;
        if controls.iter().take(index).any(|other| plain(&other.name) == plain(&control.name)) {
            return Err(format!("command {}: there is one of this name before it", index + 1));
        }
    }
    Ok(controls)
}

/// The device and the command that a topic means: `devices/{device}/commands/{command}/send`.
#[must_use]
pub fn commanded(topic: &str) -> Option<(&str, &str)> {
    let (device, rest) = topic.strip_prefix("devices/")?.split_once('/')?;
    let name = rest.strip_prefix("commands/")?.strip_suffix("/send")?;
    (!name.is_empty() && !name.contains('/')).then_some((device, name))
}

impl Control {
    fn check(&self) -> Result<(), String> {
        if !(1..=NAME_LENGTH_MAX).contains(&self.name.len()) {
            return Err(format!("a name has 1 to {NAME_LENGTH_MAX} bytes"));
        }
        let is_choice = !self.options.is_empty();
        if is_choice && self.kind != ValueKind::None {
            return Err("it has either options or a type".to_owned());
        }
        if self.options.len() > OPTIONS_MAX || self.options.iter().any(String::is_empty) {
            return Err(format!("there are at most {OPTIONS_MAX} options, none of them empty"));
        }
        let bounds = [self.min, self.max, self.step];
        if self.kind != ValueKind::Number && bounds.iter().any(Option::is_some) {
            return Err("only a number has min, max and step".to_owned());
        }
        let is_empty = self.min.zip(self.max).is_some_and(|(min, max)| min >= max);
        if is_empty || self.step.is_some_and(|step| step <= 0.0) {
            return Err("min is less than max, and step is more than 0".to_owned());
        }
        Ok(())
    }

    /// Whether a topic's name of a command means this one.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        plain(&self.name) == name
    }

    /// Where Home Assistant publishes the command.
    #[must_use]
    pub fn topic(&self, device: &str) -> String {
        format!("devices/{device}/commands/{}/send", plain(&self.name))
    }

    fn component(&self) -> &'static str {
        match self.kind {
            ValueKind::Boolean => "switch",
            ValueKind::Number => "number",
            ValueKind::None if self.options.is_empty() => "button",
            ValueKind::None => "select",
        }
    }

    /// The retained message that makes the command an entity of a device of this id and name.
    #[must_use]
    pub fn message(&self, device: &str, name: &str) -> Outgoing {
        let (node, object, component) = (plain(device), plain(&self.name), self.component());
        let mut config = json!({
            "name": self.name,
            "unique_id": format!("{NODE}{node}-command-{object}"),
            "object_id": format!("{node}_{object}"),
            "command_topic": self.topic(device),
            "availability_topic": format!("devices/{device}/status"),
            "device": { "identifiers": [format!("{NODE}{device}")], "name": name },
            "origin": { "name": "Roost" },
        });
        let mut more: Vec<(&str, Value)> = Vec::new();
        match component {
            "button" => more.push(("payload_press", PRESS.into())),
            "select" => more.push(("options", json!(self.options))),
            "number" => {
                let bounds = [("min", self.min), ("max", self.max), ("step", self.step)];
                more.extend(bounds.into_iter().filter_map(|(name, bound)| Some((name, json!(bound?)))));
                more.extend(self.unit.iter().map(|unit| ("unit_of_measurement", json!(unit))));
            }
            _ => more.extend([
                ("payload_on", json!("ON")),
                ("payload_off", json!("OFF")),
                ("state_on", json!("ON")),
                ("state_off", json!("OFF")),
            ]),
        }
        // Without a state it shows what was set last.
        if let Some(key) = self.key.as_deref().filter(|_| component != "button") {
            let kind = if self.kind == ValueKind::Boolean { Kind::Boolean } else { Kind::Text };
            more.push(("state_topic", format!("devices/{device}/telemetry").into()));
            more.push(("value_template", template(key, kind).into()));
        }
        if let Some(members) = config.as_object_mut() {
            members.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        Outgoing {
            topic: format!("homeassistant/{component}/{NODE}{node}/command-{object}/config"),
            payload: config.to_string().into_bytes(),
            retain: true,
        }
    }

    /// The command's params, from what Home Assistant published.
    ///
    /// # Errors
    /// [`Unread`]: it is none of what was announced.
    pub fn params(&self, payload: &[u8]) -> Result<Value, Unread> {
        let wrong = |text: String| Unread(Cow::Owned(text));
        let text = std::str::from_utf8(payload).ok().filter(|text| text.len() <= PAYLOAD_LENGTH_MAX);
        let text = text.ok_or(Unread(Cow::Borrowed("a command is a short text")))?;
        let value = match self.component() {
            "button" => Value::Null,
            "switch" => match text {
                "ON" => Value::Bool(true),
                "OFF" => Value::Bool(false),
                _ => return Err(wrong("a switch is ON or OFF".to_owned())),
            },
            "number" => {
                let number: Option<Number> = serde_json::from_str(text).ok();
                let is_within = |number: &Number| {
                    let number = number.as_f64().unwrap_or(f64::NAN);
                    self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max)
                };
                let number = number.filter(is_within);
                Value::Number(number.ok_or_else(|| wrong("it is no number within its bounds".to_owned()))?)
            }
            _ if self.options.iter().any(|option| option == text) => text.into(),
            _ => return Err(wrong(format!("it is one of {}", self.options.join(", ")))),
        };
        Ok(match &self.param {
            Some(param) if !value.is_null() => json!({ param: value }),
            _ => value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(commands: Value) -> Result<Vec<Control>, String> {
        controls(&Map::from_iter([(COMMANDS.to_owned(), commands)]))
    }

    fn one(command: Value) -> Control {
        all(json!([command])).unwrap().remove(0)
    }

    fn config(control: &Control) -> (String, Value) {
        let message = control.message("barn", "The barn");
        assert!(message.retain);
        (message.topic, serde_json::from_slice(&message.payload).unwrap())
    }

    #[test]
    fn a_command_becomes_the_component_that_fits_it() {
        let (topic, button) = config(&one(json!({"name": "restart"})));
        assert_eq!(topic, "homeassistant/button/roost-barn/command-restart/config");
        assert_eq!(button["command_topic"], "devices/barn/commands/restart/send");
        assert_eq!((&button["payload_press"], button.get("state_topic")), (&json!("PRESS"), None));
        assert_eq!(button["unique_id"], "roost-barn-command-restart");
        assert_eq!(button["device"], json!({"identifiers": ["roost-barn"], "name": "The barn"}));

        let (topic, switch) = config(&one(json!({"name": "relay", "type": "boolean", "key": "relay"})));
        assert_eq!(topic, "homeassistant/switch/roost-barn/command-relay/config");
        for (name, value) in
            [("payload_on", "ON"), ("payload_off", "OFF"), ("state_on", "ON"), ("state_off", "OFF")]
        {
            assert_eq!(switch[name], value);
        }
        assert_eq!(switch["state_topic"], "devices/barn/telemetry");
        assert!(switch["value_template"].as_str().unwrap().contains("'ON' if n.v else 'OFF'"));

        let level =
            json!({"name": "level", "type": "number", "min": 0, "max": 100, "step": 0.5, "unit": "%"});
        let (topic, number) = config(&one(level));
        assert_eq!(topic, "homeassistant/number/roost-barn/command-level/config");
        assert_eq!(
            (&number["min"], &number["max"], &number["step"]),
            (&json!(0.0), &json!(100.0), &json!(0.5))
        );
        assert_eq!(number["unit_of_measurement"], "%");
        assert_eq!(number.get("value_template"), None, "without a key it shows what was set last");

        let (topic, select) =
            config(&one(json!({"name": "mode", "options": ["eco", "away"], "key": "m.ode"})));
        assert_eq!(topic, "homeassistant/select/roost-barn/command-mode/config");
        assert_eq!(select["options"], json!(["eco", "away"]));
        assert!(select["value_template"].as_str().unwrap().contains("this.state"));
    }

    #[test]
    fn what_is_published_becomes_the_commands_params() {
        let check = |command: Value, payload: &str, expected: Option<Value>| {
            let params = one(command.clone()).params(payload.as_bytes()).ok();
            assert_eq!(params, expected, "{command} {payload}");
        };
        check(json!({"name": "restart"}), "PRESS", Some(Value::Null));
        let switch = json!({"name": "relay", "type": "boolean"});
        check(switch.clone(), "ON", Some(json!(true)));
        check(switch.clone(), "OFF", Some(json!(false)));
        check(switch, "on", None);
        let wrapped = json!({"name": "relay", "type": "boolean", "param": "Relay"});
        check(wrapped, "ON", Some(json!({"Relay": true})));
        let number = json!({"name": "level", "type": "number", "min": 0, "max": 10});
        check(number.clone(), "5", Some(json!(5)));
        check(number.clone(), "5.5", Some(json!(5.5)));
        for wrong in ["11", "-1", "NaN", "1e999", "", "x"] {
            check(number.clone(), wrong, None);
        }
        let select = json!({"name": "mode", "options": ["eco", "away"]});
        check(select.clone(), "eco", Some(json!("eco")));
        check(select, "other", None);
        assert!(one(json!({"name": "restart"})).params(b"\xff").is_err());
    }

    #[test]
    fn a_profile_that_names_commands_wrongly_is_refused_in_words() {
        assert_eq!(controls(&Map::new()), Ok(Vec::new()));
        for commands in [
            json!({}),
            json!([{}]),
            json!([{"name": ""}]),
            json!([{"name": "a", "type": "text"}]),
            json!([{"name": "a", "type": "number", "min": 2, "max": 1}]),
            json!([{"name": "a", "type": "number", "step": 0}]),
            json!([{"name": "a", "min": 1}]),
            json!([{"name": "a", "type": "boolean", "options": ["x"]}]),
            json!([{"name": "a", "options": [""]}]),
            json!([{"name": "a"}, {"name": "a"}]),
            json!(vec![json!({"name": "a"}); 101]),
        ] {
            assert!(all(commands.clone()).is_err(), "{commands}");
        }
    }

    #[test]
    fn a_topic_names_a_device_and_a_command() {
        let control = one(json!({"name": "/relay 1"}));
        let topic = control.topic("barn.1");
        let (device, name) = commanded(&topic).unwrap();
        assert_eq!((device, control.is_named(name)), ("barn.1", true));
        for other in
            ["devices/barn/commands/x", "devices/barn/commands//send", "devices/barn/commands/x/y/send"]
        {
            assert_eq!(commanded(other), None, "{other}");
        }
    }
}
