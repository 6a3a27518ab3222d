//! What a message's metrics say, with what the birth said of them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::dataset;
use super::payload::{METRICS_MAX, Metric, Payload, Raw, template};
use super::value::scalar;
use crate::dialect::{Description, KeyDescription, Unread, What};
use crate::telemetry::{Limits, Point, Value};

pub(super) const REBIRTH: &str = "Node Control/Rebirth";
pub(super) const BIRTH_DEATH: &str = "bdSeq";
/// Controls of a node are written and say nothing.
const CONTROL: &str = "Node Control/";
/// Metrics that say what the device is.
const PROPERTY: &str = "Properties/";
const LABELS_MAX: usize = 16;
/// Templates inside one another.
const TEMPLATE_DEPTH_MAX: usize = 4;

/// What a birth said of a metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) datatype: Option<u32>,
    pub(super) is_read_only: bool,
}

/// What a birth said of a node or a device.
#[derive(Debug, Default)]
pub(super) struct Born {
    pub(super) metrics: HashMap<String, Known>,
    aliases: HashMap<u64, String>,
}

impl Born {
    /// Of a birth's payload, and what it tells people.
    pub(super) fn of(payload: &Payload<'_>, name: &str) -> Result<(Self, Description), Unread> {
        let mut born = Self::default();
        let mut about = Description { name: Some(name.to_owned()), ..Description::default() };
        for metric in &payload.metrics {
            let Some(name) = metric.name else {
                return Err(Unread(Cow::Borrowed("a metric of a birth has no name")));
            };
            check_name(name)?;
            if let Some(alias) = metric.alias
                && born.aliases.insert(alias, name.to_owned()).is_some()
            {
                return Err(Unread(Cow::Owned(format!("the alias {alias} is given twice in one birth"))));
            }
            let is_read_only = metric.properties.is_read_only;
            born.metrics.insert(name.to_owned(), Known { datatype: metric.datatype, is_read_only });
            match (name.strip_prefix(PROPERTY), metric.value) {
                (Some(label), Some(Raw::Text(text))) if about.labels.len() < LABELS_MAX => {
                    about.labels.push((label.to_owned(), text.to_owned()));
                }
                _ => {}
            }
            if name != BIRTH_DEATH && !name.starts_with(CONTROL) {
                about.keys.push(KeyDescription {
                    key: name.to_owned(),
                    name: None,
                    unit: metric.properties.unit.map(str::to_owned),
                    written_by: (!is_read_only).then(|| name.to_owned()),
                });
            }
        }
        Ok((born, about))
    }
}

/// What a payload says.
#[derive(Debug, Default)]
pub(super) struct Heard<'a> {
    points: Vec<Point<'a>>,
    events: Vec<(String, Cow<'a, [u8]>)>,
    doubtful: Vec<Cow<'a, str>>,
    /// A metric that cannot be read without a birth that names it.
    pub(super) is_foreign: bool,
}

impl<'a> Heard<'a> {
    pub(super) fn of(payload: Payload<'a>, born: Option<&Born>) -> Result<Self, Unread> {
        let mut heard = Self::default();
        for metric in payload.metrics {
            let of_alias = || born?.aliases.get(&metric.alias?).cloned().map(Cow::Owned);
            let Some(name) = metric.name.map(Cow::Borrowed).or_else(of_alias) else {
                heard.is_foreign = true;
                continue;
            };
            if *name == *BIRTH_DEATH || name.starts_with(CONTROL) {
                continue;
            }
            let known = born.and_then(|born| born.metrics.get(&*name));
            let datatype = metric.datatype.or_else(|| known?.datatype);
            if datatype.is_none() && matches!(metric.value, Some(Raw::Int(_) | Raw::Long(_))) {
                // Nobody can say whether the number is negative.
                heard.is_foreign = true;
                continue;
            }
            let ts = metric.timestamp.or(payload.timestamp).and_then(|ts| i64::try_from(ts).ok());
            if metric.properties.is_doubtful {
                heard.doubtful.push(name.clone());
            }
            heard.take(name, Metric { datatype, ..metric }, ts, TEMPLATE_DEPTH_MAX)?;
        }
        Ok(heard)
    }

    // Recursion is bounded by `depth`.
    fn take(
        &mut self,
        key: Cow<'a, str>,
        metric: Metric<'a>,
        ts: Option<i64>,
        depth: usize,
    ) -> Result<(), Unread> {
        check_name(&key)?;
        let value = match metric.value {
            _ if metric.is_null => Value::Gap,
            None => return Ok(()),
            Some(Raw::Bytes(bytes)) => return self.event(&key, Cow::Borrowed(bytes)),
            Some(Raw::DataSet(bytes)) => {
                let table = dataset::json(bytes)?.to_string().into_bytes();
                return self.event(&key, Cow::Owned(table));
            }
            Some(Raw::Template(bytes)) => {
                let Some(depth) = depth.checked_sub(1) else {
                    return Err(Unread(Cow::Borrowed("templates are nested too deep")));
                };
                for inner in template(bytes)?.unwrap_or_default() {
                    let name =
                        inner.name.ok_or(Unread(Cow::Borrowed("a metric of a template has no name")))?;
                    let key = Cow::Owned(format!("{key}/{name}"));
                    let ts = inner.timestamp.and_then(|ts| i64::try_from(ts).ok()).or(ts);
                    self.take(key, inner, ts, depth)?;
                }
                return Ok(());
            }
            Some(raw) => {
                let Some(value) = scalar(metric.datatype, raw) else { return Ok(()) };
                value
            }
        };
        if let Value::Text(text) = &value {
            Limits::default().check_text(text, 0).map_err(|error| Unread(error.detail))?;
        }
        self.check_count()?;
        self.points.push(Point { key, ts, value });
        Ok(())
    }

    fn event(&mut self, key: &str, payload: Cow<'a, [u8]>) -> Result<(), Unread> {
        self.check_count()?;
        self.events.push((key.replace(['/', '+', '#'], "."), payload));
        Ok(())
    }

    fn check_count(&self) -> Result<(), Unread> {
        if self.points.len().saturating_add(self.events.len()) < METRICS_MAX {
            return Ok(());
        }
        Err(Unread(Cow::Owned(format!("a payload may have at most {METRICS_MAX} metrics"))))
    }

    pub(super) fn into_said(self) -> impl Iterator<Item = What<'a>> {
        let readings = (!self.points.is_empty()).then_some(What::Readings(self.points));
        let events = self.events.into_iter();
        let events = events.map(|(name, payload)| What::Event { name: Cow::Owned(name), payload });
        let stale = (!self.doubtful.is_empty()).then_some(What::Stale(self.doubtful));
        readings.into_iter().chain(events).chain(stale)
    }
}

fn check_name(name: &str) -> Result<(), Unread> {
    Limits::default().check_key(name, 0).map_err(|error| Unread(error.detail))
}
