//! Lines out of a stream of chunks: NDJSON bodies, JSON documents one after another, devices that
//! speak in lines.

use std::borrow::Cow;

/// The content types of bodies of which each line is a JSON document.
pub const LINE_TYPES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// Keeps the beginning of a line until its end comes; nothing between lines.
#[derive(Debug)]
pub struct Splitter {
    begun: Vec<u8>,
    length_max: usize,
    /// Where a document may go on over lines.
    nesting: Option<Nesting>,
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
        Self { begun: Vec::new(), length_max, nesting: None }
    }

    /// For JSON documents of at most `length_max` bytes, each of which ends with a line: a line end
    /// between brackets divides nothing.
    pub fn of_documents(length_max: usize) -> Self {
        Self { nesting: Some(Nesting::default()), ..Self::new(length_max) }
    }

    /// The next line that ends in `chunk`, without LF or CR LF; `chunk` becomes
    /// what follows it. `None` once the chunk is used up. Empty lines are given.
    ///
    /// # Errors
    /// [`LineTooLong`], as soon as that is known. What follows makes no sense then.
    pub fn next_line<'c>(&mut self, chunk: &mut &'c [u8]) -> Result<Option<Cow<'c, [u8]>>, LineTooLong> {
        let end = self.end(chunk);
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

    fn end(&mut self, chunk: &[u8]) -> Option<usize> {
        let Some(nesting) = &mut self.nesting else {
            return chunk.iter().position(|byte| *byte == b'\n');
        };
        chunk.iter().position(|byte| nesting.ends_with(*byte))
    }

    fn checked<'c>(&self, line: Cow<'c, [u8]>) -> Result<Cow<'c, [u8]>, LineTooLong> {
        if line.len() > self.length_max { Err(self.too_long()) } else { Ok(line) }
    }

    fn too_long(&self) -> LineTooLong {
        LineTooLong { length_max: self.length_max }
    }
}

/// How deep a JSON document stands open.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    is_text: bool,
    is_escaped: bool,
}

impl Nesting {
    /// Whether the document ends before this byte, a line's end. A text cannot go on over lines: the
    /// document is broken then, and the next line another.
    fn ends_with(&mut self, byte: u8) -> bool {
        if std::mem::take(&mut self.is_escaped) && byte != b'\n' {
            return false;
        }
        match (byte, self.is_text) {
            (b'\n', is_text) if is_text || self.depth == 0 => {
                *self = Self::default();
                return true;
            }
            (b'\\', true) => self.is_escaped = true,
            (b'"', is_text) => self.is_text = !is_text,
            (b'{' | b'[', false) => self.depth = self.depth.saturating_add(1),
            (b'}' | b']', false) => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        false
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

    fn documents(bytes: &[u8], size: usize) -> Result<Vec<String>, LineTooLong> {
        let mut splitter = Splitter::of_documents(30);
        let mut found = Vec::new();
        for mut chunk in bytes.chunks(size) {
            while let Some(document) = splitter.next_line(&mut chunk)? {
                found.push(String::from_utf8_lossy(&document).into_owned());
            }
        }
        found.extend(splitter.finish()?.map(|document| String::from_utf8_lossy(&document).into_owned()));
        Ok(found)
    }

    #[test]
    fn a_document_ends_with_a_line_but_not_between_brackets() {
        let text = b"{\"a\":1}\r\n[\n {\"b\": 2},\n{}]\n\n{\"]\\\"\":[\n]}\nnull";
        let expected = ["{\"a\":1}", "[\n {\"b\": 2},\n{}]", "", "{\"]\\\"\":[\n]}", "null"];
        for size in 1..text.len() {
            assert_eq!(documents(text, size).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn a_broken_document_takes_no_more_with_it_than_it_must() {
        for (text, expected) in [
            ("{\"a\":\"b\n{\"c\":1}\n", &["{\"a\":\"b", "{\"c\":1}"][..]),
            ("]}\n{}\n", &["]}", "{}"]),
            ("{\n{}\n", &["{\n{}\n"]),
        ] {
            assert_eq!(documents(text.as_bytes(), 3).unwrap(), expected, "{text:?}");
        }
        assert_eq!(documents(&[b'['; 40], 3), Err(LineTooLong { length_max: 30 }));
        assert_eq!(documents(&b"[\n".repeat(20), 3), Err(LineTooLong { length_max: 30 }));
    }

    proptest! {
        #[test]
        fn documents_do_not_depend_on_the_chunks(
            bytes in prop::collection::vec(prop::sample::select(b"a\\\"[]\r\n".as_slice()), 0..60),
            size in 1_usize..8,
        ) {
            assert_eq!(documents(&bytes, size), documents(&bytes, 100));
        }

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
