//! Finds an `opa`.

use std::{ffi::OsStr, path::Path, process::Command};

use super::{OLDEST, Opa, PROGRAM};
use crate::{EmbeddedError, MissingInfrastructure, Progress, go::find_on_path, version::Version};

const WHAT: &str = "Open Policy Agent (opa)";
const REMEDY: &str = "Install Go 1.26 or newer (https://go.dev/dl) with access to a Go module proxy, \
    then it is built once; or install opa 1.22 or newer (`opa version` tells) on PATH; or set \
    OPA_BIN to such a program.";

/// The program that was asked for by name is not replaced by another one.
pub(super) fn given(path: &Path) -> Result<Opa, EmbeddedError> {
    probe(path).map_err(|reason| missing(vec![format!("OPA_BIN: {reason}")]))
}

pub(super) async fn program(
    cache_dir: &Path,
    search: Option<&OsStr>,
    progress: &Progress,
) -> Result<Opa, EmbeddedError> {
    let mut tried = vec!["OPA_BIN: not set".to_owned()];
    match find_on_path("opa", search) {
        Some(path) => match probe(&path) {
            Ok(opa) => return Ok(opa),
            Err(reason) => tried.push(reason),
        },
        None => tried.push("PATH: no program \"opa\"".to_owned()),
    }
    match probe(&PROGRAM.cached(cache_dir)) {
        Ok(opa) => return Ok(opa),
        Err(reason) => tried.push(reason),
    }
    match PROGRAM.build(cache_dir, progress).await? {
        Ok(path) => match probe(&path) {
            Ok(opa) => return Ok(opa),
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
fn probe(path: &Path) -> Result<Opa, String> {
    let shown = path.display();
    let output = Command::new(path)
        .arg("version")
        .output()
        .map_err(|e| format!("{shown}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default();
    let version = line
        .strip_prefix("Version: ")
        .and_then(Version::parse)
        .ok_or_else(|| format!("{shown}: unreadable version {line:?}"))?;
    if version < OLDEST {
        return Err(format!("{shown}: it is {version}, older than {OLDEST}"));
    }
    Ok(Opa {
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
        let path = folder.path().join("opa");
        let refused = |reason: &str| {
            let error = given(&path).unwrap_err();
            assert_eq!(error.code(), "INFRASTRUCTURE_MISSING");
            let text = error.to_string();
            assert!(
                text.contains("OPA_BIN: ") && text.contains(reason),
                "{text}"
            );
        };
        refused("No such file");
        script(&path, "hello");
        refused("unreadable version");
        script(&path, "Version: 1.9.0\\nGo Version: go1.24\\n");
        refused("1.9.0, older than 1.22.0");
        script(&path, "Version: 1.22.2\\nBuild Commit: \\n");
        let found = given(&path).unwrap();
        assert_eq!(found.version().to_string(), "1.22.2");
        assert_eq!(found.path(), path);
    }

    #[tokio::test]
    async fn the_path_comes_before_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let cached = PROGRAM.cached(folder.path());
        fs::create_dir_all(cached.parent().unwrap()).unwrap();
        script(&cached, "Version: 1.22.2");
        let search = folder.path().join("bin");
        fs::create_dir(&search).unwrap();
        let installed = search.join("opa");
        let find = async || {
            program(
                folder.path(),
                Some(search.as_os_str()),
                &Progress::default(),
            )
            .await
            .unwrap()
        };
        assert_eq!(find().await.path(), cached);
        script(&installed, "Version: 1.0.0");
        assert_eq!(find().await.path(), cached, "one that is too old is passed");
        script(&installed, "Version: 1.30.0");
        assert_eq!(find().await.path(), installed);
    }

    #[test]
    fn the_remedy_names_the_versions_that_are_asked_for() {
        let pinned = PROGRAM.sources[0].1;
        assert!(pinned.contains("\ngo 1.26."), "the remedy names Go 1.26");
        let short = format!("{}.{}", OLDEST.major, OLDEST.minor);
        assert!(REMEDY.contains(&format!("opa {short} ")), "{REMEDY}");
        let of_pinned = format!("github.com/open-policy-agent/opa v{short}.");
        assert!(pinned.contains(&of_pinned), "the oldest is the pinned one");
    }
}
