//! Builds a `pgbouncer` and keeps it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::{EmbeddedError, Progress, cache, process::CleanupGuard};

const SCRIPT: &str = include_str!("build.sh");
/// The Debian release whose source package is built; it has 1.24.
const SUITE: &str = "trixie";
/// A machine without a route to a mirror waits no longer.
const BOUND: Duration = Duration::from_secs(300);

/// Where the program that this script builds is kept, whether it exists or not.
pub(super) fn cached(cache_dir: &Path) -> PathBuf {
    let digest = Sha256::digest([SUITE.as_bytes(), SCRIPT.as_bytes()].concat());
    let key = hex::encode(&digest[..8]);
    cache_dir.join("pgbouncer").join(key).join("pgbouncer")
}

/// Builds it unless another process does it first. The inner error says why it cannot be built; the
/// outer one is a fault of this machine.
pub(super) async fn build(
    cache_dir: &Path,
    progress: &Progress,
) -> Result<Result<PathBuf, String>, EmbeddedError> {
    let binary = cached(cache_dir);
    let root = cache_dir.join("pgbouncer");
    let _lock = cache::exclusive(&root.join("lock"), "building PgBouncer", progress).await?;
    if binary.is_file() {
        return Ok(Ok(binary));
    }
    let folder = binary.with_file_name("build");
    let log = root.join("build.log");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|e| EmbeddedError::io("remove", &folder, e))?;
    }
    fs::create_dir_all(&folder).map_err(|e| EmbeddedError::io("create", &folder, e))?;
    let guard = CleanupGuard::new(|| {
        let _ = fs::remove_dir_all(&folder);
    });
    progress.report(&format!(
        "building PgBouncer from Debian's source package: once, half a minute (output: {})",
        log.display()
    ));
    let output = File::create(&log).map_err(|e| EmbeddedError::io("create", &log, e))?;
    let errors = output
        .try_clone()
        .map_err(|e| EmbeddedError::io("open", &log, e))?;
    let begun = Instant::now();
    let mut child = Command::new("sh")
        .args(["-c", SCRIPT, "build.sh"])
        .arg(&folder)
        .arg(SUITE)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| EmbeddedError::io("execute", Path::new("sh"), e))?;
    let Ok(ended) = tokio::time::timeout(BOUND, child.wait()).await else {
        return Ok(Err(format!(
            "building PgBouncer: not done in {} s (output: {})",
            BOUND.as_secs(),
            log.display()
        )));
    };
    let status = ended.map_err(|e| EmbeddedError::io("wait for", Path::new("sh"), e))?;
    if !status.success() {
        let text = fs::read_to_string(&log).unwrap_or_default();
        return match EmbeddedError::program("building PgBouncer", &text, cache_dir, &log) {
            EmbeddedError::ProgramFailed { detail, .. } => Ok(Err(format!(
                "building PgBouncer: {detail} (output: {})",
                log.display()
            ))),
            fault => Err(fault),
        };
    }
    fs::rename(folder.join("pgbouncer"), &binary)
        .map_err(|e| EmbeddedError::io("create", &binary, e))?;
    drop(guard);
    progress.report(&format!(
        "built PgBouncer in {} s",
        begun.elapsed().as_secs()
    ));
    Ok(Ok(binary))
}
