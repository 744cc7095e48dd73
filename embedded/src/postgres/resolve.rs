//! Decides which PostgreSQL to run.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{
    PostgresOptions, PostgresSource,
    account::Account,
    binaries::{Binaries, MIN_MAJOR, Places},
    folder::absolute,
    maven,
};
use crate::{EmbeddedError, MissingInfrastructure, default_cache_dir};

/// Downloads of a root process go here if the real place is closed to the account.
const ROOT_CACHE: &str = "/var/cache/real-dispatch";

/// The programs to use: those of the data's own version if there is data.
pub(super) async fn resolve(
    options: &PostgresOptions,
    account: Account,
    wanted: Option<u32>,
    cluster: &Path,
) -> Result<Binaries, EmbeddedError> {
    let mut tried = Vec::new();
    let mut found = Vec::new();
    let given = match &options.source {
        PostgresSource::BinDir(dir) => Some(("the given folder", dir.clone())),
        PostgresSource::Automatic => {
            env::var_os("DISPATCH_PG_BIN").map(|dir| ("DISPATCH_PG_BIN", PathBuf::from(dir)))
        }
        PostgresSource::MavenCentral | PostgresSource::Url(_) => None,
    };
    if let Some((name, dir)) = &given {
        match Binaries::probe(dir) {
            Ok(binaries) => found.push(binaries),
            Err(reason) => tried.push(format!("{name}: {reason}")),
        }
    } else if options.source == PostgresSource::Automatic {
        tried.push("DISPATCH_PG_BIN: not set".to_owned());
        found = Places::of_this_machine().installed(&mut tried);
    }
    let fits = |binaries: &Binaries| wanted.is_none_or(|major| major == binaries.major);
    if let Some(fitting) = found.iter().find(|binaries| fits(binaries)) {
        return Ok(fitting.clone());
    }
    // A folder that was asked for by name is not replaced by something else.
    if given.is_none() {
        let cache = match &options.cache_dir {
            Some(given) => given.clone(),
            None => default_cache_dir()?,
        };
        let cache = account.reachable(absolute(&cache)?.join("postgres"), Path::new(ROOT_CACHE));
        match maven::binaries(&cache, &options.progress).await? {
            Ok(binaries) if fits(&binaries) => return Ok(binaries),
            Ok(binaries) => found.push(binaries),
            Err(reason) => tried.push(reason),
        }
    }
    if let (Some(found_version), false) = (wanted, found.is_empty()) {
        let available: Vec<String> = found
            .iter()
            .map(|b| format!("{} in {}", b.major, b.dir.display()))
            .collect();
        return Err(EmbeddedError::DataVersion {
            path: cluster.to_owned(),
            found: found_version,
            available: available.join(", "),
        });
    }
    Err(missing(tried).into())
}

fn missing(tried: Vec<String>) -> MissingInfrastructure {
    const { assert!(MIN_MAJOR == 15, "the text below names it") };
    MissingInfrastructure {
        what: "PostgreSQL",
        tried,
        remedy: "Install PostgreSQL 15 or newer (Debian: apt-get install postgresql; macOS: brew install postgresql@17), \
                 or set DISPATCH_PG_BIN to the folder that holds initdb and postgres, \
                 or set DATABASE_URL to a running server.",
    }
}
