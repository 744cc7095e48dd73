//! Whose a file is, for messages about files that we may not use.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// `; it belongs to user 1000, this process runs as user 10001` when that is so, else nothing. Of a
/// path that is not there yet, the nearest folder above it that is.
pub fn of(path: &Path) -> String {
    let ours = rustix::process::geteuid().as_raw();
    let nearest = path
        .ancestors()
        .find_map(|path| fs::metadata(path).ok().map(|found| (path, found.uid())));
    match nearest {
        Some((at, uid)) if uid != ours => format!(
            "; {} belongs to user {uid}, this process runs as user {ours}",
            at.display()
        ),
        _ => String::new(),
    }
}
