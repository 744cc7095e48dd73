//! Finds a program that is a Temporal server.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{PROGRAM, Version};
use crate::{EmbeddedError, MissingInfrastructure, Progress, go::find_on_path};

/// What to do without a server; a macro, because the text is one constant per version.
macro_rules! remedy {
    ($server:literal) => {
        concat!(
            "Install Go 1.26 or newer (https://go.dev/dl) with access to a Go module proxy, then the \
             server is built once; or install a Temporal CLI whose server is ",
            $server,
            " or newer (`temporal --version` tells); or set TEMPORAL_ADDRESS to a running server, ",
            $server,
            " or newer."
        )
    };
}

/// Which program it is; they differ in how they end with their parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Ours: has time skipping, watches its parent.
    TemporalDev,
    /// The official one.
    Cli,
}

/// A program that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) version: Version,
}

/// The first of: `temporal` on PATH, the cached `temporal-dev`, the Rust SDK's
/// cached download, a `temporal-dev` built now.
pub(super) async fn program(
    cache_dir: &Path,
    need_time_skipping: bool,
    progress: &Progress,
) -> Result<Program, EmbeddedError> {
    let mut tried = vec!["TEMPORAL_ADDRESS: no address was given".to_owned()];
    let oldest = if need_time_skipping {
        Version::TIME_SKIPPING
    } else {
        Version::OLDEST
    };

    match find_on_path("temporal", env::var_os("PATH").as_deref()) {
        Some(path) => match probe(&path, Kind::Cli, oldest) {
            Ok(program) => return Ok(program),
            Err(reason) => tried.push(reason),
        },
        None => tried.push("PATH: no program \"temporal\"".to_owned()),
    }
    let cached = PROGRAM.cached(cache_dir);
    match probe(&cached, Kind::TemporalDev, oldest) {
        Ok(program) => return Ok(program),
        Err(reason) => tried.push(reason),
    }
    let downloads = sdk_downloads(&env::temp_dir());
    if downloads.is_empty() {
        tried.push(format!(
            "{}: no download of the Rust SDK",
            env::temp_dir().display()
        ));
    }
    for path in downloads {
        match probe(&path, Kind::Cli, oldest) {
            Ok(program) => return Ok(program),
            Err(reason) => tried.push(reason),
        }
    }
    match PROGRAM.build(cache_dir, progress).await? {
        Ok(path) => match probe(&path, Kind::TemporalDev, oldest) {
            Ok(program) => return Ok(program),
            Err(reason) => tried.push(reason),
        },
        Err(reason) => tried.push(reason),
    }
    Err(MissingInfrastructure {
        what: if need_time_skipping {
            "Temporal server with time skipping"
        } else {
            "Temporal server"
        },
        tried,
        remedy: if need_time_skipping {
            remedy!("1.32")
        } else {
            remedy!("1.29")
        },
    }
    .into())
}

/// Asks a program for its version; says why not when it does not do.
fn probe(path: &Path, kind: Kind, oldest: Version) -> Result<Program, String> {
    let shown = path.display();
    let output = Command::new(path)
        .arg("--version")
        .output()
        .map_err(|e| format!("{shown}: {e}"))?;
    let line = String::from_utf8_lossy(&output.stdout);
    let version = Version::of_program(&line)
        .ok_or_else(|| format!("{shown}: unreadable version {:?}", line.trim()))?;
    if version < oldest {
        return Err(format!(
            "{shown}: its server is {version}, older than {oldest}"
        ));
    }
    Ok(Program {
        path: path.to_owned(),
        kind,
        version,
    })
}

/// What the SDK's test environment has downloaded before. The temporary folder is
/// open to everybody, so only files that nobody else could have put there count.
fn sdk_downloads(temp_dir: &Path) -> Vec<PathBuf> {
    let own = rustix::process::geteuid().as_raw();
    fs::read_dir(temp_dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("temporal-sdk-") && !name.ends_with(".downloading")
        })
        .filter(|entry| {
            entry
                .metadata()
                .is_ok_and(|file| file.is_file() && file.uid() == own && file.mode() & 0o022 == 0)
        })
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts;

    fn script(path: &Path, mode: u32, line: &str) {
        scripts::script(path, &format!("{mode:o}"), &format!("echo '{line}'"));
    }

    #[test]
    fn a_program_is_taken_if_it_is_new_enough() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("temporal");
        script(
            &path,
            0o755,
            "temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)",
        );
        assert!(probe(&path, Kind::Cli, Version::OLDEST).is_ok());
        let reason = probe(&path, Kind::Cli, Version::TIME_SKIPPING).unwrap_err();
        assert!(reason.contains("1.29.1, older than 1.32.0"), "{reason}");
    }

    #[test]
    fn the_remedy_names_the_versions_that_are_asked_for() {
        let go_mod = include_str!("../../../temporal-dev/go.mod");
        assert!(go_mod.contains("\ngo 1.26."), "the remedy names Go 1.26");
        let short = |version: Version| format!(" {}.{} ", version.major, version.minor);
        for (text, version) in [
            (remedy!("1.29"), Version::OLDEST),
            (remedy!("1.32"), Version::TIME_SKIPPING),
        ] {
            assert!(text.contains("Go 1.26 or newer"), "{text}");
            assert!(text.contains(&short(version)), "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("temporal");
        assert!(
            probe(&path, Kind::Cli, Version::OLDEST)
                .unwrap_err()
                .contains("No such file")
        );
        script(&path, 0o755, "hello");
        assert!(
            probe(&path, Kind::Cli, Version::OLDEST)
                .unwrap_err()
                .contains("hello")
        );
    }

    #[test]
    fn downloads_that_others_could_have_written_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        script(&file("temporal-sdk-rust-0.1.0"), 0o755, "");
        script(&file("temporal-sdk-rust-0.2.0"), 0o777, "");
        script(&file("temporal-sdk-rust-0.3.0.downloading"), 0o755, "");
        script(&file("other"), 0o755, "");
        assert_eq!(
            sdk_downloads(folder.path()),
            [file("temporal-sdk-rust-0.1.0")]
        );
    }
}
