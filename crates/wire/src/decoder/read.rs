//! A frame to points.

use std::borrow::Cow;

use super::condition::{Condition, Of, Wanted};
use super::field::{At, Field, Raw, Usage};
use super::number::integer;
use super::text::hex;
use super::{DecodeError, Decoder, Frame, GROUPS_OF_FRAME_MAX, Tagged};
use crate::telemetry::{Limits, Point, Value};

impl Decoder {
    /// What the frame says, in the order of the fields. Values that are said to be missing, NaN and
    /// infinities are gaps. What stands behind the last field does not count.
    ///
    /// # Errors
    /// [`DecodeError`]: a field reaches behind the frame's end, cannot be read or gives a key again,
    /// a tag is not known, or nothing of the decoder applies.
    pub fn decode<'a>(&'a self, frame: &Frame<'a>, limits: &Limits) -> Result<Vec<Point<'a>>, DecodeError> {
        let mut reading = Reading {
            frame: *frame,
            limits,
            slots: vec![None; self.slots],
            given: vec![false; self.keys],
            points: Vec::new(),
            ts: None,
        };
        let end = reading.fields(&self.fields, 0)?;
        if let Some(tagged) = &self.tagged {
            reading.groups(tagged, end)?;
        }
        if reading.points.is_empty() {
            let length = frame.bytes.len();
            let port = frame.port.map(|port| format!(" on port {port}")).unwrap_or_default();
            let detail = format!("no field of the decoder applies to this frame of {length} bytes{port}");
            return Err(DecodeError { field: None, offset: 0, detail });
        }
        let Reading { mut points, ts, .. } = reading;
        points.iter_mut().for_each(|point| point.ts = ts);
        Ok(points)
    }
}

/// How far the reading of a frame has come.
struct Reading<'a, 'l> {
    frame: Frame<'a>,
    limits: &'l Limits,
    /// What each field read.
    slots: Vec<Option<Raw<'a>>>,
    /// Which keys have their value.
    given: Vec<bool>,
    points: Vec<Point<'a>>,
    ts: Option<i64>,
}

impl<'a> Reading<'a, '_> {
    /// Reads a list whose bytes begin at `base`; gives where they end.
    fn fields(&mut self, fields: &'a [Field], base: usize) -> Result<usize, DecodeError> {
        let (mut after, mut furthest) = (base, base);
        for field in fields {
            if !field.when.iter().all(|condition| self.holds(condition, base)) {
                continue;
            }
            let start = match field.at {
                At::After => after,
                At::Start(offset) => base.saturating_add(offset),
                At::End(before) => self.frame.bytes.len().checked_sub(before).ok_or_else(|| {
                    let length = self.frame.bytes.len();
                    let detail = format!("begins {before} bytes before the end of a frame of {length} bytes");
                    fault(field, 0, detail)
                })?,
            };
            let bytes = self.bytes(field, start)?;
            if !matches!(field.at, At::End(_)) {
                after = start.saturating_add(bytes.len());
                furthest = furthest.max(after);
            }
            let raw = field.read(bytes).map_err(|detail| {
                fault(field, start, format!("{detail}: {} from byte {start}", hex(bytes)))
            })?;
            self.take(field, &raw, start)?;
            if let Some(slot) = self.slots.get_mut(field.slot) {
                *slot = Some(raw);
            }
        }
        Ok(furthest)
    }

    fn bytes(&self, field: &Field, start: usize) -> Result<&'a [u8], DecodeError> {
        let rest = self.frame.bytes.get(start..);
        let length = field.kind.length().unwrap_or_else(|| rest.map_or(0, <[u8]>::len));
        rest.and_then(|rest| rest.get(..length)).ok_or_else(|| {
            let end = start.saturating_add(length).saturating_sub(1);
            let wanted = if length > 1 { format!("bytes {start} to {end}") } else { format!("byte {start}") };
            let count = self.frame.bytes.len();
            let unit = if count == 1 { "byte" } else { "bytes" };
            let detail = format!("needs {wanted}, but the frame ends after {count} {unit}");
            fault(field, count, detail)
        })
    }

    fn holds(&self, condition: &Condition, base: usize) -> bool {
        let any = |raw: &Raw<'_>| condition.equals.iter().any(|wanted: &Wanted| wanted.is(raw));
        match &condition.of {
            Of::Port => self.frame.port.is_some_and(|port| any(&Raw::Integer(port.into()))),
            Of::Field(slots) => {
                // What was read last under this key.
                let found = slots.iter().rev().find_map(|slot| self.slots.get(*slot)?.as_ref());
                found.is_some_and(any)
            }
            Of::Byte(at) => {
                let place = match usize::try_from(*at) {
                    Ok(offset) => base.checked_add(offset),
                    Err(_from_the_end) => usize::try_from(at.unsigned_abs())
                        .ok()
                        .and_then(|before| self.frame.bytes.len().checked_sub(before)),
                };
                let byte = place.and_then(|place| self.frame.bytes.get(place));
                byte.is_some_and(|byte| any(&Raw::Integer((*byte).into())))
            }
        }
    }

    /// Makes of what was read what the field is for.
    fn take(&mut self, field: &'a Field, raw: &Raw<'a>, start: usize) -> Result<(), DecodeError> {
        let unit = match field.usage {
            Usage::Hidden => return Ok(()),
            Usage::Value => return self.point(field, raw, start),
            Usage::Seconds => 1_000,
            Usage::Milliseconds => 1,
        };
        if is_missing(field, raw) {
            return Ok(());
        }
        let ts = match value(field, raw) {
            Value::Integer(time) => time.checked_mul(unit),
            _ => None,
        };
        self.ts = Some(ts.ok_or_else(|| fault(field, start, "this is no time".to_owned()))?);
        Ok(())
    }

    fn point(&mut self, field: &'a Field, raw: &Raw<'a>, start: usize) -> Result<(), DecodeError> {
        let too_large = |error: crate::telemetry::TelemetryError| fault(field, start, error.detail.into());
        if let Raw::Text(text) = raw {
            self.limits.check_text(text, start).map_err(too_large)?;
        }
        self.limits.check_points(self.points.len(), start).map_err(too_large)?;
        match self.given.get_mut(field.key_number) {
            Some(given) if !*given => *given = true,
            _ => return Err(fault(field, start, format!("comes a second time at byte {start}"))),
        }
        let value = if is_missing(field, raw) { Value::Gap } else { value(field, raw) };
        self.points.push(Point { key: Cow::Borrowed(&field.key), ts: None, value });
        Ok(())
    }

    /// Reads groups until the frame ends.
    fn groups(&mut self, tagged: &'a Tagged, start: usize) -> Result<(), DecodeError> {
        let (mut at, mut count) = (start, 0);
        loop {
            let rest = self.frame.bytes.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            let wrong = |detail: String| Err(DecodeError { field: None, offset: at, detail });
            let Some(tag) = rest.get(..tagged.length) else {
                return wrong(format!(
                    "a tag has {} bytes, but {} follow byte {at}",
                    tagged.length,
                    rest.len()
                ));
            };
            let found = tagged.groups.binary_search_by(|group| group.tag.as_slice().cmp(tag));
            let Some(group) = found.ok().and_then(|place| tagged.groups.get(place)) else {
                return wrong(format!("the decoder knows no tag {} (at byte {at})", hex(tag)));
            };
            count += 1;
            if count > GROUPS_OF_FRAME_MAX {
                return wrong(format!("a frame has at most {GROUPS_OF_FRAME_MAX} groups"));
            }
            for field in &group.fields {
                if let Some(slot) = self.slots.get_mut(field.slot) {
                    *slot = None;
                }
            }
            at = self.fields(&group.fields, at.saturating_add(tagged.length))?;
        }
    }
}

fn is_missing(field: &Field, raw: &Raw<'_>) -> bool {
    matches!(raw, Raw::Integer(number) if field.missing.contains(number))
}

fn value<'a>(field: &Field, raw: &Raw<'a>) -> Value<'a> {
    match (raw, field.linear) {
        (Raw::Integer(number), Some(linear)) => linear.of_integer(*number),
        (Raw::Integer(number), None) => integer(*number).unwrap_or(Value::Gap),
        (Raw::Float(number), Some(linear)) => linear.of_float(*number),
        (Raw::Float(number), None) if number.is_finite() => Value::Number(*number),
        (Raw::Float(_), None) => Value::Gap,
        (Raw::Boolean(value), _) => Value::Boolean(*value),
        (Raw::Text(text), _) => Value::Text(text.clone()),
    }
}

fn fault(field: &Field, offset: usize, detail: String) -> DecodeError {
    DecodeError { field: Some(field.key.clone()), offset, detail }
}
