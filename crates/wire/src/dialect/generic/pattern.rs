//! Topic patterns: a topic filter in which levels may have `{device}`, `{key}` or `{id}`.

/// See the module.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Level>);

#[derive(Debug, PartialEq)]
enum Level {
    Text(String),
    /// `+`
    Any,
    /// `#`
    Rest,
    /// A placeholder, with what stands before and behind it in the level.
    Slot(String, Slot, String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    Device,
    Key,
    Id,
}

/// What stood in a topic for the placeholders.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found<'a> {
    pub(super) device: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    pub(super) id: Option<&'a str>,
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 1_024 {
            return Err("a topic pattern has 1 to 1,024 bytes".to_owned());
        }
        let levels: Vec<Level> = text.split('/').map(level).collect::<Result<_, _>>()?;
        let rest = levels.iter().position(|level| *level == Level::Rest);
        if rest.is_some_and(|place| place + 1 < levels.len()) {
            return Err(format!("{text:?}: `#` is the last level"));
        }
        for slot in [Slot::Device, Slot::Key, Slot::Id] {
            let count =
                levels.iter().filter(|level| matches!(level, Level::Slot(_, one, _) if *one == slot)).count();
            if count > 1 {
                return Err(format!("{text:?} has the same placeholder twice"));
            }
        }
        Ok(Self(levels))
    }

    pub(super) fn has_key(&self) -> bool {
        self.0.iter().any(|level| matches!(level, Level::Slot(_, Slot::Key, _)))
    }

    pub(super) fn matches<'a>(&self, topic: &'a str) -> Option<Found<'a>> {
        let mut found = Found::default();
        let mut said = topic.split('/');
        for level in &self.0 {
            let text = match level {
                Level::Rest => return Some(found),
                _ => said.next()?,
            };
            match level {
                Level::Text(wanted) if wanted == text => {}
                Level::Any => {}
                Level::Slot(before, slot, behind) => {
                    let value = text.strip_prefix(&**before)?.strip_suffix(&**behind)?;
                    let value = Some(value).filter(|value| !value.is_empty())?;
                    match slot {
                        Slot::Device => found.device = Some(value),
                        Slot::Key => found.key = Some(value),
                        Slot::Id => found.id = Some(value),
                    }
                }
                Level::Text(_) | Level::Rest => return None,
            }
        }
        said.next().is_none().then_some(found)
    }
}

fn level(text: &str) -> Result<Level, String> {
    match text {
        "+" => return Ok(Level::Any),
        "#" => return Ok(Level::Rest),
        _ => {}
    }
    if text.contains(['+', '#', '\0']) {
        return Err(format!("{text:?}: `+` and `#` fill a whole level"));
    }
    let Some((before, rest)) = text.split_once('{') else { return Ok(Level::Text(text.to_owned())) };
    let (name, behind) =
        rest.split_once('}').ok_or_else(|| format!("{text:?}: a placeholder ends with `}}`"))?;
    let slot = match name {
        "device" => Slot::Device,
        "key" => Slot::Key,
        "id" => Slot::Id,
        _ => return Err(format!("{text:?}: placeholders are {{device}}, {{key}} and {{id}}")),
    };
    if behind.contains(['{', '}']) {
        return Err(format!("{text:?}: a level has one placeholder at most"));
    }
    Ok(Level::Slot(before.to_owned(), slot, behind.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_take_what_stands_there() {
        let pattern = Pattern::parse("plant/{device}/s-{key}.json").unwrap();
        let found = Found { device: Some("p1"), key: Some("temp"), id: None };
        assert_eq!(pattern.matches("plant/p1/s-temp.json"), Some(found));
        for topic in
            ["plant/p1/s-.json", "plant//s-temp.json", "plant/p1/s-temp", "plant/p1/s-temp.json/x", "plant"]
        {
            assert_eq!(pattern.matches(topic), None, "{topic}");
        }
        let pattern = Pattern::parse("+/{device}/#").unwrap();
        assert_eq!(pattern.matches("a/b/c/d").unwrap().device, Some("b"));
        assert_eq!(pattern.matches("a/b").unwrap().device, Some("b"));
    }

    #[test]
    fn a_pattern_that_cannot_be_says_why() {
        for text in ["", "a/#/b", "a/x+", "a/{device", "a/{name}", "{device}{key}", "{key}/{key}"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
