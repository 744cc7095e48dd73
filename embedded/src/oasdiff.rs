//! oasdiff, which finds the breaking changes between two OpenAPI documents: the version that
//! `oasdiff-dev/` pins, built with Go once and cached. No other: which changes count is for the
//! repository to say, not for what a machine happens to have.

use std::path::{Path, PathBuf};

use crate::{EmbeddedError, MissingInfrastructure, Progress, default_cache_dir, go::GoProgram};

pub(crate) const PROGRAM: GoProgram = GoProgram {
    name: "oasdiff",
    title: "oasdiff",
    package: "github.com/oasdiff/oasdiff",
    sources: &[
        ("go.mod", include_str!("../../oasdiff-dev/go.mod")),
        ("go.sum", include_str!("../../oasdiff-dev/go.sum")),
    ],
};

/// An `oasdiff` that can be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oasdiff(PathBuf);

impl Oasdiff {
    /// The cached build, or one built now, which takes less than a minute.
    ///
    /// # Errors
    /// [`EmbeddedError::Missing`] when it cannot be built.
    pub async fn resolve(progress: &Progress) -> Result<Self, EmbeddedError> {
        match PROGRAM.build(&default_cache_dir()?, progress).await? {
            Ok(path) => Ok(Self(path)),
            Err(reason) => Err(MissingInfrastructure {
                what: "oasdiff",
                tried: vec![reason],
                remedy: "Install Go 1.26 or newer (https://go.dev/dl) with access to a Go module \
                         proxy, then it is built once.",
            }
            .into()),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}
