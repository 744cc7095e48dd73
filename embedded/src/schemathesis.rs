//! schemathesis, which makes requests of the API's document and holds the answers to it: the version
//! that `schemathesis-dev/` pins, installed with pip into an environment of its own and cached.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use crate::{
    EmbeddedError, MissingInfrastructure, Progress, cache, default_cache_dir, go::find_on_path,
    process::CleanupGuard,
};

const WHAT: &str = "schemathesis";
const REMEDY: &str = "Install Python 3.11 or newer with `venv` (https://python.org) with access to a \
    Python package index, then it is installed once.";
const NAME: &str = "schemathesis-dev";
/// What is installed: it alone decides whether that has to be done again.
const SOURCES: [(&str, &str); 1] = [(
    "requirements.txt",
    include_str!("../../schemathesis-dev/requirements.txt"),
)];
/// How it is used.
const SETTINGS: [(&str, &str); 2] = [
    (
        "schemathesis.toml",
        include_str!("../../schemathesis-dev/schemathesis.toml"),
    ),
    ("hooks.py", include_str!("../../schemathesis-dev/hooks.py")),
];

/// A `schemathesis` that can be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schemathesis {
    installed: PathBuf,
    settings: PathBuf,
}

impl Schemathesis {
    /// The cached installation, or one made now, once: less than half a minute.
    ///
    /// # Errors
    /// [`EmbeddedError::Missing`] without Python or a package index.
    pub async fn resolve(progress: &Progress) -> Result<Self, EmbeddedError> {
        Self::within(
            &default_cache_dir()?,
            env::var_os("PATH").as_deref(),
            progress,
        )
        .await
    }

    async fn within(
        cache_dir: &Path,
        search: Option<&OsStr>,
        progress: &Progress,
    ) -> Result<Self, EmbeddedError> {
        let missing = |reason: String| {
            EmbeddedError::from(MissingInfrastructure {
                what: WHAT,
                tried: vec![reason],
                remedy: REMEDY,
            })
        };
        let python = find_on_path("python3", search)
            .ok_or_else(|| missing("PATH: no program \"python3\"".to_owned()))?;
        let folder = cache::folder_of(&SOURCES, cache_dir, NAME);
        let _lock = cache::exclusive(
            &cache_dir.join(NAME).join("lock"),
            "installing schemathesis",
            progress,
        )
        .await?;
        // Programs of an environment know where it is: it cannot be made elsewhere and moved, so the
        // last file says that it is whole.
        if !folder.join(LAST).is_file() {
            progress.report("installing schemathesis with pip: once");
            install(&python, &folder).await?.map_err(missing)?;
        }
        let settings = cache::folder_of(&SETTINGS, &folder, "settings");
        // What others are reading right now is left alone.
        let is_there = |(name, text): &(&str, &str)| {
            fs::read_to_string(settings.join(name)).is_ok_and(|found| found == *text)
        };
        if !SETTINGS.iter().all(is_there) {
            cache::write_sources(&SETTINGS, &settings)?;
        }
        Ok(Self {
            installed: folder,
            settings,
        })
    }

    /// A command that runs it, with our settings and hooks.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.installed.join("environment/bin/schemathesis"));
        command
            .arg("--config-file")
            .arg(self.settings.join("schemathesis.toml"))
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .env("PYTHONPATH", &self.settings)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// Written when all is installed.
const LAST: &str = "installed";

/// The inner error says why pip could not; the outer one is a fault of this machine.
async fn install(python: &Path, folder: &Path) -> Result<Result<(), String>, EmbeddedError> {
    // What an earlier try has left.
    let _ = fs::remove_dir_all(folder);
    let guard = CleanupGuard::new(|| {
        let _ = fs::remove_dir_all(folder);
    });
    cache::write_sources(&SOURCES, folder)?;
    let environment = folder.join("environment");
    let mut make = Command::new(python);
    make.args(["-m", "venv"]).arg(&environment);
    let mut fill = Command::new(environment.join("bin/python"));
    fill.args([
        "-m",
        "pip",
        "install",
        "-q",
        "--require-hashes",
        "--only-binary=:all:",
    ])
    .args(["--disable-pip-version-check", "-r", "requirements.txt"]);
    for (what, mut command) in [("venv", make), ("pip install", fill)] {
        let output = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|e| EmbeddedError::io("execute", python, e))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Ok(Err(format!("{what}: {}", said.trim())));
        }
    }
    let last = folder.join(LAST);
    fs::write(&last, "").map_err(|e| EmbeddedError::io("write", &last, e))?;
    guard.disarm();
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_python_it_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let search = Some(folder.path().as_os_str());
        let error = Schemathesis::within(folder.path(), search, &Progress::default()).await;
        let error = error.unwrap_err();
        assert_eq!(error.code(), "INFRASTRUCTURE_MISSING");
        assert!(
            error.to_string().contains("no program \"python3\""),
            "{error}"
        );
    }

    #[test]
    fn everything_is_pinned_with_its_hashes() {
        let (_, requirements) = SOURCES[0];
        let pinned = requirements.lines().filter(|line| line.contains("=="));
        let mut packages = 0;
        for line in pinned {
            assert!(line.ends_with('\\'), "{line} has no hash");
            packages += 1;
        }
        assert!(packages > 20, "{packages}");
        assert!(requirements.contains("schemathesis==4.32.5"));
    }
}
