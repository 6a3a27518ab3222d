//! One HTTP client for all commands.

use std::io::BufReader;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::{Agent, Body};

use super::output::Output;
use crate::failure::Failure;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take, beside the time for which the server was asked to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How many items of a list are asked for at once.
const PAGE_LENGTH: usize = 1_000;
/// The largest answer that is read, in bytes.
const ANSWER_LENGTH_MAX: u64 = 256 * 1024 * 1024;

/// Which server, as whom, and how to print what it says.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Connection {
    /// The server
    #[arg(long, env = "ROOST_URL", default_value = "http://127.0.0.1:8080", global = true)]
    pub(crate) url: String,
    /// An API token
    #[arg(long, env = "ROOST_TOKEN", hide_env_values = true, global = true)]
    pub(crate) token: Option<String>,
    /// How to print what the server says
    #[arg(long, env = "ROOST_OUTPUT", value_enum, default_value = "table", global = true)]
    pub(crate) output: Output,
}

impl Connection {
    /// A client for the server.
    ///
    /// # Errors
    /// The address is none, or there is no token.
    pub(crate) fn api(&self) -> Result<Api, Failure> {
        let token = self.token.clone().filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| {
            Failure::Usage("no token: give --token TOKEN, or set ROOST_TOKEN to an API token".to_owned())
        })?;
        Api::new(&self.url, Some(token))
    }
}

/// A client of one server.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    agent: Agent,
    base: String,
    authorization: Option<String>,
    /// The only state of things that is to be changed.
    if_match: Option<String>,
}

impl Api {
    /// A client that shows `token`.
    ///
    /// # Errors
    /// The address is none that this can talk to.
    pub(crate) fn new(url: &str, token: Option<String>) -> Result<Self, Failure> {
        let wrong = |mend| Failure::Usage(format!("--url {url}: {mend}"));
        if url.starts_with("https://") {
            return Err(wrong("this version's commands speak plain HTTP only; name the http door"));
        }
        if !url.starts_with("http://") {
            return Err(wrong("write it as http://HOST:PORT"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("roost/", env!("CARGO_PKG_VERSION")));
        let authorization = token.map(|token| format!("Bearer {token}"));
        let base = url.trim_end_matches('/').to_owned();
        Ok(Self { agent: config.build().new_agent(), base, authorization, if_match: None })
    }

    fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        wait: Duration,
    ) -> anyhow::Result<Response<Body>> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(tag) = &self.if_match {
            request = request.header("if-match", tag);
        }
        let timeout = Some(ANSWER_TIMEOUT.saturating_add(wait));
        let sent = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json").body(body.to_string())?;
                let request = self.agent.configure_request(request).timeout_recv_response(timeout).build();
                self.agent.run(request)
            }
            None => {
                let request =
                    self.agent.configure_request(request.body(())?).timeout_recv_response(timeout).build();
                self.agent.run(request)
            }
        };
        let mut response = sent.with_context(|| format!("{} cannot be reached", self.base))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        match problem.get("detail").and_then(Value::as_str) {
            Some(detail) => bail!("{detail}"),
            None => bail!("{} answers {status} to {method} {path}", self.base),
        }
    }

    /// Reads something, and gives with it a client that changes it only as long as it is as it was read.
    ///
    /// # Errors
    /// As [`Api::json`].
    pub(crate) fn to_change(&self, path: &str) -> anyhow::Result<(Value, Self)> {
        let mut response = self.call("GET", path, None, Duration::ZERO)?;
        let tag = response.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let found = response.body_mut().with_config().limit(ANSWER_LENGTH_MAX).read_json()?;
        Ok((found, Self { if_match: tag, ..self.clone() }))
    }

    /// Calls and gives the answer; null for an empty one.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses: its own words then.
    pub(crate) fn json(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        self.json_within(method, path, body, Duration::ZERO)
    }

    /// The same for a call that may take the server as long as `wait`.
    ///
    /// # Errors
    /// As [`Api::json`].
    pub(crate) fn json_within(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        wait: Duration,
    ) -> anyhow::Result<Value> {
        let mut response = self.call(method, path, body, wait)?;
        let text = response.body_mut().with_config().limit(ANSWER_LENGTH_MAX).read_to_string()?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .map_err(|error| anyhow!("{} answers no JSON to {method} {path}: {error}", self.base))
    }

    /// Everything of a list, page by page.
    ///
    /// # Errors
    /// As [`Api::json`].
    pub(crate) fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        self.list_at_most(path, usize::MAX)
    }

    /// The first `limit` of a list, page by page.
    ///
    /// # Errors
    /// As [`Api::json`].
    pub(crate) fn list_at_most(&self, path: &str, limit: usize) -> anyhow::Result<Vec<Value>> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let length = PAGE_LENGTH.min(limit - items.len()).max(1);
            let mut page = self.json("GET", &format!("{path}{joint}limit={length}{cursor}"), None)?;
            if let Some(found) = page.get_mut("items").and_then(Value::as_array_mut) {
                items.append(found);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) if items.len() < limit => cursor = format!("&cursor={}", encoded(next)),
                _ => {
                    items.truncate(limit);
                    return Ok(items);
                }
            }
        }
    }

    /// Opens an answer that goes on for as long as both sides like.
    ///
    /// # Errors
    /// As [`Api::json`].
    pub(crate) fn stream(&self, path: &str) -> anyhow::Result<BufReader<ureq::BodyReader<'static>>> {
        let response = self.call("GET", path, None, Duration::ZERO)?;
        let body = response.into_body().into_with_config().limit(u64::MAX).reader();
        Ok(BufReader::new(body))
    }
}

/// A text as a part of a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_characters_of_a_path_are_escaped() {
        assert_eq!(encoded("a-b_c.d~9"), "a-b_c.d~9");
        assert_eq!(encoded("a/b c+%ü"), "a%2Fb%20c%2B%25%C3%BC");
    }
}
