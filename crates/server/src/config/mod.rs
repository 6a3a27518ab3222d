//! The configuration: flags, then environment, then the file, then defaults.

mod annotated;
mod file;
mod flags;
mod given;
mod table;
mod typed;
mod value;

use std::path::{Path, PathBuf};

pub(crate) use annotated::{annotated, listing};
pub(crate) use flags::Flags;
pub(crate) use given::{ConfigError, Given, Source};
pub(crate) use typed::{Config, Keep, LogFormat, Tls};
pub(crate) use value::duration;

use given::unknown;
use table::SETTINGS;

/// The file that is read when none is named.
const FILE_NAME: &str = "roost.toml";
/// Variables that begin like settings and are none.
const OTHER_VARIABLES: &[&str] = &["ROOST_URL", "ROOST_TOKEN", "ROOST_OUTPUT", "ROOST_CONFIG"];
/// What an orchestrator sets in its containers when a service next to them is called roost.
const FOREIGN_PREFIXES: &[&str] = &["ROOST_SERVICE_", "ROOST_PORT"];

/// Everything that was set, by whom, in order.
///
/// # Errors
/// The first thing that is no setting, or no value of one.
pub(crate) fn gather(flags: &Flags) -> Result<Given, ConfigError> {
    let mut given = Given::default();
    if let Some(path) = file_path(flags) {
        file::read(&path, &mut given)?;
    }
    take_environment(std::env::vars_os(), &mut given)?;
    flags.take(&mut given)?;
    Ok(given)
}

/// The configuration in force.
///
/// # Errors
/// As [`gather`], or a path cannot be used, or two settings do not go together.
pub(crate) fn load(flags: &Flags) -> Result<Config, ConfigError> {
    Config::new(&gather(flags)?)
}

/// The file that is read.
pub(crate) fn file_path(flags: &Flags) -> Option<PathBuf> {
    let named = flags.file().or_else(|| std::env::var_os("ROOST_CONFIG").map(PathBuf::from));
    named.or_else(|| Path::new(FILE_NAME).is_file().then(|| PathBuf::from(FILE_NAME)))
}

fn take_environment(
    variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    given: &mut Given,
) -> Result<(), ConfigError> {
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("ROOST_")) else { continue };
        if OTHER_VARIABLES.contains(&name) {
            continue;
        }
        let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) else {
            if FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let guess = name.trim_start_matches("ROOST_").to_lowercase();
            return Err(unknown(name, &guess));
        };
        let value = value
            .into_string()
            .map_err(|_not_text| ConfigError(format!("{name}: not UTF-8; {}", value::mend(setting.kind))))?;
        // A variable that is set to nothing is not set: `ROOST_ADMIN_TOKEN= roost serve`.
        if !value.is_empty() {
            given.set(setting, value, Source::Environment)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<Given, ConfigError> {
        let mut given = Given::default();
        let pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        take_environment(pairs, &mut given).map(|()| given)
    }

    #[test]
    fn variables_are_settings_and_a_wrong_one_is_named() {
        let given =
            environment(&[("ROOST_TLS_CERT", "/a"), ("HOME", "/b"), ("ROOST_URL", "x"), ("ROOST_DATA", "")]);
        let given = given.unwrap();
        assert_eq!(given.text("tls.cert"), "/a");
        assert!(!given.is_set("data"));
        let wrong = environment(&[("ROOST_MQT", "off")]).unwrap_err();
        assert_eq!(wrong.0, "ROOST_MQT: unknown setting; did you mean mqtt?");
        let wrong = environment(&[("ROOST_THREADS", "lots")]).unwrap_err();
        assert_eq!(wrong.0, "ROOST_THREADS = \"lots\": write a whole number from 0 to 1024");
    }

    #[test]
    fn what_an_orchestrator_sets_for_a_service_called_roost_is_passed_over() {
        let pairs = [("ROOST_SERVICE_HOST", "10.0.0.1"), ("ROOST_PORT_1883_TCP", "tcp://10.0.0.1:1883")];
        assert!(environment(&pairs).is_ok());
    }

    #[test]
    fn a_secret_is_not_repeated_in_an_error() {
        let wrong = environment(&[("ROOST_ADMIN_TOKEN", "secret\u{7}")]).unwrap_err();
        assert!(!wrong.0.contains("secret\u{7}"), "{wrong}");
    }
}
