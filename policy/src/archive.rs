//! A bundle as one file: a gzipped tar as OPA reads and writes it.
//!
//! An archive comes from outside, so nothing in it is believed: what unpacks to more than a bundle
//! can hold is given up on, anything but regular files and directories is refused, and so is
//! content that a second reader could see differently (a second gzip member, bytes after the end).
//! Nothing is ever unpacked to a disk.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use flate2::{Compression, GzBuilder, bufread::GzDecoder};
use tar::{Archive, Builder, EntryType, Header};

use crate::{
    error::BundleError,
    files::{self, BundleFiles, MAX_FILE_BYTES, MAX_TOTAL_BYTES, SIGNATURES},
};

/// Of the packed file.
const MAX_ARCHIVE_BYTES: u64 = 8 << 20;
/// Of the tar inside: all files, and room for the headers of a few hundred.
const MAX_TAR_BYTES: u64 = MAX_TOTAL_BYTES as u64 + (2 << 20);
/// Directories count too.
const MAX_ENTRIES: usize = 1024;

/// The bytes of an archive on disk.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_ARCHIVE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(files::io(path))?;
    Ok(bytes)
}

/// Reads an archive.
pub(crate) fn read(bytes: &[u8]) -> Result<BundleFiles, BundleError> {
    let tar = unpack(bytes)?;
    let mut archive = Archive::new(tar.as_slice());
    let mut files = BundleFiles::default();
    for (count, entry) in archive.entries().map_err(broken)?.enumerate() {
        if count == MAX_ENTRIES {
            return Err(refused("it holds more than 1024 entries"));
        }
        let entry = entry.map_err(broken)?;
        let path = inside(&entry.path_bytes())?;
        match entry.header().entry_type() {
            EntryType::Directory => continue,
            EntryType::Regular => {}
            _ => return Err(files::unexpected(&path, "it is not a regular file")),
        }
        if entry.size() > MAX_FILE_BYTES {
            return Err(files::unexpected(&path, "it is larger than 1 MiB"));
        }
        let (size, mut content) = (entry.size(), Vec::new());
        entry
            .take(MAX_FILE_BYTES)
            .read_to_end(&mut content)
            .map_err(broken)?;
        if content.len() as u64 != size {
            return Err(refused("it ends in the middle of a file"));
        }
        files.insert_bytes(path, content)?;
    }
    if archive.into_inner().iter().any(|byte| *byte != 0) {
        return Err(refused("something follows the end of the tar"));
    }
    Ok(files)
}

/// Writes an archive: sorted, without times, owners and names of machines.
pub(crate) fn write(files: &BundleFiles) -> Result<Vec<u8>, BundleError> {
    let packed = GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), Compression::best());
    let mut tar = Builder::new(packed);
    let mut all: Vec<_> = files.iter().collect();
    all.extend(files.signatures().map(|text| (SIGNATURES, text)));
    all.sort_unstable();
    for (path, text) in all {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, path, text.as_bytes())
            .map_err(broken)?;
    }
    tar.into_inner()
        .and_then(flate2::write::GzEncoder::finish)
        .map_err(broken)
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, BundleError> {
    if bytes.len() as u64 > MAX_ARCHIVE_BYTES {
        return Err(refused("it is larger than 8 MiB"));
    }
    let mut tar = Vec::new();
    let mut decoder = GzDecoder::new(bytes);
    decoder
        .by_ref()
        .take(MAX_TAR_BYTES + 1)
        .read_to_end(&mut tar)
        .map_err(broken)?;
    if tar.len() as u64 > MAX_TAR_BYTES {
        return Err(refused("it unpacks to more than 10 MiB"));
    }
    if !decoder.into_inner().is_empty() {
        return Err(refused("something follows the end of the gzip data"));
    }
    Ok(tar)
}

/// The path inside the bundle. OPA writes `/a/b.rego`, `tar -C dir .` writes `./a/b.rego`.
fn inside(path: &[u8]) -> Result<String, BundleError> {
    let Ok(path) = std::str::from_utf8(path) else {
        let path = String::from_utf8_lossy(path);
        return Err(files::unexpected(&path, "its name is not UTF-8"));
    };
    let inside = path.strip_prefix("./").or_else(|| path.strip_prefix('/'));
    Ok(inside.unwrap_or(path).to_owned())
}

fn broken(error: io::Error) -> BundleError {
    refused(&error.to_string())
}

fn refused(reason: &str) -> BundleError {
    BundleError::Archive {
        reason: reason.to_owned(),
    }
}
