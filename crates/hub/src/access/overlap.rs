//! How two topic filters stand to each other.

use crate::topic::TopicFilter;

/// Whether every topic that `inner` matches is matched by `outer` too. Filters for `$…` aside, which
/// are asked about before.
pub(super) fn covers(outer: &TopicFilter, inner: &TopicFilter) -> bool {
    let mut inner = inner.as_str().split('/');
    for wanted in outer.as_str().split('/') {
        if wanted == "#" {
            return true;
        }
        match inner.next() {
            Some("#") | None => return false,
            Some(level) if wanted == "+" || wanted == level => {}
            Some(_) => return false,
        }
    }
    inner.next().is_none()
}

/// Whether there can be a topic that both match.
pub(super) fn overlaps(one: &TopicFilter, other: &TopicFilter) -> bool {
    let (mut one, mut other) = (one.as_str().split('/'), other.as_str().split('/'));
    loop {
        match (one.next(), other.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(left), Some(right)) if left == "+" || right == "+" || left == right => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    #[test]
    fn a_filter_covers_what_can_only_be_narrower() {
        for (outer, inner) in [("#", "a/b"), ("a/#", "a"), ("a/#", "a/+/c"), ("+/b", "a/b"), ("a", "a")] {
            assert!(covers(&filter(outer), &filter(inner)), "{outer} {inner}");
        }
        for (outer, inner) in [("a/b", "a/+"), ("a/+", "a/#"), ("a", "a/b"), ("a/b", "a"), ("+", "#")] {
            assert!(!covers(&filter(outer), &filter(inner)), "{outer} {inner}");
        }
    }

    #[test]
    fn filters_overlap_when_a_topic_can_be_in_both() {
        for (one, other) in [("a/+", "+/b"), ("#", "a"), ("a/#", "a"), ("a/#", "+/b/c"), ("a/b", "a/b")] {
            assert!(overlaps(&filter(one), &filter(other)), "{one} {other}");
            assert!(overlaps(&filter(other), &filter(one)), "{other} {one}");
        }
        for (one, other) in [("a", "b"), ("a/+", "a"), ("a/b/#", "a/c"), ("+", "a/b")] {
            assert!(!overlaps(&filter(one), &filter(other)), "{one} {other}");
        }
    }
}
