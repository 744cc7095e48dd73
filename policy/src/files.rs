//! The files of a bundle and the identity that follows from them.
//!
//! The hash is taken over the sorted list of (path, SHA-256 of the content), so it depends neither
//! on where the bundle lies nor on how it was packed.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::error::BundleError;

/// Name of the manifest, at the top of the bundle.
pub(crate) const MANIFEST: &str = ".manifest";
const DATA: &str = "data.json";
const MODULE: &str = ".rego";
const TEST_MODULE: &str = "_test.rego";

const MAX_FILES: usize = 256;
const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_DEPTH: usize = 8;

/// All files of a bundle: path inside the bundle (with `/`) → text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFiles(BTreeMap<String, String>);

impl BundleFiles {
    /// Takes files that are in memory already.
    pub fn from_texts<P: Into<String>, T: Into<String>>(
        files: impl IntoIterator<Item = (P, T)>,
    ) -> Result<Self, BundleError> {
        let files: BTreeMap<String, String> = files
            .into_iter()
            .map(|(path, text)| (path.into(), text.into()))
            .collect();
        for path in files.keys() {
            check_name(path)?;
        }
        Ok(Self(files))
    }

    /// Reads a directory. Symbolic links are refused: what they point at is not part of the bundle.
    pub fn read(dir: &Path) -> Result<Self, BundleError> {
        let mut files = BTreeMap::new();
        read_into(dir, "", 0, &mut files)?;
        Ok(Self(files))
    }

    /// SHA-256 of the canonical content, 64 hex digits.
    pub fn sha256(&self) -> String {
        let mut listing = String::new();
        for (path, text) in &self.0 {
            let digest = hex::encode(Sha256::digest(text.as_bytes()));
            writeln!(listing, "{digest}  {path}").expect("writing to a String does not fail");
        }
        hex::encode(Sha256::digest(listing.as_bytes()))
    }

    pub(crate) fn manifest(&self) -> Option<&str> {
        self.0.get(MANIFEST).map(String::as_str)
    }

    /// Rego modules that decide: path and text.
    pub(crate) fn modules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ending(MODULE)
            .filter(|(path, _)| !path.ends_with(TEST_MODULE))
    }

    /// Rego modules that test the others.
    pub(crate) fn test_modules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ending(TEST_MODULE)
    }

    /// `data.json` files: path, the directories that say where the document hangs, and text.
    pub(crate) fn data(&self) -> impl Iterator<Item = (&str, Vec<&str>, &str)> {
        self.ending(DATA).map(|(path, text)| {
            let mut parents: Vec<&str> = path.split('/').collect();
            parents.pop();
            (path, parents, text)
        })
    }

    fn ending(&self, suffix: &'static str) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter(move |(path, _)| path.ends_with(suffix))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

fn read_into(
    dir: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, String>,
) -> Result<(), BundleError> {
    if depth > MAX_DEPTH {
        return Err(unexpected(prefix, "directories are nested too deeply"));
    }
    for entry in fs::read_dir(dir).map_err(io(dir))? {
        let entry = entry.map_err(io(dir))?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            return Err(unexpected(&path.to_string_lossy(), "its name is not UTF-8"));
        };
        let inside = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        let kind = entry.file_type().map_err(io(&path))?;
        if kind.is_dir() {
            read_into(&path, &inside, depth + 1, files)?;
            continue;
        }
        if !kind.is_file() {
            return Err(unexpected(&inside, "it is not a regular file"));
        }
        check_name(&inside)?;
        if entry.metadata().map_err(io(&path))?.len() > MAX_FILE_BYTES {
            return Err(unexpected(&inside, "it is larger than 1 MiB"));
        }
        if files.len() == MAX_FILES {
            return Err(unexpected(&inside, "there are more than 256 files"));
        }
        let text = fs::read_to_string(&path).map_err(io(&path))?;
        files.insert(inside, text);
    }
    Ok(())
}

fn check_name(path: &str) -> Result<(), BundleError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let known = path == MANIFEST || name == DATA || name.ends_with(MODULE);
    if known {
        Ok(())
    } else {
        Err(unexpected(path, "move it out of the directory"))
    }
}

fn unexpected(path: &str, reason: &'static str) -> BundleError {
    BundleError::UnexpectedFile {
        path: path.to_owned(),
        reason,
    }
}

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> BundleError {
    let path = PathBuf::from(path);
    move |source| BundleError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_follows_content_and_names_only() {
        let hash = |files: &[(&str, &str)]| {
            BundleFiles::from_texts(files.iter().copied())
                .unwrap()
                .sha256()
        };
        let one = hash(&[(".manifest", "m"), ("a/x.rego", "1")]);
        assert_eq!(one, hash(&[("a/x.rego", "1"), (".manifest", "m")]));
        assert_ne!(one, hash(&[(".manifest", "m"), ("a/x.rego", "2")]));
        assert_ne!(one, hash(&[(".manifest", "m"), ("a/y.rego", "1")]));
        assert_eq!(one.len(), 64);
    }

    #[test]
    fn a_stray_file_is_refused() {
        for stray in ["README.md", "roles/other.json", "a/.manifest", "x.wasm"] {
            let error = BundleFiles::from_texts([(stray, "")]).unwrap_err();
            assert!(
                matches!(error, BundleError::UnexpectedFile { .. }),
                "{stray}"
            );
        }
    }
}
