//! The cluster: what `initdb` creates and one major version can read.

use std::{fs, io::Write as _, path::Path, process::Stdio};

use tokio::process::Command;

use super::{Durability, account::Account, binaries::Binaries, folder::PASSWORD_FILE};
use crate::{EmbeddedError, process};

/// One of PostgreSQL's programs, with an environment that does not depend on the
/// user's: locale variables decide about messages and sorting.
pub(super) fn program(binaries: &Binaries, name: &str, account: Account, folder: &Path) -> Command {
    let mut command = Command::new(binaries.dir.join(name));
    command
        .env_clear()
        .env("LC_ALL", LOCALE)
        .current_dir(folder);
    account.apply(&mut command);
    command
}

/// macOS has no C.UTF-8 before version 14.
const LOCALE: &str = if cfg!(target_os = "macos") {
    "C"
} else {
    "C.UTF-8"
};

/// Creates the cluster beside its place and renames it, so that one whose
/// creation was interrupted is never taken for a whole one.
pub(super) async fn initialise(
    binaries: &Binaries,
    account: Account,
    folder: &Path,
    durability: Durability,
    log: &Path,
) -> Result<(), EmbeddedError> {
    let partial = folder.join("cluster.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|e| EmbeddedError::io("remove", &partial, e))?;
    }
    let mut command = program(binaries, "initdb", account, folder);
    command
        .arg("-D")
        .arg(&partial)
        .args([
            "-U",
            "postgres",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-instructions",
        ])
        .arg(format!("--locale={LOCALE}"))
        .arg("--pwfile")
        .arg(folder.join(PASSWORD_FILE));
    if durability == Durability::Fast {
        command.arg("--no-sync");
    }
    let executable = binaries.dir.join("initdb");
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| EmbeddedError::io("execute", &executable, e))?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        // The error itself matters more than a log that cannot be written.
        let _ = process::append(log).map(|mut log| log.write_all(text.as_bytes()));
        let _ = fs::remove_dir_all(&partial);
        return Err(EmbeddedError::program("initdb", &text, folder, log));
    }
    let cluster = folder.join("cluster");
    fs::rename(&partial, &cluster).map_err(|e| EmbeddedError::io("create", &cluster, e))
}

/// The major version that wrote a cluster.
pub(super) fn written_by(cluster: &Path) -> Option<u32> {
    fs::read_to_string(cluster.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_data_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(written_by(folder.path()), None);
        fs::write(folder.path().join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(written_by(folder.path()), Some(15));
    }
}
