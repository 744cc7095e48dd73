//! Configuration: flags over `DISPATCH_*` over `dispatch.toml` over defaults.
//!
//! A key `api.listen` is the table `[api]` with `listen` in the file, `DISPATCH_API_LISTEN` in the
//! environment, and `--set api.listen=…` on the command line. Unknown keys are refused wherever
//! they stand: a setting with a typo that silently does nothing is the worst kind. What
//! `dispatch dev` writes (`.dispatch/dispatch.toml`) is read as well, below the user's own file, so
//! that other commands in the same folder reach the running system.

mod environment;
mod settings;
mod show;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    error::Kind,
    providers::{Format, Serialized, Toml},
};

use self::environment::Variables;
pub use self::{settings::*, show::show};
use crate::{cli::Global, exit::Failure, owner};

/// More than this and it is another word.
const MOST_TYPOS: usize = 4;

/// The user's file, looked for in the current folder.
pub const FILE: &str = "dispatch.toml";

/// Settings with what is known about where each came from.
#[derive(Debug, Clone)]
pub struct Config {
    /// The values.
    pub settings: Settings,
    figment: Figment,
}

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A file given by flag or variable; it must exist.
    pub file: Option<PathBuf>,
    /// The state folder of `dispatch dev`, whose settings are read below all others.
    pub state_dir: Option<PathBuf>,
    /// `--set key=value`, in order.
    pub set: Vec<String>,
    /// From flags of their own: key and value.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// What the global flags say.
    pub fn new(global: &Global) -> Self {
        Self {
            file: global.config.clone(),
            state_dir: Some(global.state_dir.clone()),
            set: global.set.clone(),
            flags: Vec::new(),
        }
    }
}

impl Config {
    /// Reads all sources.
    pub fn load(sources: &Sources) -> Result<Self, Failure> {
        Self::load_with(sources, std::env::vars())
    }

    fn load_with(
        sources: &Sources,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Failure> {
        let file = match &sources.file {
            Some(file) if !file.is_file() => {
                return Err(Failure::usage(format!(
                    "there is no configuration file {}; check --config or DISPATCH_CONFIG",
                    file.display()
                )));
            }
            Some(file) => file.clone(),
            None => PathBuf::from(FILE),
        };
        let mut flags = Vec::new();
        for pair in &sources.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Failure::usage(format!(
                    "--set {pair}: expected key=value, for example --set api.listen=127.0.0.1:8080"
                ))
            })?;
            flags.push((key.trim().to_owned(), value.to_owned()));
        }
        flags.extend(
            sources
                .flags
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone())),
        );

        let mut figment = Figment::from(Serialized::defaults(Settings::default()));
        let written = sources.state_dir.as_ref().map(|dir| dir.join(FILE));
        for file in written.into_iter().chain([file]) {
            if file.is_file() {
                readable(&file)?;
                figment = figment.merge(Toml::file_exact(file));
            }
        }
        let figment = figment
            .merge(Variables::new(variables))
            .merge(Variables::flags(flags));
        let settings = figment.extract().map_err(|error| explain(&error))?;
        Ok(Self { settings, figment })
    }

    /// Where the value of a key came from, for people.
    pub fn source(&self, key: &str) -> String {
        match self.figment.find_metadata(key) {
            None => "default".to_owned(),
            Some(metadata) => place(metadata, key),
        }
    }
}

fn place(metadata: &figment::Metadata, key: &str) -> String {
    match metadata
        .source
        .as_ref()
        .and_then(figment::Source::file_path)
    {
        Some(path) => shown(path),
        None if metadata.name.contains("Settings") => "default".to_owned(),
        None if metadata.name == environment::VARIABLES => environment::variable(key),
        None => metadata.name.to_string(),
    }
}

fn shown(path: &Path) -> String {
    let current = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(current)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Says whose a file is that we may not read: mostly the state of another user's `dispatch dev`.
fn readable(file: &Path) -> Result<(), Failure> {
    File::open(file).map(drop).map_err(|error| {
        Failure::usage(format!(
            "cannot read {}: {error}{}; run as its owner, or choose other settings with --config or \
             --state-dir",
            shown(file),
            owner::of(file)
        ))
    })
}

/// The key that was probably meant.
fn nearest(key: &str, name: impl Fn(&str) -> String) -> Option<String> {
    keys()
        .iter()
        .map(|known| name(known))
        .map(|known| (strsim::damerau_levenshtein(&known, key), known))
        .filter(|(distance, _)| *distance <= MOST_TYPOS)
        .min()
        .map(|(_, known)| known)
}

/// One sentence: which key, where, what is wrong, what would be right.
fn explain(error: &figment::Error) -> Failure {
    let mut path = error.path.clone();
    let wrong = match &error.kind {
        Kind::UnknownField(name, expected) => {
            if path.last() != Some(name) {
                path.push(name.clone());
            }
            if environment::is_unknown_variable(name) {
                return Failure::usage(format!(
                    "there is no variable {name}{}; `dispatch config show` lists all keys, and \
                     `api.listen` is {}",
                    did_you_mean(nearest(name, environment::variable)),
                    environment::variable("api.listen")
                ));
            }
            format!(
                "there is no such key{}; there are: {}. `dispatch config show` lists all.",
                did_you_mean(nearest(&path.join("."), str::to_owned)),
                expected.join(", ")
            )
        }
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("found {found}, expected {expected}")
        }
        other => other.to_string(),
    };
    let key = path.join(".");
    let place = error
        .metadata
        .as_ref()
        .map(|metadata| format!(" ({})", place(metadata, &key)))
        .unwrap_or_default();
    Failure::usage(if key.is_empty() {
        format!("configuration{place}: {wrong}")
    } else {
        format!("configuration key `{key}`{place}: {wrong}")
    })
}

fn did_you_mean(nearest: Option<String>) -> String {
    nearest.map_or_else(String::new, |known| format!(", did you mean `{known}`?"))
}

#[cfg(test)]
mod tests;
