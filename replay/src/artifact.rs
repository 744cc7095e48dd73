//! The files of a replay: the same record gives the same bytes.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use contracts::canonical::canonical_json;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;

/// What would have been proposed, a line each.
pub const PROPOSALS: &str = "proposals.jsonl";
/// What would have been decided, a line each.
pub const DECISIONS: &str = "decisions.jsonl";
/// For people.
pub const REPORT: &str = "report.html";
/// For programs; whoever finds it finds the others complete.
pub const SUMMARY: &str = "summary.json";
/// All files, in the order in which they are made.
pub const FILES: [&str; 4] = [PROPOSALS, DECISIONS, REPORT, SUMMARY];

/// A file of the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// How many there are.
    pub bytes: u64,
    /// How many lines there are.
    pub lines: u64,
}

/// A file under way.
pub(crate) struct Lines {
    name: &'static str,
    path: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
    lines: u64,
}

impl Lines {
    pub(crate) fn create(dir: &Path, name: &'static str) -> Result<Self, Error> {
        let path = dir.join(name);
        let file = File::create(&path).map_err(Error::io(&path))?;
        Ok(Self {
            name,
            path,
            file: BufWriter::new(file),
            hash: Sha256::new(),
            bytes: 0,
            lines: 0,
        })
    }

    /// Adds a document in its canonical form, a line.
    pub(crate) fn add(&mut self, document: &impl Serialize) -> Result<(), Error> {
        let mut line = canonical_json(document).map_err(|error| self.trouble(error.into()))?;
        line.push('\n');
        self.write(&line)
    }

    /// Adds text of whole lines.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Error> {
        let bytes = text.as_bytes();
        self.file
            .write_all(bytes)
            .map_err(|error| self.trouble(error))?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(())
    }

    /// Ends it on the disk.
    pub(crate) fn finish(mut self) -> Result<FileRef, Error> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(|error| self.trouble(error))?;
        Ok(FileRef {
            name: self.name.to_owned(),
            sha256: hex::encode(self.hash.finalize()),
            bytes: self.bytes,
            lines: self.lines,
        })
    }

    fn trouble(&self, source: std::io::Error) -> Error {
        Error::io(&self.path)(source)
    }
}
