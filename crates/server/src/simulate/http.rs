//! A small HTTP/1.1 client over one connection that stays open, for virtual devices.

use anyhow::{Context as _, anyhow, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest answer, in bytes.
const ANSWER_LENGTH_MAX: usize = 1024 * 1024;

/// An open connection that shows one token.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    host: String,
    token: String,
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Connects to `host`, written as `HOST:PORT`.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub(crate) async fn connect(host: &str, token: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(host).await.with_context(|| format!("connecting to {host}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::new(), host: host.to_owned(), token: token.to_owned() })
    }

    /// Asks and waits for the answer. Not cancel safe.
    ///
    /// # Errors
    /// The connection has ended, or the answer is none.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.host,
            self.token,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        loop {
            if let Some((answer, length)) = parse(&self.input)? {
                drop(self.input.drain(..length));
                return Ok(answer);
            }
            ensure!(self.input.len() < ANSWER_LENGTH_MAX, "the answer is too long");
            let read = self.stream.read_buf(&mut self.input).await?;
            ensure!(read > 0, "the server has closed the connection");
        }
    }
}

/// The answer at the beginning of `input` and its length; `None` when there is more to come.
fn parse(input: &[u8]) -> anyhow::Result<Option<(Answer, usize)>> {
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = input.split_at_checked(end + 4).ok_or_else(|| anyhow!("no head"))?;
    let head = std::str::from_utf8(head).context("the answer's head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let mut length = 0;
    for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().context("content-length")?;
        }
        ensure!(!name.eq_ignore_ascii_case("transfer-encoding"), "an answer in chunks is not expected here");
    }
    ensure!(length <= ANSWER_LENGTH_MAX, "the answer is too long");
    let body = rest.get(..length).map(<[u8]>::to_vec);
    Ok(body.map(|body| (Answer { status, body }, end + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_when_it_is_whole() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP";
        for cut in 0..40 {
            let found = parse(bytes.get(..cut).unwrap()).unwrap();
            assert_eq!(found, None, "{cut}");
        }
        let answer = Answer { status: 200, body: b"ok".to_vec() };
        assert_eq!(parse(bytes).unwrap(), Some((answer, bytes.len() - 4)));
        assert_eq!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().0.status, 204);
    }
}
