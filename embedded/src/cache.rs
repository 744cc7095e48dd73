//! Where programs that were downloaded or built are kept, outside of any
//! repository's build folder, so that `cargo clean` does not cost minutes.

use std::{
    env,
    fs::{self, DirBuilder, File},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{EmbeddedError, Progress};

/// `$XDG_CACHE_HOME/real-dispatch`, else `~/.cache/real-dispatch`, else (a service account without
/// a home) a folder of this user below the system's temporary one. Makes it.
///
/// # Errors
/// [`EmbeddedError::NoCache`] when none can be used.
pub fn default_cache_dir() -> Result<PathBuf, EmbeddedError> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    choose(set("XDG_CACHE_HOME"), set("HOME"), &env::temp_dir())
}

fn choose(
    given: Option<PathBuf>,
    home: Option<PathBuf>,
    temp: &Path,
) -> Result<PathBuf, EmbeddedError> {
    const NAME: &str = "real-dispatch";
    let mut tried = Vec::new();
    let wanted = given
        .clone()
        .or_else(|| home.map(|home| home.join(".cache")))
        .map(|cache| cache.join(NAME));
    if let Some(folder) = wanted {
        match fs::create_dir_all(&folder) {
            Ok(()) if is_writable(&folder) => return Ok(folder),
            Ok(()) => tried.push(format!("{} is not writable", folder.display())),
            Err(error) => tried.push(format!("cannot create {}: {error}", folder.display())),
        }
    }
    // A folder that was asked for by name is not replaced by something else.
    if given.is_none() {
        let own = rustix::process::geteuid().as_raw();
        let folder = temp.join(format!("{NAME}-{own}"));
        match private(&folder, own) {
            Ok(()) => return Ok(folder),
            Err(reason) => tried.push(reason),
        }
    }
    Err(EmbeddedError::NoCache {
        tried: tried.join("; "),
    })
}

/// The temporary folder is open to everybody: what was put there by somebody else, or what others
/// may write to, must not be executed.
fn private(folder: &Path, own: u32) -> Result<(), String> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(format!("cannot create {}: {error}", folder.display()));
        }
        _ => {}
    }
    // Not followed when it is a link.
    match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() && found.uid() == own && found.mode() & 0o077 == 0 => Ok(()),
        Ok(_) => Err(format!(
            "{} is not a folder of this user alone (mode 0700)",
            folder.display()
        )),
        Err(error) => Err(format!("cannot read {}: {error}", folder.display())),
    }
}

/// Whether this process may make files in the folder.
pub(crate) fn is_writable(folder: &Path) -> bool {
    use rustix::fs::Access;
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
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

/// Files of this repository that a program is built or installed from, by name. They are embedded, and
/// pin all else that comes in, so they decide what comes out.
pub(crate) type Sources = [(&'static str, &'static str)];

/// Where what these sources make is kept, whether it exists or not.
pub(crate) fn folder_of(sources: &Sources, cache_dir: &Path, name: &str) -> PathBuf {
    let mut hash = Sha256::new();
    for (name, text) in sources {
        hash.update(name);
        hash.update([0]);
        hash.update(text);
        hash.update([0]);
    }
    let key = hex::encode(&hash.finalize()[..8]);
    cache_dir.join(name).join(key)
}

/// Makes the folder, with the sources in it.
pub(crate) fn write_sources(sources: &Sources, folder: &Path) -> Result<(), EmbeddedError> {
    fs::create_dir_all(folder).map_err(|e| EmbeddedError::io("create", folder, e))?;
    for (name, text) in sources {
        let file = folder.join(name);
        fs::write(&file, text).map_err(|e| EmbeddedError::io("write", &file, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_home_that_cannot_be_used_is_replaced_by_a_private_folder() {
        let temp = tempfile::tempdir().unwrap();
        // No folder can be made below a file, not even by root.
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        let folder = choose(None, Some(file.join("home")), temp.path()).unwrap();
        assert!(folder.starts_with(temp.path()), "{}", folder.display());
        assert_eq!(
            fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let again = choose(None, None, temp.path()).unwrap();
        assert_eq!(again, folder);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_not_taken() {
        let temp = tempfile::tempdir().unwrap();
        let folder = choose(None, None, temp.path()).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let error = choose(None, None, temp.path()).unwrap_err().to_string();
        assert!(error.contains("XDG_CACHE_HOME"), "{error}");
        let elsewhere = temp.path().join("elsewhere");
        fs::rename(&folder, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &folder).unwrap();
        assert!(choose(None, None, temp.path()).is_err());
    }

    #[test]
    fn a_given_folder_is_used_or_refused() {
        let temp = tempfile::tempdir().unwrap();
        let given = temp.path().join("cache");
        let folder = choose(Some(given.clone()), None, temp.path()).unwrap();
        assert_eq!(folder, given.join("real-dispatch"));
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        let error = choose(Some(file), None, temp.path()).unwrap_err();
        assert_eq!(error.code(), "NO_CACHE");
        assert!(error.to_string().contains("XDG_CACHE_HOME"), "{error}");
    }
}
