//! The settings as flags of the command line.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::given::{ConfigError, Given, Source};
use super::table::SETTINGS;

/// What the command line sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    file: Option<PathBuf>,
    values: Vec<(&'static str, String)>,
}

impl Flags {
    /// The file that was named.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.file.clone()
    }

    pub(super) fn take(&self, given: &mut Given) -> Result<(), ConfigError> {
        for setting in SETTINGS {
            if let Some((_, text)) = self.values.iter().find(|(name, _)| *name == setting.name) {
                given.set(setting, text.clone(), Source::Flag)?;
            }
        }
        Ok(())
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let value = |name: &'static str| Some((name, matches.get_one::<String>(name)?.clone()));
        let values = SETTINGS.iter().filter_map(|setting| value(setting.name)).collect();
        Ok(Self { file: matches.get_one::<PathBuf>("config").cloned(), values })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("The TOML file; ./roost.toml if there is one");
        let flag = |setting: &super::table::Setting| {
            let help = match setting.default {
                "" => setting.text.to_owned(),
                default => format!("{} [default: {default}]", setting.text),
            };
            Arg::new(setting.name)
                .long(setting.name)
                .value_name("VALUE")
                .allow_hyphen_values(true)
                .overrides_with(setting.name)
                .help(help)
        };
        command.arg(config).args(SETTINGS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
