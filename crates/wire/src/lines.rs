//! Lines out of a stream of chunks: NDJSON bodies, devices that speak in lines.

use std::borrow::Cow;

/// Keeps the beginning of a line until its end comes; nothing between lines.
#[derive(Debug)]
pub struct Splitter {
    begun: Vec<u8>,
    length_max: usize,
}

/// A line has more bytes than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {length_max} bytes")]
pub struct LineTooLong {
    pub length_max: usize,
}

impl Splitter {
    /// `length_max` counts the bytes of one line without its end.
    pub fn new(length_max: usize) -> Self {
        Self { begun: Vec::new(), length_max }
    }

    /// The next line that ends in `chunk`, without LF or CR LF; `chunk` becomes
    /// what follows it. `None` once the chunk is used up. Empty lines are given.
    ///
    /// # Errors
    /// [`LineTooLong`], as soon as that is known. What follows makes no sense then.
    pub fn next_line<'c>(&mut self, chunk: &mut &'c [u8]) -> Result<Option<Cow<'c, [u8]>>, LineTooLong> {
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let (head, rest) = match end.and_then(|end| chunk.split_at_checked(end)) {
            Some((head, [_, rest @ ..])) => (head, rest),
            _ => (*chunk, [].as_slice()),
        };
        *chunk = rest;
        // A CR at the end of what is known may belong to the line's end.
        let length = self.begun.len().saturating_add(head.len());
        if length > self.length_max.saturating_add(1) {
            return Err(self.too_long());
        }
        if end.is_none() {
            self.begun.extend_from_slice(head);
            return Ok(None);
        }
        let mut line = Cow::Borrowed(head);
        if !self.begun.is_empty() {
            self.begun.extend_from_slice(head);
            line = Cow::Owned(std::mem::take(&mut self.begun));
        }
        self.checked(without_cr(line)).map(Some)
    }

    /// The last line, where the stream ended without a line end; `None` where
    /// nothing is left.
    ///
    /// # Errors
    /// [`LineTooLong`].
    pub fn finish(mut self) -> Result<Option<Vec<u8>>, LineTooLong> {
        if self.begun.is_empty() {
            return Ok(None);
        }
        let line = without_cr(Cow::Owned(std::mem::take(&mut self.begun)));
        self.checked(line).map(|line| Some(line.into_owned()))
    }

    fn checked<'c>(&self, line: Cow<'c, [u8]>) -> Result<Cow<'c, [u8]>, LineTooLong> {
        if line.len() > self.length_max { Err(self.too_long()) } else { Ok(line) }
    }

    fn too_long(&self) -> LineTooLong {
        LineTooLong { length_max: self.length_max }
    }
}

fn without_cr(line: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match line {
        Cow::Borrowed(bytes) => Cow::Borrowed(bytes.strip_suffix(b"\r").unwrap_or(bytes)),
        Cow::Owned(mut bytes) => {
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
            Cow::Owned(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LineTooLong, Splitter};
    use proptest::prelude::{any, prop, proptest};

    fn lines(chunks: &[&[u8]], length_max: usize) -> Result<Vec<Vec<u8>>, LineTooLong> {
        let mut splitter = Splitter::new(length_max);
        let mut lines = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            while let Some(line) = splitter.next_line(&mut rest)? {
                lines.push(line.into_owned());
            }
        }
        lines.extend(splitter.finish()?);
        Ok(lines)
    }

    #[test]
    fn a_line_may_span_chunks_and_end_in_either_way() {
        let chunks: [&[u8]; 5] = [b"on", b"e\ntwo\r", b"\n\nfo", b"", b"ur"];
        let expected: Vec<Vec<u8>> = vec![b"one".into(), b"two".into(), b"".into(), b"four".into()];
        assert_eq!(lines(&chunks, 4), Ok(expected));
        assert_eq!(lines(&[b"", b""], 4), Ok(vec![]));
    }

    #[test]
    fn a_long_line_is_refused_before_it_is_kept() {
        let too_long = Err(LineTooLong { length_max: 4 });
        assert_eq!(lines(&[b"12345\n"], 4), too_long);
        assert_eq!(lines(&[b"123", b"45"], 4), too_long);
        assert_eq!(lines(&[&[b'x'; 1_000]], 4), too_long);
        assert_eq!(lines(&[b"1234\r\n1234"], 4), Ok(vec![b"1234".to_vec(), b"1234".to_vec()]));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_chunks(
            bytes in prop::collection::vec(prop::sample::select(b"ab\r\n".as_slice()), 0..60),
            size in 1_usize..8, length_max in any::<u8>(),
        ) {
            let chunks: Vec<_> = bytes.chunks(size).collect();
            let length_max = usize::from(length_max % 10);
            assert_eq!(lines(&chunks, length_max), lines(&[&bytes], length_max));
        }
    }
}
