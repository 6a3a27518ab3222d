//! The set-up link of the first owner: on standard error at the first start, and in a file that
//! only the server's own user can read, from which `roost token setup` prints it again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use roost_hub::Hub;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{Config, LogFormat};

/// The file's name in the data directory.
pub(crate) const LINK_FILE: &str = "setup-link";
/// How often it is seen whether there is an owner now.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A link is replaced in the file so long before the 30 minutes of a link are over.
const RENEW_EVERY: Duration = Duration::from_secs(25 * 60);

/// Prints the link if there is no owner yet, and keeps the file right until there is one.
///
/// # Errors
/// The store could not tell, or the file cannot be written.
pub(super) fn start(
    tasks: &mut JoinSet<()>,
    config: &Config,
    hub: Arc<Hub>,
    web: String,
    mut ending: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let file = config.data.join(LINK_FILE);
    let Some(link) = new_link(&hub, &web, &file)? else {
        remove(&file);
        return Ok(());
    };
    print(&link, config.log_format);
    tasks.spawn(async move {
        tokio::select! {
            () = keep(&hub, &web, &file) => {}
            _ = ending.wait_for(|is_over| *is_over) => {}
        }
        // A link is of no use to anybody once this process has ended.
        remove(&file);
        drop(ending.wait_for(|is_over| *is_over).await);
    });
    Ok(())
}

fn new_link(hub: &Hub, web: &str, file: &Path) -> anyhow::Result<Option<String>> {
    let Some(token) = hub.setup_token().context("the set-up link")? else { return Ok(None) };
    let link = format!("{web}/#/setup/{}", token.reveal());
    write(file, &link).with_context(|| format!("writing {}", file.display()))?;
    Ok(Some(link))
}

fn write(file: &Path, link: &str) -> io::Result<()> {
    let new = PathBuf::from(format!("{}.new", file.display()));
    remove(&new);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(out, "{link}")?;
    fs::rename(new, file)
}

fn remove(file: &Path) {
    if let Err(error) = fs::remove_file(file)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, file = %file.display(), "an old set-up link stays; it is of no use any more");
    }
}

/// Printed as it is, and not as a log line: log lines hold no secrets.
fn print(link: &str, format: LogFormat) {
    let line = match format {
        LogFormat::Text => format!("Make the first owner within 30 minutes at {link}"),
        LogFormat::Json => serde_json::json!({ "level": "INFO", "setup_link": link }).to_string(),
    };
    // Without a standard error, `roost token setup` prints it.
    drop(writeln!(io::stderr(), "{line}"));
}

/// Ends when there is an owner.
async fn keep(hub: &Hub, web: &str, file: &Path) {
    let mut age = Duration::ZERO;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        age += LOOK_EVERY;
        match hub.setup_needed() {
            Ok(true) if age >= RENEW_EVERY => {
                age = Duration::ZERO;
                if let Err(error) = new_link(hub, web, file) {
                    tracing::warn!(%error, "no new set-up link; start again for one");
                }
            }
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::debug!(%error, "whether there is an owner cannot be told now"),
        }
    }
}
