//! Lists as they are answered.

use serde::Serialize;

/// One page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// The next call's `cursor`; null at the end.
    pub(crate) next: Option<String>,
}

impl<T> Page<T> {
    /// Cuts a page out of a list whose items have names in rising order.
    pub(crate) fn cut(
        items: Vec<T>,
        (limit, cursor): (usize, Option<&str>),
        name: impl Fn(&T) -> String,
    ) -> Self {
        let mut rest =
            items.into_iter().filter(|item| cursor.is_none_or(|cursor| name(item).as_str() > cursor));
        let items: Vec<T> = rest.by_ref().take(limit).collect();
        let next = rest.next().and_then(|_| items.last().map(&name));
        Self { items, next }
    }
}
