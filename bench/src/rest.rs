//! What the benchmark asks of Roost over HTTP.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use ureq::Agent;

use crate::peer::ADMIN_TOKEN;

const ANSWER_MAX: Duration = Duration::from_secs(60);
/// So many requests at once let a store that syncs in groups show it.
const CREATORS: usize = 16;

pub(crate) struct Rest {
    agent: Agent,
    base: String,
}

#[derive(Deserialize)]
struct Created {
    credential: Credential,
}

#[derive(Deserialize)]
struct Credential {
    token: String,
}

#[derive(Deserialize)]
struct Page {
    points: Vec<(serde_json::Value, f64)>,
    next: Option<String>,
}

/// A registered device and its secret.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Rest {
    pub(crate) fn new(server: SocketAddr) -> Rest {
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_MAX))
            .max_idle_connections_per_host(CREATORS)
            .build();
        Rest { agent: Agent::new_with_config(config), base: format!("http://{server}/api/v1") }
    }

    fn create_device(&self, number: usize) -> Result<Device> {
        let id = format!("bench-{number}");
        let links = serde_json::json!([{ "listen": "spot", "serial": number.to_string() }]);
        let created: Created = self
            .agent
            .post(format!("{}/devices", self.base))
            .header("authorization", format!("Bearer {ADMIN_TOKEN}"))
            .send_json(serde_json::json!({ "id": id, "links": links }))
            .with_context(|| format!("creating device {id}"))?
            .body_mut()
            .read_json()?;
        let token = created.credential.token;
        Ok(Device { id, token })
    }

    /// Registers, with the serial number of a Spot each, `bench-0` to `bench-{count - 1}`, in that order in the answer.
    pub(crate) fn create_devices(&self, count: usize) -> Result<Vec<Device>> {
        let next = AtomicUsize::new(0);
        let create_some = || -> Result<Vec<(usize, Device)>> {
            let mut made = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(made);
                }
                made.push((number, self.create_device(number)?));
            }
        };
        let mut devices = Vec::with_capacity(count);
        thread::scope(|scope| -> Result<()> {
            let creators: Vec<_> = (0..CREATORS).map(|_| scope.spawn(create_some)).collect();
            for creator in creators {
                let made = creator.join().ok().context("a creating thread panicked")?;
                devices.extend(made?);
            }
            Ok(())
        })?;
        devices.sort_by_key(|(number, _)| *number);
        Ok(devices.into_iter().map(|(_, device)| device).collect())
    }

    /// All values of a key from `from` up to `to` (Unix milliseconds, exclusive).
    pub(crate) fn values(&self, device: &str, key: &str, from: i64, to: i64) -> Result<Vec<f64>> {
        let mut values = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut request = self
                .agent
                .get(format!("{}/devices/{device}/telemetry", self.base))
                .header("authorization", format!("Bearer {ADMIN_TOKEN}"))
                .query("key", key)
                .query("from", from.to_string())
                .query("to", to.to_string())
                .query("limit", "10000");
            if let Some(cursor) = &cursor {
                request = request.query("cursor", cursor);
            }
            let page: Page = request
                .call()
                .with_context(|| format!("reading the telemetry of {device}"))?
                .body_mut()
                .with_config()
                .limit(64 * 1024 * 1024)
                .read_json()?;
            values.extend(page.points.into_iter().map(|(_, value)| value));
            cursor = page.next;
            if cursor.is_none() {
                return Ok(values);
            }
        }
    }
}
