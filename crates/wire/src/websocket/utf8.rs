//! UTF-8 that arrives in pieces, cut anywhere.

/// What has come of a character that is not complete yet.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Utf8 {
    bytes: [u8; 4],
    length: u8,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotUtf8;

impl Utf8 {
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), NotUtf8> {
        let mut rest = piece;
        while self.length > 0 {
            let Some((byte, after)) = rest.split_first() else {
                return Ok(());
            };
            rest = after;
            self.keep(*byte)?;
            let begun = self.bytes.get(..usize::from(self.length)).ok_or(NotUtf8)?;
            match std::str::from_utf8(begun) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() => return Err(NotUtf8),
                Err(_) => {}
            }
        }
        if let Err(error) = std::str::from_utf8(rest) {
            if error.error_len().is_some() {
                return Err(NotUtf8);
            }
            for byte in rest.get(error.valid_up_to()..).unwrap_or_default() {
                self.keep(*byte)?;
            }
        }
        Ok(())
    }

    /// At the end of a message no character may be missing bytes.
    pub(crate) fn finish(&mut self) -> Result<(), NotUtf8> {
        if self.length == 0 {
            return Ok(());
        }
        Err(NotUtf8)
    }

    fn keep(&mut self, byte: u8) -> Result<(), NotUtf8> {
        let place = self.bytes.get_mut(usize::from(self.length)).ok_or(NotUtf8)?;
        *place = byte;
        self.length = self.length.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{NotUtf8, Utf8};
    use proptest::prelude::{any, prop, proptest};

    fn whole(pieces: &[&[u8]]) -> Result<(), NotUtf8> {
        let mut utf8 = Utf8::default();
        for piece in pieces {
            utf8.push(piece)?;
        }
        utf8.finish()
    }

    #[test]
    fn a_character_may_be_cut_anywhere() {
        assert_eq!(whole(&[b"\xf0", b"", b"\x9f\x98", b"\x80x"]), Ok(()));
        assert_eq!(whole(&[b"\xf0\x9f\x98"]), Err(NotUtf8));
        // A surrogate half, an overlong form and a too large code fail at the second byte.
        for bad in [b"\xed\xa0", b"\xe0\x80", b"\xf4\x90", b"\xc3\x28"] {
            let (first, second) = bad.split_at(1);
            let mut utf8 = Utf8::default();
            assert_eq!(utf8.push(first), Ok(()));
            assert_eq!(utf8.push(second), Err(NotUtf8));
        }
    }

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_whole(
            text in any::<String>(), noise in prop::collection::vec(any::<u8>(), 0..3),
            at in any::<prop::sample::Index>(), size in 1_usize..5,
        ) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, noise);
            let pieces: Vec<_> = bytes.chunks(size).collect();
            assert_eq!(whole(&pieces).is_ok(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
