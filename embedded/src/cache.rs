//! Where programs that were downloaded or built are kept, outside of any
//! repository's build folder, so that `cargo clean` does not cost minutes.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{EmbeddedError, Progress};

/// `$XDG_CACHE_HOME/real-dispatch`, else `~/.cache/real-dispatch`, else a folder
/// below the system's temporary one.
#[must_use]
pub fn default_cache_dir() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("real-dispatch")
}

/// Takes `lock_file` for this process, waiting for the one that has it. The lock
/// ends with the returned file, or with the process.
pub(crate) async fn exclusive(
    lock_file: &Path,
    purpose: &str,
    progress: &Progress,
) -> Result<File, EmbeddedError> {
    if let Some(parent) = lock_file.parent() {
        fs::create_dir_all(parent).map_err(|e| EmbeddedError::io("create", parent, e))?;
    }
    let file = File::create(lock_file).map_err(|e| EmbeddedError::io("create", lock_file, e))?;
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    progress.report(&format!("waiting for another process that is {purpose}"));
    tokio::task::spawn_blocking(move || file.lock().map(|()| file))
        .await
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(|e| EmbeddedError::io("lock", lock_file, e))
}
