//! ThingsBoard's MQTT device API and gateway API (`v1/devices/me/…`, `v1/gateway/…`).
//!
//! Client attributes are `reported`, shared ones `desired`; a command is a server-side RPC.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    About, Answer, Awaited, Command, Description, Dialect, Outgoing, Presence, Said, Twin, TwinReason,
    TwinRequest, Unread, Unsayable, What, Wording, number, parse_json,
};
use crate::telemetry::{self, Limits, Point};

/// Of how many devices it is remembered which shared attributes they were told last.
const TOLD_MAX: usize = 1_000;
/// The longest request id, in bytes.
const REQUEST_ID_LENGTH_MAX: usize = 32;
/// The call by which libraries ask how fast they may send; unanswered, they wait and then send slowly.
const SESSION_LIMITS: &str = "getSessionLimits";
/// The largest payload that such a library is told to send, in bytes: what its own server would say.
const PAYLOAD_LENGTH_TOLD: u32 = 65_536;
/// How many messages it may have on their way.
const IN_FLIGHT_TOLD: u32 = 100;
/// Marks the correlation of a gateway's request that asks for several attributes.
const SEVERAL: &str = "*";

/// See the module.
#[derive(Debug, Default)]
pub(super) struct ThingsBoard {
    /// The shared attributes that each device was told last, so that it is told of changes only.
    told: HashMap<Option<String>, Map<String, Value>>,
}

impl Dialect for ThingsBoard {
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], _now: i64) -> Result<Vec<Said<'a>>, Unread> {
        if let Some(rest) = topic.strip_prefix("v1/devices/me/") {
            return own(rest, payload).map(|what| vec![Said { about: About::Connection, what }]);
        }
        match topic.strip_prefix("v1/gateway/") {
            Some(rest) => of_gateway(rest, payload),
            None => Ok(Vec::new()),
        }
    }

    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable> {
        let id = number(command.id);
        let (topic, payload) = match device {
            None => (
                format!("v1/devices/me/rpc/request/{id}"),
                json!({ "method": command.name, "params": command.params }),
            ),
            Some(device) => (
                "v1/gateway/rpc".to_owned(),
                json!({
                    "device": device,
                    "data": { "id": id, "method": command.name, "params": command.params },
                }),
            ),
        };
        Ok(Wording { messages: vec![outgoing(topic, &payload)], answer: Awaited::Answer })
    }

    fn twin(&mut self, device: Option<&str>, twin: Twin<'_>, reason: &TwinReason) -> Vec<Outgoing> {
        match reason {
            TwinReason::Asked(request) => vec![answer_request(device, twin, request)],
            TwinReason::Changed => self.tell_changes(device, twin.desired),
        }
    }
}

impl ThingsBoard {
    /// What has changed since the device was told last, or all where nobody knows.
    fn tell_changes(&mut self, device: Option<&str>, desired: &Map<String, Value>) -> Vec<Outgoing> {
        let key = device.map(str::to_owned);
        if self.told.len() >= TOLD_MAX && !self.told.contains_key(&key) {
            self.told.clear();
        }
        let before = self.told.insert(key, desired.clone()).unwrap_or_default();
        let changed: Map<String, Value> = desired
            .iter()
            .filter(|(name, value)| before.get(*name) != Some(*value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let deleted: Vec<&String> = before.keys().filter(|name| !desired.contains_key(*name)).collect();
        let mut said = Vec::new();
        if !changed.is_empty() {
            said.push(attributes(device, Value::Object(changed)));
        }
        if !deleted.is_empty() {
            said.push(attributes(device, json!({ "deleted": deleted })));
        }
        said
    }
}

fn outgoing(topic: impl Into<String>, payload: &Value) -> Outgoing {
    Outgoing { topic: topic.into(), payload: payload.to_string().into_bytes(), retain: false }
}

fn attributes(device: Option<&str>, data: Value) -> Outgoing {
    match device {
        None => outgoing("v1/devices/me/attributes", &data),
        Some(device) => outgoing("v1/gateway/attributes", &json!({ "device": device, "data": data })),
    }
}

fn answer_request(device: Option<&str>, twin: Twin<'_>, request: &TwinRequest) -> Outgoing {
    let client = chosen(twin.reported, request.reported.as_deref());
    let shared = chosen(twin.desired, request.desired.as_deref());
    let id = request.correlation.as_deref().unwrap_or_default();
    let Some(device) = device else {
        let mut answer = Map::new();
        if !client.is_empty() {
            answer.insert("client".to_owned(), Value::Object(client));
        }
        if !shared.is_empty() {
            answer.insert("shared".to_owned(), Value::Object(shared));
        }
        return outgoing(format!("v1/devices/me/attributes/response/{id}"), &Value::Object(answer));
    };
    let (id, is_several) = id.strip_suffix(SEVERAL).map_or((id, false), |id| (id, true));
    // A gateway's ids are numbers, and it wants them back as such.
    let id: Value = id.parse::<i64>().map_or_else(|_text| Value::from(id), Value::from);
    let mut values = client;
    values.extend(shared);
    let answer = match is_several {
        true => json!({ "id": id, "device": device, "values": values }),
        false => json!({ "id": id, "device": device, "value": values.values().next() }),
    };
    outgoing("v1/gateway/attributes/response", &answer)
}

fn chosen(state: &Map<String, Value>, names: Option<&[String]>) -> Map<String, Value> {
    let Some(names) = names else { return state.clone() };
    let known = names.iter().filter_map(|name| Some((name.clone(), state.get(name)?.clone())));
    known.collect()
}

fn unread(text: impl Into<Cow<'static, str>>) -> Unread {
    Unread(text.into())
}

fn object(payload: &[u8]) -> Result<Map<String, Value>, Unread> {
    match parse_json(payload)? {
        Value::Object(object) => Ok(object),
        _ => Err(unread("the payload is no JSON object")),
    }
}

fn readings(payload: &[u8]) -> Result<Vec<Point<'_>>, Unread> {
    telemetry::json(payload, &Limits::default()).map_err(|error| unread(error.to_string()))
}

/// No rate is given: whoever sends too fast is slowed down by the acknowledgements.
fn session_limits() -> Value {
    let rates = json!({ "messages": null, "telemetryMessages": null, "telemetryDataPoints": null });
    json!({
        "maxPayloadSize": PAYLOAD_LENGTH_TOLD, "maxInflightMessages": IN_FLIGHT_TOLD,
        "rateLimits": rates, "gatewayRateLimits": rates,
    })
}

fn request_id(text: &str) -> Result<&str, Unread> {
    let fits = (1..=REQUEST_ID_LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fits { Ok(text) } else { Err(unread("a request id is a number")) }
}

/// What a device says of itself.
fn own<'a>(rest: &'a str, payload: &'a [u8]) -> Result<What<'a>, Unread> {
    match rest {
        "telemetry" => return Ok(What::Readings(readings(payload)?)),
        "attributes" => return Ok(What::Reported(object(payload)?)),
        _ => {}
    }
    if let Some(id) = rest.strip_prefix("attributes/request/") {
        let request = object(payload)?;
        let [reported, desired] = asked(&request);
        let correlation = Some(request_id(id)?.to_owned());
        return Ok(What::AsksTwin(TwinRequest { correlation, reported, desired }));
    }
    if let Some(id) = rest.strip_prefix("rpc/response/") {
        let id = Some(request_id(id)?.to_owned());
        return Ok(What::Answer(Answer { id, name: None, outcome: outcome(parse_json(payload)?) }));
    }
    if let Some(id) = rest.strip_prefix("rpc/request/") {
        let topic = format!("v1/devices/me/rpc/response/{}", request_id(id)?);
        let call = parse_json(payload)?;
        let answer = match call.get("method").and_then(Value::as_str) {
            Some(SESSION_LIMITS) => session_limits(),
            _ => json!({ "error": "this server answers no calls of devices" }),
        };
        return Ok(What::Reply(outgoing(topic, &answer)));
    }
    Err(unread(format!(
        "v1/devices/me/{rest} is not taken here: telemetry, attributes, attributes/request/+, rpc/response/+ are"
    )))
}

/// The names of client and of shared attributes that a request asks for; all, where it names none.
fn asked(request: &Map<String, Value>) -> [Option<Vec<String>>; 2] {
    let members = ["clientKeys", "sharedKeys"].map(|member| request.get(member).and_then(Value::as_str));
    match members {
        [None, None] => [None, None],
        members => members.map(|names| Some(names.map(split).unwrap_or_default())),
    }
}

fn split(names: &str) -> Vec<String> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A device answers with any JSON; one that says nothing but an error did not do it.
fn outcome(value: Value) -> Result<Value, String> {
    let error = value.as_object().filter(|answer| answer.len() == 1).and_then(|answer| answer.get("error"));
    match error {
        Some(Value::String(text)) => Err(text.clone()),
        Some(other) => Err(other.to_string()),
        None => Ok(value),
    }
}

/// What a gateway says of the devices behind it.
fn of_gateway<'a>(rest: &str, payload: &[u8]) -> Result<Vec<Said<'a>>, Unread> {
    let message = object(payload)?;
    if let "telemetry" | "attributes" = rest {
        return message.into_iter().map(|(device, data)| of_child(rest, device, data)).collect();
    }
    let device = match message.get("device") {
        Some(Value::String(device)) if !device.is_empty() => device.clone(),
        _ => return Err(unread("the payload has no `device`")),
    };
    let what = match rest {
        "connect" => {
            let kind = message.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty());
            let description = Description {
                name: Some(device.clone()),
                labels: kind.map(|kind| ("type".to_owned(), kind.to_owned())).into_iter().collect(),
                keys: Vec::new(),
            };
            return Ok([What::Description(Box::new(description)), What::Presence(Presence::Online)]
                .map(|what| Said { about: About::Named(Cow::Owned(device.clone())), what })
                .into());
        }
        "disconnect" => What::Presence(Presence::Offline),
        "attributes/request" => What::AsksTwin(asked_by_gateway(&message)?),
        "rpc" => {
            let id = match message.get("id") {
                Some(Value::Number(id)) => id.to_string(),
                Some(Value::String(id)) => request_id(id)?.to_owned(),
                _ => return Err(unread("the answer has no `id`")),
            };
            let data = message.get("data").cloned().unwrap_or_default();
            What::Answer(Answer { id: Some(id), name: None, outcome: outcome(data) })
        }
        _ => {
            return Err(unread(format!(
                "v1/gateway/{rest} is not taken here: connect, disconnect, telemetry, attributes, attributes/request, rpc are"
            )));
        }
    };
    Ok(vec![Said { about: About::Named(Cow::Owned(device)), what }])
}

fn of_child<'a>(rest: &str, device: String, data: Value) -> Result<Said<'a>, Unread> {
    if device.is_empty() {
        return Err(unread("a device has a name"));
    }
    let what = match (rest, data) {
        ("attributes", Value::Object(attributes)) => What::Reported(attributes),
        ("attributes", _) => return Err(unread("attributes are an object for each device")),
        (_, data) => {
            let text = data.to_string();
            let points = readings(text.as_bytes())?.into_iter().map(|point| Point {
                key: Cow::Owned(point.key.into_owned()),
                ts: point.ts,
                value: point.value.into_owned(),
            });
            What::Readings(points.collect())
        }
    };
    Ok(Said { about: About::Named(Cow::Owned(device)), what })
}

fn asked_by_gateway(message: &Map<String, Value>) -> Result<TwinRequest, Unread> {
    let id = match message.get("id") {
        Some(Value::Number(id)) => id.to_string(),
        Some(Value::String(id)) => request_id(id)?.to_owned(),
        _ => return Err(unread("the request has no `id`")),
    };
    let is_client = message.get("client").and_then(Value::as_bool).unwrap_or(false);
    let (names, mark) = match (message.get("keys"), message.get("key")) {
        (Some(Value::Array(keys)), _) => {
            (keys.iter().filter_map(Value::as_str).map(str::to_owned).collect(), SEVERAL)
        }
        (_, Some(Value::String(key))) => (vec![key.clone()], ""),
        _ => return Err(unread("the request has no `key` and no `keys`")),
    };
    let (reported, desired) = if is_client { (names, Vec::new()) } else { (Vec::new(), names) };
    Ok(TwinRequest {
        correlation: Some(format!("{id}{mark}")),
        reported: Some(reported),
        desired: Some(desired),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear<'a>(topic: &'a str, payload: &'a str) -> Result<Vec<Said<'a>>, Unread> {
        ThingsBoard::default().hear(topic, payload.as_bytes(), 0)
    }

    fn said(outgoing: &Outgoing) -> (&str, Value) {
        (&outgoing.topic, serde_json::from_slice(&outgoing.payload).unwrap())
    }

    #[test]
    fn a_device_reports_readings_and_attributes() {
        let heard = hear("v1/devices/me/telemetry", r#"[{"ts":1795269297250,"values":{"t":21.5}}]"#).unwrap();
        let What::Readings(points) = &heard[0].what else { panic!("{heard:?}") };
        assert_eq!((&*points[0].key, points[0].ts), ("t", Some(1_795_269_297_250)));
        let heard = hear("v1/devices/me/attributes", r#"{"firmware":"1.2"}"#).unwrap();
        assert_eq!(heard[0].what, What::Reported(json!({ "firmware": "1.2" }).as_object().unwrap().clone()));
        assert_eq!(hear("v1/elsewhere", "{").unwrap(), []);
        for (topic, payload) in
            [("telemetry", "{"), ("attributes", "[]"), ("claim", "{}"), ("rpc/response/", "1")]
        {
            assert!(hear(&format!("v1/devices/me/{topic}"), payload).is_err(), "{topic}");
        }
    }

    #[test]
    fn a_command_is_an_rpc_whose_number_follows_from_its_id() {
        let mut dialect = ThingsBoard::default();
        let params = json!({ "pin": 4 });
        let command = Command { id: "01HX-a", name: "setGpio", params: &params };
        let own = dialect.command(None, command).unwrap();
        let id = number("01HX-a");
        assert_eq!(
            said(&own.messages[0]),
            (
                &*format!("v1/devices/me/rpc/request/{id}"),
                json!({ "method": "setGpio", "params": { "pin": 4 } })
            )
        );
        let child = dialect.command(Some("Device A"), command).unwrap();
        let (topic, payload) = said(&child.messages[0]);
        assert_eq!(
            (topic, &payload["device"], &payload["data"]["id"]),
            ("v1/gateway/rpc", &json!("Device A"), &json!(id))
        );
        let topic = format!("v1/devices/me/rpc/response/{id}");
        let heard = hear(&topic, r#"{"pin":true}"#).unwrap();
        let answer = Answer { id: Some(id.to_string()), name: None, outcome: Ok(json!({ "pin": true })) };
        assert_eq!(heard[0].what, What::Answer(answer));
        let heard =
            hear("v1/gateway/rpc", r#"{"device":"A","id":7,"data":{"error":"no such pin"}}"#).unwrap();
        assert_eq!(heard[0].about, About::Named("A".into()));
        let answer = Answer { id: Some("7".to_owned()), name: None, outcome: Err("no such pin".to_owned()) };
        assert_eq!(heard[0].what, What::Answer(answer));
    }

    #[test]
    fn a_call_of_the_device_is_answered_with_an_error() {
        let heard = hear("v1/devices/me/rpc/request/3", r#"{"method":"getTime","params":{}}"#).unwrap();
        let What::Reply(reply) = &heard[0].what else { panic!("{heard:?}") };
        assert_eq!(reply.topic, "v1/devices/me/rpc/response/3");
        assert!(hear("v1/devices/me/rpc/request/3", "{").is_err());
    }

    #[test]
    fn a_library_that_asks_how_fast_it_may_send_is_told_of_no_rate() {
        let call = r#"{"method":"getSessionLimits","params":{"timeout":5000}}"#;
        let heard = hear("v1/devices/me/rpc/request/1", call).unwrap();
        let What::Reply(reply) = &heard[0].what else { panic!("{heard:?}") };
        let (topic, limits) = said(reply);
        assert_eq!((topic, &limits["maxPayloadSize"]), ("v1/devices/me/rpc/response/1", &json!(65_536)));
        assert_eq!(limits["rateLimits"]["telemetryMessages"], Value::Null);
    }

    #[test]
    fn attributes_are_asked_for_by_name_or_all() {
        let mut dialect = ThingsBoard::default();
        let (reported, desired) = (json!({ "a": 1, "b": 2 }), json!({ "c": 3 }));
        let twin = Twin {
            reported: reported.as_object().unwrap(),
            desired: desired.as_object().unwrap(),
            version: 1,
            now: 0,
        };
        for (payload, answer) in [
            (
                r#"{"clientKeys":"a,x","sharedKeys":"c"}"#,
                json!({ "client": { "a": 1 }, "shared": { "c": 3 } }),
            ),
            (r#"{"sharedKeys":"c"}"#, json!({ "shared": { "c": 3 } })),
            ("{}", json!({ "client": { "a": 1, "b": 2 }, "shared": { "c": 3 } })),
        ] {
            let heard = hear("v1/devices/me/attributes/request/1", payload).unwrap();
            let What::AsksTwin(request) = heard[0].what.clone() else { panic!("{heard:?}") };
            let answers = dialect.twin(None, twin, &TwinReason::Asked(request));
            assert_eq!(said(&answers[0]), ("v1/devices/me/attributes/response/1", answer));
        }
        for (payload, answer) in [
            (
                r#"{"id":5,"device":"A","client":true,"key":"a"}"#,
                json!({ "id": 5, "device": "A", "value": 1 }),
            ),
            (
                r#"{"id":5,"device":"A","client":false,"keys":["c"]}"#,
                json!({ "id": 5, "device": "A", "values": { "c": 3 } }),
            ),
        ] {
            let heard = hear("v1/gateway/attributes/request", payload).unwrap();
            let What::AsksTwin(request) = heard[0].what.clone() else { panic!("{heard:?}") };
            let answers = dialect.twin(Some("A"), twin, &TwinReason::Asked(request));
            assert_eq!(said(&answers[0]), ("v1/gateway/attributes/response", answer));
        }
    }

    #[test]
    fn a_device_is_told_of_the_shared_attributes_that_changed_or_went() {
        let mut dialect = ThingsBoard::default();
        let reported = Map::new();
        let mut tell = |desired: Value| {
            let twin =
                Twin { reported: &reported, desired: desired.as_object().unwrap(), version: 1, now: 0 };
            let told = dialect.twin(None, twin, &TwinReason::Changed);
            told.iter().map(|one| said(one).1).collect::<Vec<_>>()
        };
        assert_eq!(tell(json!({ "a": 1, "b": 2 })), [json!({ "a": 1, "b": 2 })]);
        assert_eq!(tell(json!({ "a": 1, "b": 3 })), [json!({ "b": 3 })]);
        assert_eq!(tell(json!({ "b": 3 })), [json!({ "deleted": ["a"] })]);
    }

    #[test]
    fn a_gateway_speaks_for_many_at_once() {
        let heard = hear(
            "v1/gateway/telemetry",
            r#"{"A":[{"ts":1795269297250,"values":{"t":1}},{"ts":1795269297251,"values":{"t":2}}],"B":[{"h":3}]}"#,
        )
        .unwrap();
        let counts: Vec<_> = heard
            .iter()
            .map(|said| match &said.what {
                What::Readings(points) => (said.about.clone(), points.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(counts, [(About::Named("A".into()), 2), (About::Named("B".into()), 1)]);
        let heard = hear("v1/gateway/connect", r#"{"device":"A","type":"thermometer"}"#).unwrap();
        assert_eq!(heard.last().unwrap().what, What::Presence(Presence::Online));
        for payload in ["[]", r#"{"A":5}"#, r#"{"":[]}"#] {
            assert!(hear("v1/gateway/telemetry", payload).is_err(), "{payload}");
        }
    }
}
