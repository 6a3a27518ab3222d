//! Topic filters (section 4.7.1) and shared subscriptions (section 4.8.2): syntax only.

use super::fault::{self, DecodeError};

/// Share name and filter of `$share/{name}/{filter}`; `None` for an ordinary subscription.
/// The text should have passed [`check`].
#[must_use]
pub fn shared(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix("$share/")?.split_once('/')
}

/// Is this a well-formed topic filter, shared or not?
///
/// # Errors
/// Malformed packet (0x81), with the statement that is broken. U+0000 is for the decoder to find,
/// and bounds on length and levels are [`super::Limits::allow_topic`].
pub fn check(filter: &str) -> Result<(), DecodeError> {
    if let Some(rest) = filter.strip_prefix("$share/") {
        let (name, filter) = rest.split_once('/').ok_or(&fault::SHARE_WITHOUT_FILTER)?;
        if name.is_empty() || name.contains(['+', '#']) {
            return Err((&fault::SHARE_NAME).into());
        }
        if filter.is_empty() {
            return Err((&fault::SHARE_WITHOUT_FILTER).into());
        }
        return check_levels(filter);
    }
    if filter == "$share" {
        return Err((&fault::SHARE_WITHOUT_FILTER).into());
    }
    check_levels(filter)
}

fn check_levels(filter: &str) -> Result<(), DecodeError> {
    if filter.is_empty() {
        return Err((&fault::FILTER_EMPTY).into());
    }
    let before_last = filter.strip_suffix('#').unwrap_or(filter);
    if before_last.contains('#') {
        return Err((&fault::FILTER_HASH).into());
    }
    if before_last.len() < filter.len() && !before_last.is_empty() && !before_last.ends_with('/') {
        return Err((&fault::FILTER_HASH).into());
    }
    if filter.split('/').any(|level| level.len() > 1 && level.contains('+')) {
        return Err((&fault::FILTER_PLUS).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check, shared};
    use crate::mqtt::{ReasonCode, Version};

    #[test]
    fn well_formed_filters_pass() {
        for filter in [
            "a",
            "/",
            "//",
            "#",
            "+",
            "a/#",
            "+/+",
            "/+",
            "+/a/#",
            "$SYS/#",
            " ",
            "$share/g/t",
            "$share/g/#",
            "$share/g//",
            "$shared/x",
        ] {
            assert_eq!(check(filter), Ok(()), "{filter}");
        }
    }

    fn assert_refused(filter: &str, statement: &str) {
        let error = check(filter).unwrap_err();
        assert_eq!(error.reason(), ReasonCode::MalformedPacket, "{filter}");
        assert_eq!(error.statement(Version::V5), statement, "{filter}");
    }

    #[test]
    fn m_55_misplaced_wildcards_are_malformed() {
        for filter in ["a/#/b", "a#", "#/", "##", "a/b#"] {
            assert_refused(filter, "MQTT-4.7.1-1");
        }
        for filter in ["+a", "a+", "a/+b/c", "++"] {
            assert_refused(filter, "MQTT-4.7.1-2");
        }
        assert_refused("", "MQTT-4.7.3-1");
    }

    #[test]
    fn m_56_broken_share_names_are_malformed() {
        assert_refused("$share//t", "MQTT-4.8.2-1");
        assert_refused("$share/+/t", "MQTT-4.8.2-1");
        assert_refused("$share/a#/t", "MQTT-4.8.2-1");
        assert_refused("$share/g", "MQTT-4.8.2-2");
        assert_refused("$share/g/", "MQTT-4.8.2-2");
        assert_refused("$share", "MQTT-4.8.2-2");
        assert_refused("$share/g/a#", "MQTT-4.7.1-1");
    }

    #[test]
    fn a_shared_filter_is_told_from_its_share_name() {
        assert_eq!(shared("$share/group/a/b"), Some(("group", "a/b")));
        assert_eq!(shared("a/b"), None);
    }
}
