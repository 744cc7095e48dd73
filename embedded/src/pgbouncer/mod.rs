//! PgBouncer, which the tests put between the programs and Postgres: one that is installed and new
//! enough, or one that is built from Debian's source package and cached.
//!
//! Transaction pooling carries prepared statements of the protocol only since 1.21, and Debian 12
//! has 1.18: hence the build. `apt` brings the sources and checks their signatures; nothing is
//! installed, and the system's own lists stay as they are.

mod build;
mod resolve;
mod server;

use std::{
    env,
    path::{Path, PathBuf},
};

pub use self::server::{PgBouncerServer, PoolerOptions};
use crate::{EmbeddedError, Progress, default_cache_dir, version::Version};

/// The oldest release that carries prepared statements through transaction pooling.
const OLDEST: Version = Version {
    major: 1,
    minor: 21,
    patch: 0,
};

/// How to find [`PgBouncer`].
#[derive(Debug, Clone, Default)]
pub struct PgBouncerOptions {
    /// The program to take, and no other.
    pub program: Option<PathBuf>,
    /// Where built programs are kept; `None` is [`default_cache_dir`].
    pub cache_dir: Option<PathBuf>,
    /// Told of slow steps.
    pub progress: Progress,
}

impl PgBouncerOptions {
    /// The program that `PGBOUNCER_BIN` names, else whatever is found.
    #[must_use]
    pub fn from_env() -> Self {
        let program = env::var_os("PGBOUNCER_BIN").filter(|value| !value.is_empty());
        Self {
            program: program.map(PathBuf::from),
            ..Self::default()
        }
    }
}

/// A `pgbouncer` that can be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgBouncer {
    path: PathBuf,
    version: Version,
}

impl PgBouncer {
    /// The given program; else the first of: `pgbouncer` on PATH or in `/usr/sbin`, the cached
    /// build, one built now (which takes half a minute, once).
    ///
    /// # Errors
    /// [`EmbeddedError::Missing`] when none will do.
    pub async fn resolve(options: PgBouncerOptions) -> Result<Self, EmbeddedError> {
        let PgBouncerOptions {
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
