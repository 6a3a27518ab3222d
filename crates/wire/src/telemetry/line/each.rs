//! Lines one by one, where those that cannot be read do not keep the others from being taken, and a
//! tag may say whose a line is.

use super::{Cursor, Precision, read_line};
use crate::telemetry::{Limits, Point, TelemetryError, TelemetryErrorKind};
use std::borrow::Cow;

/// The tags that may name a device, the first that does so first.
const NAMING_TAGS: [&str; 2] = ["device", "host"];

/// Whether a tag, by name and value, says whose a line is.
pub type Naming<'n> = &'n dyn Fn(&str, &str) -> bool;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// The value of the tag `device` or `host` that names its device; that tag is in no key.
    pub device: Option<String>,
    pub points: Vec<Point<'a>>,
}

/// See [`lines`].
pub struct Lines<'a, 'n> {
    cursor: Cursor<'a>,
    precision: Precision,
    limits: Limits,
    naming: Naming<'n>,
    number: usize,
    counted_to: usize,
}

/// The lines of a text with their numbers from 1, each with its points as [`super::line`] reads them, or
/// with what is wrong with it. `naming` is asked about the tags `device` and `host`.
///
/// # Errors
/// The text is not UTF-8.
pub fn lines<'a, 'n>(
    bytes: &'a [u8],
    precision: Precision,
    limits: &Limits,
    naming: Naming<'n>,
) -> Result<Lines<'a, 'n>, TelemetryError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        TelemetryError::new(TelemetryErrorKind::Syntax, error.valid_up_to(), "is not UTF-8")
    })?;
    let cursor = Cursor { text, at: 0 };
    Ok(Lines { cursor, precision, limits: limits.clone(), naming, number: 1, counted_to: 0 })
}

impl<'a> Iterator for Lines<'a, '_> {
    type Item = (usize, Result<Line<'a>, TelemetryError>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.cursor.skip_any_of(b" \t\r\n");
            match self.cursor.peek()? {
                b'#' => self.cursor.skip_line(),
                _ => break,
            }
        }
        let passed = self.cursor.text.as_bytes().get(self.counted_to..self.cursor.at).unwrap_or_default();
        self.number += passed.iter().filter(|byte| **byte == b'\n').count();
        self.counted_to = self.cursor.at;
        let mut points = Vec::new();
        let rules = (&self.limits, Some(self.naming));
        let read = match read_line(&mut self.cursor, self.precision, rules, &mut points) {
            Ok(device) => Ok(Line { device, points }),
            Err(error) => {
                // What is wrong may be wrong in many ways: the next line begins at the next line end.
                self.cursor.at = self.counted_to;
                self.cursor.skip_line();
                Err(error)
            }
        };
        Some((self.number, read))
    }
}

/// Takes the tag that names the device out of the tags.
pub(super) fn named(tags: &mut Vec<(Cow<'_, str>, Cow<'_, str>)>, naming: Naming<'_>) -> Option<String> {
    for name in NAMING_TAGS {
        let place = tags.iter().position(|(tag, value)| tag == name && naming(name, value));
        if let Some(place) = place {
            return Some(tags.remove(place).1.into_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, naming: Naming<'_>) -> Vec<(usize, Option<String>, Vec<String>)> {
        let lines = lines(text.as_bytes(), Precision::Seconds, &Limits::default(), naming).unwrap();
        lines
            .map(|(number, line)| match line {
                Ok(line) => {
                    let keys = line.points.iter().map(|point| point.key.to_string()).collect();
                    (number, line.device, keys)
                }
                Err(_) => (number, None, Vec::new()),
            })
            .collect()
    }

    #[test]
    fn a_tag_that_names_the_device_is_in_no_key() {
        let text = "m,device=a,host=h,t=1 x=1\nm,host=h x=1\nm,t=1 x=1";
        let device = |name: &str| Some(name.to_owned());
        let key = |key: &str| vec![key.to_owned()];
        assert_eq!(
            read(text, &|_, _| true),
            [
                (1, device("a"), key("m.host=h.t=1.x")),
                (2, device("h"), key("m.x")),
                (3, None, key("m.t=1.x"))
            ]
        );
        assert_eq!(
            read(text, &|_, value| value == "h"),
            [
                (1, device("h"), key("m.device=a.t=1.x")),
                (2, device("h"), key("m.x")),
                (3, None, key("m.t=1.x"))
            ]
        );
        assert_eq!(read("m,host=h x=1", &|_, _| false), [(1, None, key("m.host=h.x"))]);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_numbered_and_the_others_are_read() {
        let text = "# first\n\nm x=1\nnonsense\nm x=\"a\nb\",y=1\nm x=\nm z=1 7\r\nm z=1 7 8\n";
        let read = read(text, &|_, _| false);
        let summary: Vec<(usize, usize)> =
            read.iter().map(|(number, _, keys)| (*number, keys.len())).collect();
        assert_eq!(summary, [(3, 1), (4, 0), (5, 2), (7, 0), (8, 1), (9, 0)]);
        assert!(lines(b"m x=\xff", Precision::Seconds, &Limits::default(), &|_, _| false).is_err());
    }
}
