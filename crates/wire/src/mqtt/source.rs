//! A list that is either still encoded (it was read) or a slice of values (it is to be written).

/// Where the entries of a list come from. Encoded bytes were checked when they were decoded.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a, T> {
    Encoded(&'a [u8]),
    List(&'a [T]),
}

impl<T> Default for Source<'_, T> {
    fn default() -> Self {
        Self::List(&[])
    }
}
