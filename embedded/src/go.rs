//! Builds programs with Go and keeps them, one per version of their sources.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::process::Command;

use crate::{
    EmbeddedError, Progress,
    cache::{self, Sources},
    process::CleanupGuard,
};

const REPORT_EVERY: Duration = Duration::from_secs(10);

/// A program that is built from a Go module of this repository. Its sources are embedded, so an
/// installed binary can build it as well as a checkout can.
#[derive(Debug)]
pub(crate) struct GoProgram {
    /// Name of the binary and of its folder in the cache.
    pub(crate) name: &'static str,
    /// What it is, for people.
    pub(crate) title: &'static str,
    /// The package to build, as `go build` takes it.
    pub(crate) package: &'static str,
    /// All files that the build needs. The `go.mod` pins the modules and the Go version.
    pub(crate) sources: &'static Sources,
}

impl GoProgram {
    /// Where the binary for these sources is kept, whether it exists or not.
    pub(crate) fn cached(&self, cache_dir: &Path) -> PathBuf {
        cache::folder_of(self.sources, cache_dir, self.name).join(self.name)
    }

    /// Builds the binary unless another process does it first. The inner error says why it cannot
    /// be built; the outer one is a fault of this machine.
    pub(crate) async fn build(
        &self,
        cache_dir: &Path,
        progress: &Progress,
    ) -> Result<Result<PathBuf, String>, EmbeddedError> {
        let Self { name, title, .. } = self;
        let binary = self.cached(cache_dir);
        let Some(go) = find_go() else {
            return Ok(Err(format!(
                "building {name}: no Go on PATH or in /usr/local/go"
            )));
        };
        let root = cache_dir.join(name);
        let _lock =
            cache::exclusive(&root.join("lock"), &format!("building {title}"), progress).await?;
        if binary.is_file() {
            return Ok(Ok(binary));
        }
        let folder = binary.with_file_name("build");
        let log = root.join("build.log");
        cache::write_sources(self.sources, &folder)?;
        let guard = CleanupGuard::new(|| {
            let _ = fs::remove_dir_all(&folder);
        });
        progress.report(&format!(
            "building {title} with Go: once, takes minutes (output: {})",
            log.display()
        ));
        let output = File::create(&log).map_err(|e| EmbeddedError::io("create", &log, e))?;
        let errors = output
            .try_clone()
            .map_err(|e| EmbeddedError::io("open", &log, e))?;
        let begun = Instant::now();
        let mut child = self
            .command(&go, &folder, cache_dir)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| EmbeddedError::io("execute", &go, e))?;
        let status = loop {
            if let Ok(status) = tokio::time::timeout(REPORT_EVERY, child.wait()).await {
                break status.map_err(|e| EmbeddedError::io("wait for", &go, e))?;
            }
            progress.report(&format!(
                "building {title}: {} s",
                begun.elapsed().as_secs()
            ));
        };
        if !status.success() {
            let text = fs::read_to_string(&log).unwrap_or_default();
            return match EmbeddedError::program("go build", &text, cache_dir, &log) {
                EmbeddedError::ProgramFailed { detail, .. } => Ok(Err(format!(
                    "building {name} with {}: {detail} (output: {})",
                    go.display(),
                    log.display()
                ))),
                fault => Err(fault),
            };
        }
        fs::rename(folder.join(name), &binary)
            .map_err(|e| EmbeddedError::io("create", &binary, e))?;
        drop(guard);
        progress.report(&format!("built {title} in {} s", begun.elapsed().as_secs()));
        Ok(Ok(binary))
    }

    fn command(&self, go: &Path, folder: &Path, cache_dir: &Path) -> Command {
        let mut command = Command::new(go);
        command
            .args(["build", "-trimpath", "-ldflags", "-s -w", "-o", self.name])
            .arg(self.package)
            .current_dir(folder)
            .env("CGO_ENABLED", "0")
            // What a user has set for other modules must not change this build.
            .env("GOFLAGS", "-mod=readonly -buildvcs=false")
            .env("GOWORK", "off");
        let home = env::var_os("HOME");
        if !home.is_some_and(|home| cache::is_writable(Path::new(&home))) {
            // A service account: Go would refuse to guess its folders, or fail to make them.
            command
                .env("GOCACHE", cache_dir.join("go-build"))
                .env("GOPATH", cache_dir.join("go"));
        }
        command
    }
}

fn find_go() -> Option<PathBuf> {
    let usual = Path::new("/usr/local/go/bin/go");
    find_on_path("go", env::var_os("PATH").as_deref())
        .or_else(|| usual.is_file().then(|| usual.to_owned()))
}

pub(crate) fn find_on_path(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    env::split_paths(path?)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{oasdiff, opa, temporal};

    #[test]
    fn the_sources_are_complete() {
        for (program, folder) in [
            (&temporal::PROGRAM, "temporal-dev"),
            (&opa::PROGRAM, "opa-dev"),
            (&oasdiff::PROGRAM, "oasdiff-dev"),
        ] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("..")
                .join(folder);
            let mut files: Vec<String> = fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
                .filter(|name| name.starts_with("go.") || name.ends_with(".go"))
                .filter(|name| !name.ends_with("_test.go"))
                .collect();
            files.sort();
            let embedded: Vec<_> = program.sources.iter().map(|(name, _)| *name).collect();
            assert_eq!(files, embedded);
        }
    }

    #[test]
    fn the_key_is_stable_and_below_the_cache() {
        let cached = |program: &GoProgram| program.cached(Path::new("/cache"));
        let path = cached(&temporal::PROGRAM);
        assert_eq!(path, cached(&temporal::PROGRAM));
        assert!(
            path.starts_with("/cache/temporal-dev"),
            "{}",
            path.display()
        );
        assert!(cached(&opa::PROGRAM).starts_with("/cache/opa"));
    }

    #[test]
    fn a_program_is_found_on_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = Some(folder.path().as_os_str());
        assert_eq!(find_on_path("opa", path), None);
        assert_eq!(find_on_path("opa", None), None);
        let file = folder.path().join("opa");
        fs::write(&file, "").unwrap();
        assert_eq!(find_on_path("opa", path), Some(file));
    }
}
