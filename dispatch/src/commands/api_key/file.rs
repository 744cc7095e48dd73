//! The file that a new key goes into.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use contracts::service_account::ApiKeyText;

use crate::exit::Failure;

/// A new file, readable by its owner alone. One that is there is somebody else's key.
pub(super) fn write(path: &Path, key: &ApiKeyText) -> Result<(), Failure> {
    let trouble = |error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(trouble)?;
    let written = writeln!(file, "{}", key.expose()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        remove(path);
        trouble(error)
    })
}

/// A key that nobody took on is good for nothing.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        eprintln!("{} could not be removed: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_its_owners_and_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.key");
        let key = client::draw_api_key();
        write(&path, &key).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(write(&path, &client::draw_api_key()).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap().trim(), key.expose());
        remove(&path);
        assert!(!path.exists());
    }
}
