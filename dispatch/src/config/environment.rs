//! `DISPATCH_*` variables and flags as configuration sources.

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

use super::settings::keys;

/// Name of the source "environment".
pub const VARIABLES: &str = "environment";
const FLAGS: &str = "command line";
const PREFIX: &str = "DISPATCH_";

/// Variables that are not settings: of `embedded`, of clap, and switches of tests.
const NOT_SETTINGS: &[&str] = &[
    "DISPATCH_PG_BIN",
    "DISPATCH_CONFIG",
    "DISPATCH_STATE_DIR",
    "DISPATCH_LOG_FORMAT",
    "DISPATCH_DRILL_TOKEN",
    "DISPATCH_FAILPOINT",
];
const NOT_SETTINGS_PREFIX: &str = "DISPATCH_TEST_";

/// The variable of a key: `api.listen` → `DISPATCH_API_LISTEN`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// Whether this is a variable's name that was kept because no key has it.
pub fn is_unknown_variable(key: &str) -> bool {
    key.starts_with(PREFIX)
}

/// Keys with text values. Nothing is guessed from the text (a password of digits stays text); the
/// settings' types read it.
#[derive(Debug)]
pub struct Variables {
    name: &'static str,
    values: Vec<(String, String)>,
}

impl Variables {
    /// The settings among these variables; one that names no key is kept, so that it is refused.
    pub fn new(variables: impl Iterator<Item = (String, String)>) -> Self {
        let keys = keys();
        let values = variables
            .filter(|(name, _)| {
                name.starts_with(PREFIX)
                    && !name.starts_with(NOT_SETTINGS_PREFIX)
                    && !NOT_SETTINGS.contains(&name.as_str())
            })
            .map(|(name, value)| {
                let key = keys.iter().find(|key| variable(key) == name);
                (key.cloned().unwrap_or(name), value)
            })
            .collect();
        Self {
            name: VARIABLES,
            values,
        }
    }

    /// The given keys.
    pub fn flags(values: Vec<(String, String)>) -> Self {
        Self {
            name: FLAGS,
            values,
        }
    }
}

impl Provider for Variables {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut dict = Dict::new();
        for (key, value) in &self.values {
            insert(&mut dict, key, value);
        }
        Ok(Profile::Default.collect(dict))
    }
}

fn insert(dict: &mut Dict, key: &str, value: &str) {
    match key.split_once('.') {
        None => {
            dict.insert(key.to_owned(), Value::from(value));
        }
        Some((table, rest)) => {
            let entry = dict
                .entry(table.to_owned())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = entry {
                insert(inner, rest, value);
            }
        }
    }
}
