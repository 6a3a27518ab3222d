//! HTTP answers, one at a time per connection. It trusts its peer and is no parser for strangers.

use anyhow::{Context, Result, bail};

/// What came of an answer so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    input: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answers {
    /// The answer, once it is whole.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Option<Answer>> {
        self.input.extend_from_slice(bytes);
        let Some(end) = self.input.windows(4).position(|found| found == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(self.input.get(..end).unwrap_or_default())?;
        let status = head.split(' ').nth(1).context("an answer without a status")?.parse()?;
        let mut length = 0;
        for line in head.split("\r\n") {
            match line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse()?;
                }
                Some((name, _)) if name.eq_ignore_ascii_case("transfer-encoding") => {
                    bail!("an answer in chunks: {head}")
                }
                _ => {}
            }
        }
        let Some(body) = self.input.get(end + 4..end + 4 + length) else { return Ok(None) };
        let answer = Answer { status, body: body.to_vec() };
        self.input.drain(..end + 4 + length);
        Ok(Some(answer))
    }
}

/// The terminal chunk of a body in chunks.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends one chunk.
pub(crate) fn encode_chunk(data: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("{:x}\r\n", data.len()).into_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        let mut answers = Answers::default();
        assert_eq!(answers.take(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab").unwrap(), None);
        let whole = answers.take(b"cHTTP/1.1 204 No Content\r\n").unwrap();
        assert_eq!(whole, Some(Answer { status: 200, body: b"abc".to_vec() }));
        let next = answers.take(b"\r\n").unwrap();
        assert_eq!(next, Some(Answer { status: 204, body: Vec::new() }));
    }

    #[test]
    fn a_chunk_bears_its_length_in_hexadecimal() {
        let mut out = Vec::new();
        encode_chunk(&[b'x'; 17], &mut out);
        assert_eq!(out, b"11\r\nxxxxxxxxxxxxxxxxx\r\n");
    }
}
