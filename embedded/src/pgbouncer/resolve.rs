//! Finds a `pgbouncer`.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use super::{OLDEST, PgBouncer, build};
use crate::{EmbeddedError, MissingInfrastructure, Progress, go::find_on_path, version::Version};

const WHAT: &str = "PgBouncer";
const REMEDY: &str = "Install pgbouncer 1.21 or newer (`pgbouncer --version` tells) on PATH; or set \
    PGBOUNCER_BIN to such a program; or, on Debian, install build-essential and let apt reach a \
    mirror, then it is built once.";
/// Where packages put it, which is not on everybody's PATH.
const USUAL: &str = "/usr/sbin/pgbouncer";

/// The program that was asked for by name is not replaced by another one.
pub(super) fn given(path: &Path) -> Result<PgBouncer, EmbeddedError> {
    probe(path).map_err(|reason| missing(vec![format!("PGBOUNCER_BIN: {reason}")]))
}

pub(super) async fn program(
    cache_dir: &Path,
    search: Option<&OsStr>,
    progress: &Progress,
) -> Result<PgBouncer, EmbeddedError> {
    let mut tried = vec!["PGBOUNCER_BIN: not set".to_owned()];
    let usual = PathBuf::from(USUAL);
    let installed = find_on_path("pgbouncer", search).or_else(|| usual.is_file().then_some(usual));
    match installed {
        Some(path) => match probe(&path) {
            Ok(found) => return Ok(found),
            Err(reason) => tried.push(reason),
        },
        None => tried.push(format!("PATH, {USUAL}: no program \"pgbouncer\"")),
    }
    match probe(&build::cached(cache_dir)) {
        Ok(found) => return Ok(found),
        Err(reason) => tried.push(reason),
    }
    match build::build(cache_dir, progress).await? {
        Ok(path) => match probe(&path) {
            Ok(found) => return Ok(found),
            Err(reason) => tried.push(reason),
        },
        Err(reason) => tried.push(reason),
    }
    Err(missing(tried))
}

fn missing(tried: Vec<String>) -> EmbeddedError {
    MissingInfrastructure {
        what: WHAT,
        tried,
        remedy: REMEDY,
    }
    .into()
}

/// Asks a program for its version; says why not when it does not do.
fn probe(path: &Path) -> Result<PgBouncer, String> {
    let shown = path.display();
    let output = Command::new(path)
        .arg("--version")
        .output()
        .map_err(|e| format!("{shown}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default();
    let version = line
        .strip_prefix("PgBouncer ")
        .and_then(Version::parse)
        .ok_or_else(|| format!("{shown}: unreadable version {line:?}"))?;
    if version < OLDEST {
        return Err(format!("{shown}: it is {version}, older than {OLDEST}"));
    }
    Ok(PgBouncer {
        path: path.to_owned(),
        version,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::scripts;

    fn script(path: &Path, lines: &str) {
        scripts::script(path, "755", &format!("printf '{lines}'"));
    }

    #[test]
    fn a_given_program_will_do_or_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgbouncer");
        let refused = |reason: &str| {
            let error = given(&path).unwrap_err();
            assert_eq!(error.code(), "INFRASTRUCTURE_MISSING");
            let text = error.to_string();
            assert!(
                text.contains("PGBOUNCER_BIN: ") && text.contains(reason),
                "{text}"
            );
        };
        refused("No such file");
        script(&path, "hello");
        refused("unreadable version");
        script(&path, "PgBouncer 1.18.0\\nlibevent 2.1.12-stable\\n");
        refused("1.18.0, older than 1.21.0");
        script(&path, "PgBouncer 1.24.1\\nlibevent 2.1.12-stable\\n");
        let found = given(&path).unwrap();
        assert_eq!(found.version().to_string(), "1.24.1");
        assert_eq!(found.path(), path);
    }

    #[tokio::test]
    async fn the_path_comes_before_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let cached = build::cached(folder.path());
        fs::create_dir_all(cached.parent().unwrap()).unwrap();
        script(&cached, "PgBouncer 1.24.1");
        let search = folder.path().join("bin");
        fs::create_dir(&search).unwrap();
        let installed = search.join("pgbouncer");
        let find = async || {
            let search = Some(search.as_os_str());
            let found = program(folder.path(), search, &Progress::default()).await;
            found.unwrap()
        };
        script(&installed, "PgBouncer 1.18.0");
        assert_eq!(find().await.path(), cached, "one that is too old is passed");
        script(&installed, "PgBouncer 1.25.0");
        assert_eq!(find().await.path(), installed);
    }
}
