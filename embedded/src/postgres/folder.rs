//! The folder that holds all of a server.

use std::{
    env,
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use uuid::Uuid;

use super::{account::Account, pidfile::PidFile};
use crate::{EmbeddedError, process::OwnerLock};

/// Data of a root process goes here if the real place is closed to the account.
const ROOT_DATA: &str = "/var/lib/real-dispatch";
const TEMPORARY_PREFIX: &str = "real-dispatch-pg-";

pub(super) const PASSWORD_FILE: &str = "superuser.password";

/// The superuser's password: random, made once, readable by its owner only.
pub(super) fn password(folder: &Path, account: Account) -> Result<String, EmbeddedError> {
    let file = folder.join(PASSWORD_FILE);
    if let Ok(password) = fs::read_to_string(&file)
        && !password.trim().is_empty()
    {
        return Ok(password.trim().to_owned());
    }
    let password = Uuid::new_v4().simple().to_string();
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&file)
        .and_then(|mut opened| opened.write_all(password.as_bytes()))
        .map_err(|e| EmbeddedError::io("write", &file, e))?;
    account.own(&file)?;
    Ok(password)
}

/// Where the data for `data_dir` really goes.
pub(super) fn data_folder(account: Account, data_dir: &Path) -> Result<PathBuf, EmbeddedError> {
    Ok(account.reachable(absolute(data_dir)?, Path::new(ROOT_DATA)))
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, EmbeddedError> {
    std::path::absolute(path).map_err(|e| EmbeddedError::io("find", path, e))
}

/// Creates a folder that only the account can enter.
pub(super) fn create_private(folder: &Path, account: Account) -> Result<(), EmbeddedError> {
    fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o700)))
        .map_err(|e| EmbeddedError::io("create", folder, e))?;
    account.own(folder)
}

/// A data folder that goes with its server.
#[derive(Debug)]
pub(super) struct TemporaryFolder(pub(super) PathBuf);

impl TemporaryFolder {
    pub(super) fn create() -> Result<Self, EmbeddedError> {
        let root = env::temp_dir();
        sweep(&root);
        let folder = root.join(format!("{TEMPORARY_PREFIX}{}", Uuid::new_v4().simple()));
        fs::create_dir(&folder).map_err(|e| EmbeddedError::io("create", &folder, e))?;
        Ok(Self(folder))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // Best effort: a drop cannot report, and the next start sweeps.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes the temporary folders of processes that were killed: those whose lock
/// is free, unless they are so new that the lock may be about to be taken.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let folder = entry.path();
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(TEMPORARY_PREFIX)
            && age(&folder).is_some_and(|age| age > Duration::from_secs(60))
            && let Ok(_lock) = OwnerLock::take(&folder.join("owner.lock"), &folder)
            && PidFile::read(&folder.join("cluster")).is_none()
        {
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

/// Time since a folder's entries last changed.
fn age(folder: &Path) -> Option<Duration> {
    fs::metadata(folder).ok()?.modified().ok()?.elapsed().ok()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::SystemTime};

    use super::*;

    #[test]
    fn a_password_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let account = Account::choose().unwrap();
        let first = password(folder.path(), account).unwrap();
        assert_eq!(first.len(), 32);
        assert_eq!(password(folder.path(), account).unwrap(), first);
        let mode = fs::metadata(folder.path().join(PASSWORD_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn only_abandoned_temporary_folders_are_swept() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| root.path().join(format!("{TEMPORARY_PREFIX}{name}"));
        for name in ["dead", "alive", "new"] {
            fs::create_dir(folder(name)).unwrap();
        }
        drop(OwnerLock::take(&folder("dead").join("owner.lock"), root.path()).unwrap());
        let _held = OwnerLock::take(&folder("alive").join("owner.lock"), root.path()).unwrap();
        for name in ["dead", "alive"] {
            let hour_ago = SystemTime::now() - Duration::from_secs(3600);
            File::open(folder(name))
                .unwrap()
                .set_modified(hour_ago)
                .unwrap();
        }
        sweep(root.path());
        assert!(!folder("dead").exists());
        assert!(folder("alive").exists() && folder("new").exists());
    }
}
