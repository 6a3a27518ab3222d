//! `roost simulate`: virtual devices over real MQTT and HTTP.

mod device;
mod http;
mod mqtt;
mod world;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Api, Connection, Output, encoded, print_item};
use crate::failure::Failure;

/// How often the progress line moves.
const SHOWN_EVERY: Duration = Duration::from_millis(500);
/// How long devices have to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(5);

/// What virtual devices speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    /// All of them MQTT
    Mqtt,
    /// All of them HTTP
    Http,
    /// Every second one HTTP
    Mixed,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// How many devices
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    devices: u32,
    /// How often each sends, per second
    #[arg(long, default_value_t = 1.0, value_parser = rate)]
    rate: f64,
    #[arg(long, value_enum, default_value = "mixed")]
    protocol: Protocol,
    /// For how long, such as 10m; until it is interrupted without
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// The MQTT door, as HOST:PORT; asked from the server without
    #[arg(long)]
    mqtt: Option<String>,
    /// How the ids of the devices begin
    #[arg(long, default_value = "sim")]
    prefix: String,
    /// Deletes the devices at the end
    #[arg(long)]
    remove: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.001..=1_000.0).contains(rate));
    rate.ok_or_else(|| "write a number from 0.001 to 1000".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text).ok_or_else(|| "write it as 30s or 10m".to_owned())
}

/// What all devices did together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) commands: AtomicU64,
    pub(crate) reconnects: AtomicU64,
}

impl Counts {
    pub(crate) fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn value(&self) -> Value {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        json!({
            "sent": read(&self.sent),
            "acknowledged": read(&self.acknowledged),
            "refused": read(&self.refused),
            "commands": read(&self.commands),
            "reconnects": read(&self.reconnects),
        })
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let api = arguments.connection.api()?;
    let host = arguments.connection.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let host = if host.contains(':') { host } else { format!("{host}:80") };
    let mqtt = match &arguments.mqtt {
        Some(address) => address.clone(),
        None if arguments.protocol == Protocol::Http => String::new(),
        None => mqtt_door(&api, &host)?,
    };
    let accounts = create(&api, &arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let counts = Arc::new(Counts::default());
    let ended = runtime.block_on(simulate(&arguments, &accounts, (&host, &mqtt), &counts));
    if arguments.remove {
        let bar = bar(accounts.len(), "removing devices");
        for (id, _) in bar.wrap_iter(accounts.iter()) {
            api.json("DELETE", &format!("/api/v1/devices/{}", encoded(id)), None)?;
        }
    }
    ended?;
    print_item(arguments.connection.output, &counts.value())
}

/// The MQTT door of the server, at the host at which we found it.
fn mqtt_door(api: &Api, host: &str) -> anyhow::Result<String> {
    let info = api.json("GET", "/api/v1/server", None)?;
    let door = info
        .pointer("/doors/mqtt")
        .and_then(Value::as_str)
        .context("the server has no MQTT door; name one with --mqtt, or use --protocol http")?;
    let port = door.rsplit(':').next().unwrap_or("1883");
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    Ok(format!("{host}:{port}"))
}

/// A line on standard error that shows how far we are; only on a terminal.
fn bar(length: usize, text: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}")
        .unwrap_or_else(|_known| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_message(text)
}

/// Makes the devices that are not there yet and a token for each; gives ids and tokens.
fn create(api: &Api, arguments: &Arguments) -> anyhow::Result<Vec<(String, String)>> {
    let bar = bar(arguments.devices as usize, "adding devices");
    let one = |number: u32| {
        let id = format!("{}-{number:04}", arguments.prefix);
        let name = format!("Virtual {:?} {number}", world::Device::new(u64::from(number)).kind);
        let body = json!({ "id": id, "name": name, "labels": { "simulated": "true" } });
        let path = format!("/api/v1/devices/{}", encoded(&id));
        let made = match api.json("GET", &path, None) {
            Ok(_there) => {
                api.json("POST", &format!("{path}/credentials"), Some(&json!({ "kind": "token" })))?
            }
            Err(_not_there) => api.json("POST", "/api/v1/devices", Some(&body))?,
        };
        let token = made.pointer("/credential/token").or_else(|| made.get("token")).and_then(Value::as_str);
        Ok((id, token.context("the server gave no token")?.to_owned()))
    };
    bar.wrap_iter(0..arguments.devices).map(one).collect()
}

async fn simulate(
    arguments: &Arguments,
    accounts: &[(String, String)],
    (host, mqtt): (&str, &str),
    counts: &Arc<Counts>,
) -> anyhow::Result<()> {
    let (end, ending) = watch::channel(false);
    let every = Duration::from_secs_f64(1.0 / arguments.rate);
    let mut devices = JoinSet::new();
    let spread = every / u32::try_from(accounts.len()).unwrap_or(1).max(1);
    for (number, (id, token)) in (0..).zip(accounts) {
        let is_http = match arguments.protocol {
            Protocol::Mqtt => false,
            Protocol::Http => true,
            // Kinds go round by fours: each kind gets both.
            Protocol::Mixed => number / 4 % 2 == 1,
        };
        let account = device::Account {
            id: id.clone(),
            token: token.clone(),
            address: if is_http { host.to_owned() } else { mqtt.to_owned() },
        };
        let pace = device::Pace { every, first_after: spread * number };
        let virtual_device = world::Device::new(u64::from(number));
        let (counts, ending) = (Arc::clone(counts), ending.clone());
        match is_http {
            true => devices.spawn(device::over_http(account, virtual_device, pace, counts, ending)),
            false => devices.spawn(device::over_mqtt(account, virtual_device, pace, counts, ending)),
        };
    }
    if arguments.connection.output == Output::Table {
        writeln!(io::stderr(), "{} devices send to {host}; Ctrl-C ends it", accounts.len())?;
    }
    watch_over(arguments.duration, counts).await?;
    end.send_replace(true);
    let goodbye = async { while devices.join_next().await.is_some() {} };
    drop(tokio::time::timeout(GOODBYE_MAX, goodbye).await);
    Ok(())
}

/// Shows how it goes until it is over.
async fn watch_over(duration: Option<Duration>, counts: &Counts) -> anyhow::Result<()> {
    let shown = ProgressBar::new_spinner();
    let mut ticks = tokio::time::interval(SHOWN_EVERY);
    let over = async {
        match duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    loop {
        tokio::select! {
            _ = ticks.tick() => shown.set_message(format!("{}", counts.value())),
            () = &mut over => break,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("waiting for Ctrl-C")?;
                break;
            }
        }
    }
    shown.finish_and_clear();
    Ok(())
}
