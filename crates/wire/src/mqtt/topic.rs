//! Topic names (section 4.7): what may be published to.

/// Not empty, no wildcard, no U+0000. Bounds on length and levels are [`super::Limits`].
#[must_use]
pub fn name_is_valid(name: &str) -> bool {
    !name.is_empty() && !has_wildcard(name) && !name.as_bytes().contains(&0)
}

/// Is there a `+` or `#` anywhere?
pub(super) fn has_wildcard(name: &str) -> bool {
    // No early exit: the loop then compiles to wide comparisons.
    name.bytes().fold(false, |found, byte| found | (byte == b'+') | (byte == b'#'))
}
