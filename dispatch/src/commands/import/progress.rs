//! What a run leaves behind so that it can be gone on with: how many rows are done, and which of
//! them failed.
//!
//! Rows are counted in the order of the file. The errors of rows after the count are cut off when a
//! run goes on, as those rows are done again; what had taken effect of them is recognised.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The content of `FILE.progress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What the rows are.
    pub kind: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Rows that are done, however they ended.
    pub rows: u64,
    /// Those among them that failed.
    pub failed: u64,
    /// How long the errors of those rows are.
    pub errors_bytes: u64,
}

/// Why a run does not go on where one stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fresh {
    /// None was interrupted.
    First,
    /// The user wants it so.
    Asked,
    /// The file, or what its rows are taken for, is another.
    Changed,
}

/// Where a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the first row.
    Fresh(Fresh),
    /// After the rows that are done.
    Resumed(Progress),
}

/// Decides where to begin.
pub fn start(left: Option<Progress>, kind: &str, sha256: &str, restart: bool) -> Start {
    match left {
        None => Start::Fresh(Fresh::First),
        Some(_) if restart => Start::Fresh(Fresh::Asked),
        Some(left) if left.kind != kind || left.sha256 != sha256 => Start::Fresh(Fresh::Changed),
        Some(left) => Start::Resumed(left),
    }
}

/// The two files beside the one that is imported.
#[derive(Debug)]
pub struct Journal {
    progress_file: PathBuf,
    errors_file: PathBuf,
    errors: Option<File>,
    now: Progress,
    /// A dry run leaves no progress.
    kept: bool,
}

impl Journal {
    /// Opens the journal of a file; answers where to begin, too.
    pub fn open(
        file: &Path,
        kind: &str,
        restart: bool,
        dry_run: bool,
    ) -> io::Result<(Self, Start)> {
        let progress_file = beside(file, "progress");
        let errors_file = match dry_run {
            // Those of an interrupted run are still needed.
            true => beside(file, "dry-run.errors.jsonl"),
            false => beside(file, "errors.jsonl"),
        };
        let sha256 = hash(file)?;
        let left = match dry_run {
            true => None,
            false => read(&progress_file)?,
        };
        let start = start(left, kind, &sha256, restart);
        let (now, errors) = match &start {
            Start::Resumed(left) => {
                let (errors, errors_bytes) = cut(&errors_file, left.errors_bytes)?;
                let left = Progress {
                    errors_bytes,
                    ..left.clone()
                };
                (left, errors)
            }
            Start::Fresh(_) => {
                remove(&errors_file)?;
                let none = Progress {
                    kind: kind.to_owned(),
                    sha256,
                    rows: 0,
                    failed: 0,
                    errors_bytes: 0,
                };
                (none, None)
            }
        };
        let journal = Self {
            progress_file,
            errors_file,
            errors,
            now,
            kept: !dry_run,
        };
        Ok((journal, start))
    }

    /// What is done so far.
    pub fn progress(&self) -> &Progress {
        &self.now
    }

    /// Where the errors are.
    pub fn errors_file(&self) -> &Path {
        &self.errors_file
    }

    /// A row is done.
    pub fn done(&mut self) {
        self.now.rows += 1;
    }

    /// A row is done with, as it cannot be.
    pub fn failed(&mut self, error: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(error)?;
        line.push(b'\n');
        let errors = match &mut self.errors {
            Some(errors) => errors,
            none => none.insert(create_private(&self.errors_file)?),
        };
        errors.write_all(&line)?;
        self.now.errors_bytes += line.len() as u64;
        self.now.failed += 1;
        self.now.rows += 1;
        Ok(())
    }

    /// Makes what is done so far outlive the process. The file is replaced, so it is never half
    /// written.
    pub fn save(&mut self) -> io::Result<()> {
        if !self.kept {
            return Ok(());
        }
        let partial = self.progress_file.with_added_extension("partial");
        let mut file = File::create(&partial)?;
        file.write_all(&serde_json::to_vec_pretty(&self.now)?)?;
        file.sync_data()?;
        fs::rename(&partial, &self.progress_file)
    }

    /// Every row is done: there is nothing to go on with.
    pub fn finish(self) -> io::Result<()> {
        if let Some(errors) = &self.errors {
            errors.sync_data()?;
        }
        match self.kept {
            true => remove(&self.progress_file),
            false => Ok(()),
        }
    }
}

fn beside(file: &Path, extension: &str) -> PathBuf {
    file.with_added_extension(extension)
}

/// The rows in it may hold names and numbers of people.
fn create_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

fn read(path: &Path) -> io::Result<Option<Progress>> {
    match fs::read(path) {
        // What cannot be read says nothing: every row is sent again, and recognised.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The errors up to this length, or as many as there are: somebody may have taken the file away.
fn cut(path: &Path, length: u64) -> io::Result<(Option<File>, u64)> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, 0)),
        file => file?,
    };
    let length = length.min(file.metadata()?.len());
    file.set_len(length)?;
    file.seek(SeekFrom::End(0))?;
    Ok((Some(file), length))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path =
                std::env::temp_dir().join(format!("dispatch-import-{}", uuid::Uuid::now_v7()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("sites.csv")
        }

        fn errors(&self) -> String {
            fs::read_to_string(self.0.join("sites.csv.errors.jsonl")).unwrap_or_default()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn open(folder: &Folder, restart: bool, dry_run: bool) -> (Journal, Start) {
        Journal::open(&folder.file(), "sites", restart, dry_run).unwrap()
    }

    #[test]
    fn a_run_goes_on_where_its_progress_was_saved() {
        let folder = Folder::new();
        fs::write(folder.file(), "code\na\nb\nc\n").unwrap();
        let (mut journal, start) = open(&folder, false, false);
        assert_eq!(start, Start::Fresh(Fresh::First));
        journal.done();
        journal.failed(&json!({"row": 2})).unwrap();
        journal.save().unwrap();
        // Killed after this: the row is done again, so its error must not stand twice.
        journal.failed(&json!({"row": 3})).unwrap();
        drop(journal);
        assert_eq!(folder.errors().lines().count(), 2);

        let (mut journal, start) = open(&folder, false, false);
        let Start::Resumed(left) = start else {
            panic!("{start:?}");
        };
        assert_eq!((left.rows, left.failed), (2, 1));
        assert_eq!(folder.errors(), "{\"row\":2}\n");
        journal.failed(&json!({"row": 3})).unwrap();
        journal.finish().unwrap();
        assert_eq!(folder.errors(), "{\"row\":2}\n{\"row\":3}\n");
        assert!(!folder.0.join("sites.csv.progress").exists());

        let (_, start) = open(&folder, false, false);
        assert_eq!(start, Start::Fresh(Fresh::First));
        assert_eq!(folder.errors(), "", "the errors of the run before are gone");
    }

    #[test]
    fn another_file_another_kind_or_the_users_wish_begin_anew() {
        let folder = Folder::new();
        fs::write(folder.file(), "code\na\n").unwrap();
        let saved = || {
            let (mut journal, _) = open(&folder, true, false);
            journal.done();
            journal.save().unwrap();
        };
        saved();
        assert_eq!(open(&folder, true, false).1, Start::Fresh(Fresh::Asked));
        assert_eq!(open(&folder, false, true).1, Start::Fresh(Fresh::First));
        let other = Journal::open(&folder.file(), "assets", false, false).unwrap();
        assert_eq!(other.1, Start::Fresh(Fresh::Changed));
        assert!(matches!(open(&folder, false, false).1, Start::Resumed(_)));
        fs::write(folder.file(), "code\nb\n").unwrap();
        assert_eq!(open(&folder, false, false).1, Start::Fresh(Fresh::Changed));
    }

    #[test]
    fn a_dry_run_leaves_no_progress() {
        let folder = Folder::new();
        fs::write(folder.file(), "code\na\n").unwrap();
        let (mut journal, _) = open(&folder, false, true);
        journal.failed(&json!({"row": 1})).unwrap();
        journal.save().unwrap();
        journal.finish().unwrap();
        assert!(!folder.0.join("sites.csv.progress").exists());
        assert_eq!(folder.errors(), "");
        let errors = folder.0.join("sites.csv.dry-run.errors.jsonl");
        assert_eq!(fs::read_to_string(errors).unwrap(), "{\"row\":1}\n");
    }

    #[test]
    fn errors_that_were_taken_away_do_not_stop_a_run() {
        let folder = Folder::new();
        fs::write(folder.file(), "code\na\nb\n").unwrap();
        let (mut journal, _) = open(&folder, false, false);
        journal.failed(&json!({"row": 1})).unwrap();
        journal.save().unwrap();
        drop(journal);
        fs::remove_file(folder.0.join("sites.csv.errors.jsonl")).unwrap();
        let (mut journal, start) = open(&folder, false, false);
        assert!(matches!(start, Start::Resumed(_)));
        journal.failed(&json!({"row": 2})).unwrap();
        assert_eq!(folder.errors(), "{\"row\":2}\n");
    }

    #[test]
    fn a_progress_file_that_cannot_be_read_begins_anew() {
        let folder = Folder::new();
        fs::write(folder.file(), "code\na\n").unwrap();
        fs::write(folder.0.join("sites.csv.progress"), "{").unwrap();
        assert_eq!(open(&folder, false, false).1, Start::Fresh(Fresh::First));
    }
}
