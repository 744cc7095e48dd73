//! The files of a bundle and the identity that follows from them.
//!
//! The hash is taken over the sorted list of (path, SHA-256 of the content), so it depends neither
//! on where the bundle lies nor on how it was packed. `.signatures.json` is no part of it: a
//! signature says who stands for a content, it does not change it.
//!
//! Whatever a bundle is read from, each file passes the same checks here: its name leads nowhere
//! but into the bundle, it comes once, it is text, and there is not too much of it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{archive, error::BundleError};

/// Name of the manifest, at the top of the bundle.
pub(crate) const MANIFEST: &str = ".manifest";
/// Name of the signatures, at the top of the bundle.
pub(crate) const SIGNATURES: &str = ".signatures.json";
const DATA: &str = "data.json";
const MODULE: &str = ".rego";
const TEST_MODULE: &str = "_test.rego";

const MAX_FILES: usize = 256;
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 20;
pub(crate) const MAX_TOTAL_BYTES: usize = 8 << 20;
const MAX_DEPTH: usize = 8;
const MAX_PATH_BYTES: usize = 200;

/// All files of a bundle: path inside the bundle (with `/`) → text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleFiles {
    files: BTreeMap<String, String>,
    signatures: Option<String>,
    bytes: usize,
}

impl BundleFiles {
    /// Takes files that are in memory already.
    pub fn from_texts<P: Into<String>, T: Into<String>>(
        files: impl IntoIterator<Item = (P, T)>,
    ) -> Result<Self, BundleError> {
        let mut all = Self::default();
        for (path, text) in files {
            all.insert(path.into(), text.into())?;
        }
        Ok(all)
    }

    /// Reads a directory or an archive, whichever stands there.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        if fs::metadata(path).map_err(io(path))?.is_dir() {
            Self::read(path)
        } else {
            Self::from_archive(&archive::read_file(path)?)
        }
    }

    /// Reads a directory. Symbolic links are refused: what they point at is not part of the bundle.
    pub fn read(dir: &Path) -> Result<Self, BundleError> {
        let mut files = Self::default();
        read_into(dir, "", 0, &mut files)?;
        Ok(files)
    }

    /// Reads an archive (`.tar.gz`) as OPA builds it.
    pub fn from_archive(bytes: &[u8]) -> Result<Self, BundleError> {
        archive::read(bytes)
    }

    /// Writes an archive (`.tar.gz`) that OPA reads. The same files give the same bytes.
    pub fn to_archive(&self) -> Result<Vec<u8>, BundleError> {
        archive::write(self)
    }

    /// SHA-256 of the canonical content, 64 hex digits.
    pub fn sha256(&self) -> String {
        let mut listing = String::new();
        for (path, text) in &self.files {
            let digest = hex::encode(Sha256::digest(text.as_bytes()));
            writeln!(listing, "{digest}  {path}").expect("writing to a String does not fail");
        }
        hex::encode(Sha256::digest(listing.as_bytes()))
    }

    /// Path and text of each file that makes up the identity, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The content of `.signatures.json`.
    pub fn signatures(&self) -> Option<&str> {
        self.signatures.as_deref()
    }

    /// The same files without a signature.
    pub fn unsigned(self) -> Self {
        self.with_signatures(None)
    }

    /// The same files under another signature, or none.
    pub(crate) fn with_signatures(mut self, signatures: Option<String>) -> Self {
        self.signatures = signatures;
        self
    }

    pub(crate) fn manifest(&self) -> Option<&str> {
        self.files.get(MANIFEST).map(String::as_str)
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
        self.iter().filter(move |(path, _)| path.ends_with(suffix))
    }

    /// Takes one file as bytes.
    pub(crate) fn insert_bytes(&mut self, path: String, bytes: Vec<u8>) -> Result<(), BundleError> {
        match String::from_utf8(bytes) {
            Ok(text) => self.insert(path, text),
            Err(_) => Err(unexpected(&path, "its content is not UTF-8 text")),
        }
    }

    /// Takes one file, after all checks.
    fn insert(&mut self, path: String, text: String) -> Result<(), BundleError> {
        check_name(&path)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(too_large(&path));
        }
        self.bytes += text.len();
        if self.bytes > MAX_TOTAL_BYTES {
            return Err(unexpected(&path, "the files hold more than 8 MiB together"));
        }
        if self.files.len() == MAX_FILES {
            return Err(unexpected(&path, "there are more than 256 files"));
        }
        let twice = if path == SIGNATURES {
            self.signatures.replace(text).is_some()
        } else {
            self.files.insert(path.clone(), text).is_some()
        };
        if twice {
            return Err(unexpected(&path, "it is there twice"));
        }
        Ok(())
    }
}

/// Whether the file is JSON whose layout carries no meaning.
pub(crate) fn is_structured(path: &str) -> bool {
    path == MANIFEST || file_name(path) == DATA
}

fn read_into(
    dir: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BundleFiles,
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
        // Before it is read: it may be anything, and of any size.
        check_name(&inside)?;
        if entry.metadata().map_err(io(&path))?.len() > MAX_FILE_BYTES {
            return Err(too_large(&inside));
        }
        files.insert_bytes(inside, fs::read(&path).map_err(io(&path))?)?;
    }
    Ok(())
}

/// Refuses a name that is no file of a bundle, or that could mean another place than it says.
fn check_name(path: &str) -> Result<(), BundleError> {
    let portable = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if path.len() > MAX_PATH_BYTES || !path.chars().all(portable) {
        return Err(unexpected(
            path,
            "its path must be up to 200 letters, digits, `.`, `_`, `-` and `/`",
        ));
    }
    let mut folders: Vec<&str> = path.split('/').collect();
    let name = folders.pop().unwrap_or_default();
    let astray = |part: &&str| matches!(*part, "" | "." | "..");
    if folders.iter().any(astray) || astray(&name) {
        return Err(unexpected(path, "its path must stay inside the bundle"));
    }
    if folders.len() > MAX_DEPTH {
        return Err(unexpected(path, "directories are nested too deeply"));
    }
    // A folder of such a name could not lie beside the file of that name.
    let file_like =
        |part: &&str| part.ends_with(MODULE) || matches!(*part, DATA | MANIFEST | SIGNATURES);
    let known = path == MANIFEST || path == SIGNATURES || name == DATA || name.ends_with(MODULE);
    if known && !folders.iter().any(file_like) {
        Ok(())
    } else {
        Err(unexpected(path, "move it out of the bundle"))
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn too_large(path: &str) -> BundleError {
    unexpected(path, "it is larger than 1 MiB")
}

pub(crate) fn unexpected(path: &str, reason: &'static str) -> BundleError {
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
        assert_eq!(
            one,
            hash(&[
                ("a/x.rego", "1"),
                (".manifest", "m"),
                (".signatures.json", "s")
            ])
        );
        assert_ne!(one, hash(&[(".manifest", "m"), ("a/x.rego", "2")]));
        assert_ne!(one, hash(&[(".manifest", "m"), ("a/y.rego", "1")]));
        assert_eq!(one.len(), 64);
    }

    #[test]
    fn a_stray_file_is_refused() {
        for stray in [
            "README.md",
            "roles/other.json",
            "a/.manifest",
            "a/.signatures.json",
            "x.wasm",
            "x.rego/data.json",
            "",
        ] {
            let error = BundleFiles::from_texts([(stray, "")]).unwrap_err();
            assert!(
                matches!(error, BundleError::UnexpectedFile { .. }),
                "{stray}"
            );
        }
    }

    #[test]
    fn a_path_leads_nowhere_else() {
        let long = format!("{}/data.json", "a".repeat(200));
        let deep = format!("{}data.json", "a/".repeat(9));
        for astray in [
            "../data.json",
            "a/../data.json",
            "a/./data.json",
            "/data.json",
            "a//data.json",
            "a\\data.json",
            "C:data.json",
            "a\n0  b.rego",
            "ä/data.json",
            &long,
            &deep,
        ] {
            let error = BundleFiles::from_texts([(astray, "")]).unwrap_err();
            assert!(
                matches!(error, BundleError::UnexpectedFile { .. }),
                "{astray}"
            );
        }
    }

    #[test]
    fn there_is_an_end_to_files_and_bytes() {
        let refused = |files: Vec<(String, String)>| {
            matches!(
                BundleFiles::from_texts(files),
                Err(BundleError::UnexpectedFile { .. })
            )
        };
        let file = |n: usize, bytes: usize| (format!("f{n}.rego"), " ".repeat(bytes));
        assert!(!refused(vec![file(0, 1 << 20)]));
        assert!(refused(vec![file(0, (1 << 20) + 1)]));
        assert!(!refused((0..256).map(|n| file(n, 1)).collect()));
        assert!(refused((0..257).map(|n| file(n, 1)).collect()));
        assert!(!refused((0..8).map(|n| file(n, 1 << 20)).collect()));
        assert!(refused((0..9).map(|n| file(n, 1 << 20)).collect()));
        assert!(refused(vec![file(0, 1), file(0, 1)]));
    }
}
