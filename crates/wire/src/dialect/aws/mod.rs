//! AWS IoT Core's topics for devices: shadows, commands, and a truthful "there are none" to jobs.
//!
//! A thing is a device, its shadow the device's twin. A named shadow is the member of its name in
//! `shadows` of the twin. Versions are counted here, from the clock on, so that they grow over a restart;
//! every update and every change of what is wished has its own.

mod shadow;
mod topic;

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    About, Answer, Awaited, Command, Dialect, Outgoing, Said, Twin, TwinReason, TwinRequest, Unread,
    Unsayable, What, Wording, parse_json,
};
use shadow::{Refusal, SHADOWS, Shadow, Update};
use topic::{Job, Topic, Verb};

/// Of how many shadows it is remembered which version they have.
const VERSIONS_MAX: usize = 256;
/// The longest `clientToken`, in bytes (the service's own bound).
const TOKEN_LENGTH_MAX: usize = 64;
/// The longest reason of a command's failure, in characters.
const REASON_LENGTH_MAX: usize = 1_024;

/// Marks the correlation of a question for what differs.
const DELTA: char = '+';
/// Marks that of a question for what was before an update.
const BEFORE: char = '<';
/// Marks that of a question for what is after it.
const AFTER: char = '>';

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Aws {
    /// The thing that was heard last: mostly the only one.
    thing: Option<String>,
    /// By the topic of the shadow.
    versions: HashMap<String, i64>,
    /// When something was heard last.
    now: i64,
    /// How the shadow stood that is being updated.
    before: Option<Standing>,
}

/// A shadow as it stood before an update.
#[derive(Debug)]
struct Standing {
    topic: String,
    version: Option<i64>,
    document: Value,
}

impl Dialect for Aws {
    fn hear<'a>(&mut self, topic: &'a str, payload: &'a [u8], now: i64) -> Result<Vec<Said<'a>>, Unread> {
        let Some(Topic { thing, verb }) = Topic::parse(topic) else { return Ok(Vec::new()) };
        self.now = now;
        self.thing = Some(thing.to_owned());
        let whats = match verb {
            Verb::Update(shadow) => self.update(&shadow, payload),
            Verb::Get(shadow) => {
                let token = parse_json(payload).ok().and_then(|document| token(document.as_object()?));
                vec![ask(&shadow, Question::All, token)]
            }
            Verb::Delete(shadow) => self.delete(&shadow, payload),
            Verb::Job(job) => vec![What::Reply(self.no_job(topic, job, payload))],
            Verb::Response(id) => return answered(thing, topic, id, payload),
        };
        Ok(whats.into_iter().map(|what| said(thing, what)).collect())
    }

    /// An execution of AWS IoT's commands: whoever listens there answers.
    fn command(&mut self, device: Option<&str>, command: Command<'_>) -> Result<Wording, Unsayable> {
        let thing = device.or(self.thing.as_deref()).filter(|thing| topic::is_thing(thing)).ok_or(
            Unsayable(Cow::Borrowed("it is not known which thing this is: it has not said anything yet")),
        )?;
        let topic = format!("$aws/commands/things/{thing}/executions/{}/request/json", command.id);
        let payload = json!({ "name": command.name, "params": command.params });
        Ok(Wording { messages: vec![outgoing(topic, &payload)], answer: Awaited::Answer })
    }

    fn twin(&mut self, device: Option<&str>, twin: Twin<'_>, reason: &TwinReason) -> Vec<Outgoing> {
        // The versions of a server that was started just now begin here, too.
        self.now = self.now.max(twin.now);
        match reason {
            TwinReason::Asked(request) => self.answer(twin, request).into_iter().collect(),
            TwinReason::Changed => {
                let thing = device.or(self.thing.as_deref()).filter(|thing| topic::is_thing(thing));
                thing.map(str::to_owned).map(|thing| self.deltas(&thing, twin)).unwrap_or_default()
            }
        }
    }
}

impl Aws {
    fn update(&mut self, shadow: &Shadow<'_>, payload: &[u8]) -> Vec<What<'static>> {
        let (document, token) = match parse_json(payload) {
            Ok(Value::Object(document)) => {
                let token = token(&document);
                (document, token)
            }
            _ => (Map::new(), None),
        };
        let current = self.versions.get(&shadow.topic()).copied();
        match shadow::update(shadow, &document, current) {
            Ok(update) => self.take(shadow, update, token),
            Err(refusal) => vec![self.refuse(shadow, "update", &refusal, token)],
        }
    }

    fn take(&mut self, shadow: &Shadow<'_>, update: Update, token: Option<String>) -> Vec<What<'static>> {
        let topic = shadow.topic();
        let version = self.versions.get(&topic).copied();
        self.before = Some(Standing { topic: topic.clone(), version, document: Value::Null });
        let mut answer = json!({
            "metadata": shadow::metadata(&update.state, self.seconds()),
            "state": update.state,
            "version": self.next_version(&topic),
        });
        self.stamp(&mut answer, token.clone());
        let accepted = outgoing(format!("{}/update/accepted", shadow.topic()), &answer);
        let readings = (!update.points.is_empty()).then_some(What::Readings(update.points));
        // A wish that changes is told of anyway.
        let differs = update.desired.is_none().then(|| ask(shadow, Question::Delta, token.clone()));
        let before = ask(shadow, Question::Before, None);
        let state = [Some(before), update.reported.map(What::Reported), update.desired.map(What::Desired)];
        let after = ask(shadow, Question::After, token);
        let rest = [readings, Some(What::Reply(accepted)), Some(after), differs];
        state.into_iter().chain(rest).flatten().collect()
    }

    /// A shadow with a name can go; the twin itself goes with its device.
    fn delete(&mut self, shadow: &Shadow<'_>, payload: &[u8]) -> Vec<What<'static>> {
        let token = parse_json(payload).ok().and_then(|document| token(document.as_object()?));
        let Some(name) = shadow.name else {
            let refusal = Refusal(403, "Forbidden: the classic shadow is the device's twin and goes with it");
            return vec![self.refuse(shadow, "delete", &refusal, token)];
        };
        let mut answer = json!({ "version": self.next_version(&shadow.topic()) });
        self.stamp(&mut answer, token);
        let patch = Map::from_iter([(SHADOWS.to_owned(), json!({ name: null }))]);
        let reply = outgoing(format!("{}/delete/accepted", shadow.topic()), &answer);
        vec![What::Reported(patch.clone()), What::Desired(patch), What::Reply(reply)]
    }

    fn answer(&mut self, twin: Twin<'_>, request: &TwinRequest) -> Option<Outgoing> {
        let (topic, token) = request.correlation.as_deref()?.split_once('\n')?;
        let token = (!token.is_empty()).then(|| token.to_owned());
        let mark = topic.chars().next();
        let topic = topic.trim_start_matches([DELTA, BEFORE, AFTER, ' ']);
        let shadow = Shadow::of_topic(topic)?;
        match mark {
            Some(DELTA) => return self.delta(&shadow, twin, token),
            Some(BEFORE) => {
                let document = self.document(&shadow, twin);
                if let Some(before) = self.before.as_mut().filter(|before| before.topic == topic) {
                    before.document = document;
                }
                return None;
            }
            Some(AFTER) => return self.documents(&shadow, twin, token),
            _ => {}
        }
        let (reported, desired) = (shadow.part(twin.reported), shadow.part(twin.desired));
        if reported.is_empty() && desired.is_empty() {
            let refusal = Refusal(404, "No shadow exists with this name");
            return match self.refuse(&shadow, "get", &refusal, token) {
                What::Reply(reply) => Some(reply),
                _ => None,
            };
        }
        let seconds = self.seconds();
        let (mut state, mut metadata) = (Map::new(), Map::new());
        let delta = shadow::delta(&desired, &reported);
        for (name, part) in [("desired", desired), ("reported", reported), ("delta", delta)] {
            if !part.is_empty() {
                if name != "delta" {
                    metadata.insert(name.to_owned(), shadow::metadata(&part, seconds));
                }
                state.insert(name.to_owned(), Value::Object(part));
            }
        }
        let version = self.versions.get(topic).copied().unwrap_or_else(|| self.next_version(topic));
        let mut answer = json!({ "state": state, "metadata": metadata, "version": version });
        self.stamp(&mut answer, token);
        Some(outgoing(format!("{topic}/get/accepted"), &answer))
    }

    /// State and metadata of a shadow.
    fn document(&self, shadow: &Shadow<'_>, twin: Twin<'_>) -> Value {
        let (mut state, mut metadata) = (Map::new(), Map::new());
        for (name, side) in [("desired", twin.desired), ("reported", twin.reported)] {
            let part = shadow.part(side);
            if !part.is_empty() {
                metadata.insert(name.to_owned(), shadow::metadata(&part, self.seconds()));
                state.insert(name.to_owned(), Value::Object(part));
            }
        }
        json!({ "state": state, "metadata": metadata })
    }

    /// How the shadow was before the update and is after it.
    fn documents(&mut self, shadow: &Shadow<'_>, twin: Twin<'_>, token: Option<String>) -> Option<Outgoing> {
        let topic = shadow.topic();
        let mut before = self.before.take().filter(|before| before.topic == topic)?;
        let version = self.versions.get(&topic).copied()?;
        let mut current = self.document(shadow, twin);
        let versions = [(&mut before.document, before.version), (&mut current, Some(version))];
        for (document, version) in versions {
            if let Some((members, version)) = document.as_object_mut().zip(version) {
                members.insert("version".to_owned(), version.into());
            }
        }
        let mut answer = json!({ "previous": before.document, "current": current });
        self.stamp(&mut answer, token);
        Some(outgoing(format!("{topic}/update/documents"), &answer))
    }

    /// What is wished and not yet so, of each shadow.
    fn deltas(&mut self, thing: &str, twin: Twin<'_>) -> Vec<Outgoing> {
        let named = twin.desired.get(SHADOWS).and_then(Value::as_object);
        let names = named.into_iter().flat_map(Map::keys).map(String::as_str);
        let names = names.filter(|name| topic::is_shadow(name)).map(Some);
        let mut said = Vec::new();
        for name in [None].into_iter().chain(names) {
            let shadow = Shadow { thing, name };
            said.extend(self.delta(&shadow, twin, None));
        }
        said
    }

    fn delta(&mut self, shadow: &Shadow<'_>, twin: Twin<'_>, token: Option<String>) -> Option<Outgoing> {
        let delta = shadow::delta(&shadow.part(twin.desired), &shadow.part(twin.reported));
        if delta.is_empty() {
            return None;
        }
        let mut document = json!({
            "version": self.next_version(&shadow.topic()),
            "metadata": shadow::metadata(&delta, self.seconds()),
            "state": delta,
        });
        self.stamp(&mut document, token);
        Some(outgoing(format!("{}/update/delta", shadow.topic()), &document))
    }

    /// Commands come as executions of commands, never as jobs.
    fn no_job(&self, topic: &str, job: Job, payload: &[u8]) -> Outgoing {
        let token = parse_json(payload).ok().and_then(|document| token(document.as_object()?));
        let (verdict, mut answer) = match job {
            Job::List => ("accepted", json!({ "inProgressJobs": [], "queuedJobs": [] })),
            Job::Next => ("accepted", json!({})),
            Job::One => {
                ("rejected", json!({ "code": "ResourceNotFound", "message": "there are no jobs here" }))
            }
        };
        self.stamp(&mut answer, token);
        outgoing(format!("{topic}/{verdict}"), &answer)
    }

    fn refuse(
        &self,
        shadow: &Shadow<'_>,
        verb: &str,
        refusal: &Refusal,
        token: Option<String>,
    ) -> What<'static> {
        let mut answer = json!({ "code": refusal.0, "message": refusal.1 });
        self.stamp(&mut answer, token);
        What::Reply(outgoing(format!("{}/{verb}/rejected", shadow.topic()), &answer))
    }

    fn stamp(&self, answer: &mut Value, token: Option<String>) {
        let Some(answer) = answer.as_object_mut() else { return };
        answer.insert("timestamp".to_owned(), self.seconds().into());
        if let Some(token) = token {
            answer.insert("clientToken".to_owned(), token.into());
        }
    }

    fn next_version(&mut self, topic: &str) -> i64 {
        if self.versions.len() >= VERSIONS_MAX && !self.versions.contains_key(topic) {
            self.versions.clear();
        }
        let seconds = self.seconds();
        let version = self.versions.entry(topic.to_owned()).or_default();
        *version = version.saturating_add(1).max(seconds);
        *version
    }

    fn seconds(&self) -> i64 {
        self.now.div_euclid(1_000)
    }
}

/// What is wanted of the twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    All,
    /// What is wished and not yet so, if anything.
    Delta,
    /// How it is, before an update changes it; nothing is said of it yet.
    Before,
    /// What the update made of it.
    After,
}

/// The answer comes from [`Aws::answer`], which needs all of this again.
fn ask(shadow: &Shadow<'_>, question: Question, token: Option<String>) -> What<'static> {
    let mark = match question {
        Question::All => ' ',
        Question::Delta => DELTA,
        Question::Before => BEFORE,
        Question::After => AFTER,
    };
    let correlation = Some(format!("{mark}{}\n{}", shadow.topic(), token.unwrap_or_default()));
    What::AsksTwin(TwinRequest { correlation, ..TwinRequest::default() })
}

fn answered<'a>(thing: &'a str, topic: &str, id: &str, payload: &[u8]) -> Result<Vec<Said<'a>>, Unread> {
    let response = parse_json(payload)?;
    let status = response.get("status").and_then(Value::as_str);
    let reason = response.get("statusReason").and_then(|reason| {
        let words = reason.get("reasonDescription").or_else(|| reason.get("reasonCode"))?.as_str()?;
        Some(words.chars().take(REASON_LENGTH_MAX).collect::<String>())
    });
    let outcome = match status {
        Some("SUCCEEDED") => Ok(response.get("result").cloned().unwrap_or_default()),
        Some("IN_PROGRESS") => return Ok(Vec::new()),
        Some(status @ ("FAILED" | "REJECTED" | "TIMED_OUT")) => {
            Err(reason.unwrap_or_else(|| status.to_owned()))
        }
        _ => return Err(Unread(Cow::Borrowed("a response has a status such as SUCCEEDED or FAILED"))),
    };
    let answer = Answer { id: Some(id.to_owned()), name: None, outcome };
    let accepted = topic.replace("/response/json", "/response/accepted/json");
    let reply = outgoing(accepted, &json!({ "executionId": id }));
    Ok(vec![said(thing, What::Answer(answer)), said(thing, What::Reply(reply))])
}

fn token(document: &Map<String, Value>) -> Option<String> {
    let token = document.get("clientToken")?.as_str()?;
    (token.len() <= TOKEN_LENGTH_MAX).then(|| token.to_owned())
}

fn said<'a>(thing: &'a str, what: What<'a>) -> Said<'a> {
    Said { about: About::Named(Cow::Borrowed(thing)), what }
}

fn outgoing(topic: String, payload: &Value) -> Outgoing {
    Outgoing { topic, payload: payload.to_string().into_bytes(), retain: false }
}

#[cfg(test)]
mod tests;
