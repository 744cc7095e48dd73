//! Builds `temporal-dev` with Go and keeps it, one per version of its sources.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::resolve::find_on_path;
use crate::{EmbeddedError, Progress, cache, process::CleanupGuard};

/// All of `temporal-dev/` that the build needs. Its `go.mod` pins the modules and
/// the Go version, so these decide what comes out.
const SOURCES: [(&str, &str); 4] = [
    ("go.mod", include_str!("../../../temporal-dev/go.mod")),
    ("go.sum", include_str!("../../../temporal-dev/go.sum")),
    ("main.go", include_str!("../../../temporal-dev/main.go")),
    ("server.go", include_str!("../../../temporal-dev/server.go")),
];

const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Where the binary for these sources is kept, whether it exists or not.
pub(super) fn cached(cache_dir: &Path) -> PathBuf {
    let mut hash = Sha256::new();
    for (name, text) in SOURCES {
        hash.update(name);
        hash.update([0]);
        hash.update(text);
        hash.update([0]);
    }
    let key = hex::encode(&hash.finalize()[..8]);
    cache_dir
        .join("temporal-dev")
        .join(key)
        .join("temporal-dev")
}

/// Builds the binary unless another process does it first. The inner error says
/// why it cannot be built; the outer one is a fault of this machine.
pub(super) async fn build(
    cache_dir: &Path,
    progress: &Progress,
) -> Result<Result<PathBuf, String>, EmbeddedError> {
    let binary = cached(cache_dir);
    let Some(go) = find_go() else {
        return Ok(Err(
            "building temporal-dev: no Go on PATH or in /usr/local/go".to_owned(),
        ));
    };
    let root = cache_dir.join("temporal-dev");
    let lock = root.join("lock");
    let _lock =
        cache::exclusive(&lock, "building the Temporal development server", progress).await?;
    if binary.is_file() {
        return Ok(Ok(binary));
    }
    let folder = binary.with_file_name("build");
    let log = root.join("build.log");
    write_sources(&folder).map_err(|e| EmbeddedError::io("write", &folder, e))?;
    let guard = CleanupGuard::new(|| {
        let _ = fs::remove_dir_all(&folder);
    });
    progress.report(&format!(
        "building the Temporal development server with Go: once, takes minutes (output: {})",
        log.display()
    ));
    let output = File::create(&log).map_err(|e| EmbeddedError::io("create", &log, e))?;
    let errors = output
        .try_clone()
        .map_err(|e| EmbeddedError::io("open", &log, e))?;
    let begun = Instant::now();
    let mut child = command(&go, &folder, cache_dir)
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
            "building the Temporal development server: {} s",
            begun.elapsed().as_secs()
        ));
    };
    if !status.success() {
        let text = fs::read_to_string(&log).unwrap_or_default();
        return match EmbeddedError::program("go build", &text, cache_dir, &log) {
            EmbeddedError::ProgramFailed { detail, .. } => Ok(Err(format!(
                "building temporal-dev with {}: {detail} (output: {})",
                go.display(),
                log.display()
            ))),
            fault => Err(fault),
        };
    }
    fs::rename(folder.join("temporal-dev"), &binary)
        .map_err(|e| EmbeddedError::io("create", &binary, e))?;
    drop(guard);
    progress.report(&format!(
        "built the Temporal development server in {} s",
        begun.elapsed().as_secs()
    ));
    Ok(Ok(binary))
}

fn find_go() -> Option<PathBuf> {
    let usual = Path::new("/usr/local/go/bin/go");
    find_on_path("go", env::var_os("PATH").as_deref())
        .or_else(|| usual.is_file().then(|| usual.to_owned()))
}

fn write_sources(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, text) in SOURCES {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn command(go: &Path, folder: &Path, cache_dir: &Path) -> Command {
    let mut command = Command::new(go);
    command
        .args([
            "build",
            "-trimpath",
            "-ldflags",
            "-s -w",
            "-o",
            "temporal-dev",
            ".",
        ])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_are_complete() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../temporal-dev");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("go.") || name.ends_with(".go"))
            .filter(|name| !name.ends_with("_test.go"))
            .collect();
        files.sort();
        assert_eq!(files, SOURCES.map(|(name, _)| name));
    }

    #[test]
    fn the_key_is_stable_and_below_the_cache() {
        let path = cached(Path::new("/cache"));
        assert_eq!(path, cached(Path::new("/cache")));
        assert!(
            path.starts_with("/cache/temporal-dev"),
            "{}",
            path.display()
        );
    }
}
