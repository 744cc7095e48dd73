//! PostgreSQL refuses to run as root, so root lends it another account: the
//! programs are started with that account's ids, and own their data folder.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::EmbeddedError;

/// The account PostgreSQL runs under: `None` is our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account(Option<(u32, u32)>);

impl Account {
    /// Our own unless we are root; then `postgres`, else `nobody`. (`initdb` looks
    /// its user up, so an id without an entry would not do.)
    pub(crate) fn choose() -> Result<Self, EmbeddedError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let passwd = Path::new("/etc/passwd");
        let entries =
            fs::read_to_string(passwd).map_err(|e| EmbeddedError::io("read", passwd, e))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| ids_of(&entries, name))
            .map(|ids| Self(Some(ids)))
            .ok_or_else(|| EmbeddedError::Permission {
                path: passwd.to_owned(),
                detail: "PostgreSQL must not run as root, and there is neither a user \"postgres\" nor \"nobody\" to run it as".to_owned(),
            })
    }

    /// `path`, or as root, if the account cannot reach it (a folder below root's
    /// closed home), its stand-in below `fallback`, which only root can write.
    pub(crate) fn reachable(self, path: PathBuf, fallback: &Path) -> PathBuf {
        let Self(Some(ids)) = self else { return path };
        if path
            .ancestors()
            .skip(1)
            .all(|parent| may_enter(parent, ids))
        {
            return path;
        }
        let digest = hex::encode(&Sha256::digest(path.as_os_str().as_encoded_bytes())[..6]);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        fallback.join(format!("{name}-{digest}"))
    }

    pub(crate) fn own(self, path: &Path) -> Result<(), EmbeddedError> {
        let Self(Some((uid, gid))) = self else {
            return Ok(());
        };
        chown(path, Some(uid), Some(gid)).map_err(|e| EmbeddedError::io("chown", path, e))
    }

    pub(crate) fn apply(self, command: &mut Command) {
        if let Self(Some((uid, gid))) = self {
            command.uid(uid).gid(gid);
        }
    }
}

/// User and group id of `name` in the text of `/etc/passwd`.
fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

/// Whether an account may pass through a folder. One that does not exist yet will
/// be created by us and passable.
fn may_enter(folder: &Path, (uid, gid): (u32, u32)) -> bool {
    match fs::metadata(folder) {
        Ok(metadata) => mode_allows(
            metadata.mode(),
            (metadata.uid(), metadata.gid()),
            (uid, gid),
        ),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn mode_allows(mode: u32, owner: (u32, u32), account: (u32, u32)) -> bool {
    let execute = if owner.0 == account.0 {
        0o100
    } else if owner.1 == account.1 {
        0o010
    } else {
        0o001
    };
    mode & execute != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\nbad:x:a:b\n";

    #[test]
    fn reads_passwd() {
        assert_eq!(ids_of(PASSWD, "nobody"), Some((65534, 65533)));
        assert_eq!(ids_of(PASSWD, "postgres"), None);
        assert_eq!(ids_of(PASSWD, "bad"), None);
    }

    #[test]
    fn passing_through_needs_the_right_x_bit() {
        assert!(mode_allows(0o755, (0, 0), (5, 5)));
        assert!(!mode_allows(0o700, (0, 0), (5, 5)));
        assert!(mode_allows(0o700, (5, 0), (5, 5)));
        assert!(mode_allows(0o710, (0, 5), (5, 5)));
        assert!(!mode_allows(0o701, (0, 5), (5, 5)));
    }

    #[test]
    fn an_unreachable_folder_gets_one_stable_stand_in() {
        let parent = tempfile::tempdir().unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(parent.path(), closed).unwrap();
        let data = parent.path().join("pg");
        let other = Account(Some((u32::MAX - 7, u32::MAX - 7)));
        let fallback = Path::new("/var/lib/real-dispatch");
        let stand_in = other.reachable(data.clone(), fallback);
        assert!(stand_in.starts_with(fallback), "{}", stand_in.display());
        assert_eq!(stand_in, other.reachable(data.clone(), fallback));
        assert_ne!(
            stand_in,
            other.reachable(parent.path().join("x/pg"), fallback)
        );
        assert_eq!(Account(None).reachable(data.clone(), fallback), data);
    }
}
