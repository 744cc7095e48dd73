//! The file that a new key goes into.
//!
//! A key that could not be written down would be lost, so it is written before it is taken on; and what
//! lies in the file that was asked for has been taken on. So it is written beside that file first, and
//! takes its place when dispatch-api has it. What lies there after a run that was cut off is in doubt:
//! the next run asks. Whoever makes the key holds a lock, so that no other takes it for one in doubt.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use contracts::service_account::ApiKeyText;

use crate::exit::Failure;

/// A key beside its file, until it is known whether dispatch-api has taken it on.
#[derive(Debug)]
pub(super) struct Pending {
    file: PathBuf,
    beside: PathBuf,
    key: ApiKeyText,
    /// Locked while this lives.
    _lock: File,
}

impl Pending {
    /// Writes a key beside its file, readable by its owner alone.
    pub(super) fn write(file: &Path, key: &ApiKeyText) -> Result<Self, Failure> {
        let beside = beside(file);
        let mut lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .map_err(|error| trouble(&beside, &error))?;
        locked(&lock, &beside)?;
        let written = writeln!(lock, "{}", key.expose()).and_then(|()| lock.sync_all());
        let pending = Self {
            file: file.to_owned(),
            beside,
            key: key.clone(),
            _lock: lock,
        };
        match written {
            Ok(()) => Ok(pending),
            Err(error) => {
                let failure = trouble(&pending.beside, &error);
                pending.discard()?;
                Err(failure)
            }
        }
    }

    /// The key that a run left there which was cut off. A piece of one is good for nothing, and goes.
    pub(super) fn left(file: &Path) -> Result<Option<Self>, Failure> {
        let beside = beside(file);
        let lock = match File::open(&beside) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(trouble(&beside, &error)),
        };
        locked(&lock, &beside)?;
        match read(&beside)? {
            Some(key) => Ok(Some(Self {
                file: file.to_owned(),
                beside,
                key,
                _lock: lock,
            })),
            None => {
                fs::remove_file(&beside).map_err(|error| trouble(&beside, &error))?;
                Ok(None)
            }
        }
    }

    /// Which it is.
    pub(super) fn key(&self) -> &ApiKeyText {
        &self.key
    }

    /// Where it is.
    pub(super) fn place(&self) -> &Path {
        &self.beside
    }

    /// It was taken on.
    pub(super) fn keep(self) -> Result<(), Failure> {
        fs::rename(&self.beside, &self.file).map_err(|error| {
            Failure::failed(format!(
                "the key is good, and lies in {}, but {}: {error}",
                self.beside.display(),
                self.file.display()
            ))
        })
    }

    /// It was not, and is good for nothing.
    pub(super) fn discard(self) -> Result<(), Failure> {
        fs::remove_file(&self.beside).map_err(|error| trouble(&self.beside, &error))
    }
}

/// The key in a file; `None` when there is something else in it.
pub(super) fn read(path: &Path) -> Result<Option<ApiKeyText>, Failure> {
    let text = fs::read(path).map_err(|error| trouble(path, &error))?;
    let text = String::from_utf8_lossy(&text);
    Ok(ApiKeyText::parse(text.trim()).ok())
}

fn beside(file: &Path) -> PathBuf {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pending");
    beside.into()
}

fn locked(file: &File, path: &Path) -> Result<(), Failure> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => Failure::failed(format!(
            "{}: another `dispatch api-key` is making a key for this file",
            path.display()
        )),
        TryLockError::Error(error) => trouble(path, &error),
    })
}

fn trouble(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_its_owners_and_in_its_place_once_it_is_taken_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.key");
        let key = client::draw_api_key();
        let pending = Pending::write(&path, &key).unwrap();
        assert!(!path.exists());
        let mode = fs::metadata(pending.place()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // Neither is it in doubt while it is made, nor is another one made beside it.
        assert!(Pending::left(&path).is_err());
        assert!(Pending::write(&path, &client::draw_api_key()).is_err());
        pending.keep().unwrap();
        assert_eq!(read(&path).unwrap(), Some(key));
        assert!(Pending::left(&path).unwrap().is_none());
    }

    #[test]
    fn what_was_left_is_found_and_a_piece_of_a_key_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.key");
        let key = client::draw_api_key();
        drop(Pending::write(&path, &key).unwrap());
        let left = Pending::left(&path).unwrap().unwrap();
        assert_eq!(left.key(), &key);
        left.discard().unwrap();
        fs::write(
            folder.path().join("worker.key.pending"),
            &key.expose()[..30],
        )
        .unwrap();
        assert!(Pending::left(&path).unwrap().is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
