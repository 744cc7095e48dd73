//! The Open Policy Agent itself, which policy decisions are compared with and measured against:
//! the version that `opa-dev/` pins (built with Go and cached), or one that is installed.

mod resolve;
mod server;

use std::{
    env,
    path::{Path, PathBuf},
};

pub use self::server::OpaServer;
use crate::{EmbeddedError, Progress, default_cache_dir, go::GoProgram, version::Version};

/// The pinned release.
pub(crate) const PROGRAM: GoProgram = GoProgram {
    name: "opa",
    title: "the Open Policy Agent",
    package: "github.com/open-policy-agent/opa",
    sources: &[
        ("go.mod", include_str!("../../../opa-dev/go.mod")),
        ("go.sum", include_str!("../../../opa-dev/go.sum")),
    ],
};

/// The oldest release that will do: the pinned one without its patches. Older ones were not tried.
const OLDEST: Version = Version {
    major: 1,
    minor: 22,
    patch: 0,
};

/// How to find [`Opa`].
#[derive(Debug, Clone, Default)]
pub struct OpaOptions {
    /// The program to take, and no other.
    pub program: Option<PathBuf>,
    /// Where built programs are kept; `None` is [`default_cache_dir`].
    pub cache_dir: Option<PathBuf>,
    /// Told of slow steps.
    pub progress: Progress,
}

impl OpaOptions {
    /// The program that `OPA_BIN` names, else whatever is found.
    #[must_use]
    pub fn from_env() -> Self {
        let program = env::var_os("OPA_BIN").filter(|value| !value.is_empty());
        Self {
            program: program.map(PathBuf::from),
            ..Self::default()
        }
    }
}

/// An `opa` that can be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opa {
    path: PathBuf,
    version: Version,
}

impl Opa {
    /// The given program; else the first of: `opa` on PATH, the cached build, one built now (which
    /// takes minutes, once).
    ///
    /// # Errors
    /// [`EmbeddedError::Missing`] when none will do.
    pub async fn resolve(options: OpaOptions) -> Result<Self, EmbeddedError> {
        let OpaOptions {
            program,
            cache_dir,
            progress,
        } = options;
        if let Some(path) = program {
            return resolve::given(&path);
        }
        let cache = match cache_dir {
            Some(given) => given,
            None => default_cache_dir()?,
        };
        resolve::program(&cache, env::var_os("PATH").as_deref(), &progress).await
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says it is.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
}
