//! Why a replay did not come to its end.

use std::path::PathBuf;

/// What went wrong, and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The record cannot be read.
    #[error("the record cannot be read")]
    Store(#[from] store::Error),
    /// A file of the artifact cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What a place to write to must be like.
    #[error("{0}")]
    Place(String),
    /// The object store refused or did not answer.
    #[error("{what}: {reason}")]
    S3 {
        /// What was tried.
        what: String,
        /// What it said.
        reason: String,
    },
    /// An evaluation did not come back: a bug.
    #[error("an evaluation was lost: {0}")]
    Lost(String),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
