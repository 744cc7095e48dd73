//! A PostgreSQL server of one's own.
//!
//! One folder holds all of it: `cluster/` (the data), `superuser.password`,
//! `owner.lock`, and the log unless it is asked for elsewhere. Connections are
//! taken on loopback TCP only and need the password, because on a shared machine
//! every local user reaches that port.

pub(crate) mod account;
mod binaries;
mod cluster;
mod folder;
mod launch;
mod maven;
mod pidfile;
mod resolve;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use self::{
    account::Account,
    cluster::{initialise, written_by},
    folder::{TemporaryFolder, create_private, data_folder, password},
    launch::Launch,
    pidfile::PidFile,
    resolve::resolve,
};
use crate::{
    EmbeddedError, Progress,
    process::{self, OwnerLock, Service, Signal},
};

const STOP_BOUND: Duration = Duration::from_secs(8);

/// Where the server comes from.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum PostgresSource {
    /// A server that runs already, by its URL; nothing is started or checked.
    Url(String),
    /// The environment variable `DISPATCH_PG_BIN`, else the highest installed
    /// version, else a download from Maven Central.
    #[default]
    Automatic,
    /// The programs in this folder.
    BinDir(PathBuf),
    /// The programs from Maven Central.
    MavenCentral,
}

/// What a power cut may cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was committed: PostgreSQL's own defaults.
    #[default]
    Durable,
    /// Everything: no fsync. For tests only. A killed server still loses nothing.
    Fast,
}

/// How to start [`Postgres`].
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Where the server comes from.
    pub source: PostgresSource,
    /// Folder that keeps everything and is reused; `None` is a temporary one that
    /// is removed at the end.
    pub data_dir: Option<PathBuf>,
    /// Port on 127.0.0.1; `None` is a free one.
    pub port: Option<u16>,
    /// What a power cut may cost.
    pub durability: Durability,
    /// The server's log; `None` is `postgres.log` in the data folder.
    pub log_file: Option<PathBuf>,
    /// Further settings, e.g. `("max_connections", "200")`.
    pub settings: Vec<(String, String)>,
    /// Where downloads are kept; `None` is [`default_cache_dir`].
    pub cache_dir: Option<PathBuf>,
    /// Told of slow steps.
    pub progress: Progress,
}

/// Without the URL, which holds a password.
impl fmt::Debug for PostgresSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(_) => f.write_str("Url(…)"),
            Self::Automatic => f.write_str("Automatic"),
            Self::BinDir(dir) => f.debug_tuple("BinDir").field(dir).finish(),
            Self::MavenCentral => f.write_str("MavenCentral"),
        }
    }
}

/// A PostgreSQL server that was started, or that was given.
pub struct Postgres {
    url: String,
    started: Option<Started>,
}

/// Without the URL, which holds a password.
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Started {
    // Dropped in this order: stop the server, remove its data, free the lock.
    service: Service,
    _temporary: Option<TemporaryFolder>,
    _lock: OwnerLock,
    launch: Launch,
}

impl Postgres {
    /// Resolves the programs, creates the data folder if need be and starts the
    /// server; returns when it takes connections.
    ///
    /// # Errors
    /// [`EmbeddedError::Missing`] when there is no PostgreSQL, and the other
    /// variants for a taken port, a full disk, missing permissions and the like.
    pub async fn start(options: PostgresOptions) -> Result<Self, EmbeddedError> {
        if let PostgresSource::Url(url) = options.source {
            return Ok(Self { url, started: None });
        }
        let account = Account::choose()?;
        let log_file = options.log_file.clone();
        let (folder, temporary) = match &options.data_dir {
            Some(dir) => (data_folder(account, dir)?, None),
            None => {
                let temporary = TemporaryFolder::create()?;
                (temporary.0.clone(), Some(temporary))
            }
        };
        create_private(&folder, account)?;
        let (lock, _) = OwnerLock::take(&folder.join("owner.lock"), &folder)?;

        let cluster = folder.join("cluster");
        let wanted = written_by(&cluster);
        let binaries = resolve(&options, account, wanted, &cluster).await?;
        if let Some(left) = PidFile::read(&cluster)
            && !process::stop_leftover(left.pid, "postgres", Signal::INT).await
        {
            // Its id may belong to another process by now, which would make the
            // server refuse to start. The lock proves that the file is stale.
            let _ = fs::remove_file(cluster.join("postmaster.pid"));
        }
        let password = password(&folder, account)?;
        let log = log_file.unwrap_or_else(|| folder.join("postgres.log"));
        if wanted.is_none() {
            options
                .progress
                .report("creating the PostgreSQL data folder");
            initialise(&binaries, account, &folder, options.durability, &log).await?;
        }
        let mut launch = Launch {
            binaries,
            account,
            folder,
            log,
            port: 0,
            durability: options.durability,
            settings: options.settings,
        };
        let service = launch.on_a_port(options.port).await?;
        let url = format!(
            "postgres://postgres:{password}@127.0.0.1:{}/postgres",
            launch.port
        );
        let started = Started {
            service,
            _temporary: temporary,
            _lock: lock,
            launch,
        };
        Ok(Self {
            url,
            started: Some(started),
        })
    }

    /// URL of the superuser on the database `postgres`. Holds the password.
    #[must_use]
    pub fn superuser_url(&self) -> &str {
        &self.url
    }

    /// Port of a server that was started here.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.started.as_ref().map(|started| started.launch.port)
    }

    /// Where its data really is.
    #[must_use]
    pub fn data_dir(&self) -> Option<&Path> {
        self.started
            .as_ref()
            .map(|started| started.launch.folder.as_path())
    }

    /// Its log.
    #[must_use]
    pub fn log_file(&self) -> Option<&Path> {
        self.started
            .as_ref()
            .map(|started| started.launch.log.as_path())
    }

    /// Process id of the running server, for measuring and for killing it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.started
            .as_ref()
            .and_then(|started| started.service.pid())
    }

    /// Whether the server has ended, of itself or because it was killed. A given
    /// server is not watched.
    pub fn has_exited(&mut self) -> bool {
        self.started
            .as_mut()
            .is_some_and(|started| started.service.exited().is_some())
    }

    /// Stops the server but keeps its place, for tests of an outage.
    pub async fn stop(&mut self) {
        if let Some(started) = &mut self.started {
            started.service.stop(STOP_BOUND).await;
        }
    }

    /// Starts a stopped or killed server again, on the same port and data.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        if let Some(started) = &mut self.started {
            started.service.stop(STOP_BOUND).await;
            started.service = started.launch.spawn_patiently().await?;
        }
        Ok(())
    }

    /// Fast shutdown: open transactions are rolled back, the data is flushed. A
    /// given server is left alone.
    pub async fn shutdown(mut self) {
        self.stop().await;
    }
}

/// Removes what [`Postgres::start`] keeps for this `data_dir`, wherever it is.
///
/// # Errors
/// [`EmbeddedError::DataInUse`] while a living process uses it, or what the file
/// system says.
pub async fn remove_data(data_dir: &Path) -> Result<(), EmbeddedError> {
    let folder = data_folder(Account::choose()?, data_dir)?;
    if !folder.exists() {
        return Ok(());
    }
    let _lock = OwnerLock::take(&folder.join("owner.lock"), &folder)?;
    if let Some(left) = PidFile::read(&folder.join("cluster")) {
        process::stop_leftover(left.pid, "postgres", Signal::INT).await;
    }
    fs::remove_dir_all(&folder).map_err(|e| EmbeddedError::io("remove", &folder, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_given_server_is_not_started() {
        let source = PostgresSource::Url("postgres://elsewhere/db".to_owned());
        let postgres = Postgres::start(PostgresOptions {
            source,
            ..Default::default()
        })
        .await
        .unwrap();
        assert_eq!(postgres.superuser_url(), "postgres://elsewhere/db");
        assert_eq!((postgres.port(), postgres.pid()), (None, None));
        assert!(!format!("{postgres:?}").contains("elsewhere"));
    }

    #[tokio::test]
    async fn a_wrong_folder_is_missing_infrastructure() {
        let folder = tempfile::tempdir().unwrap();
        let source = PostgresSource::BinDir(folder.path().to_owned());
        let error = Postgres::start(PostgresOptions {
            source,
            ..Default::default()
        })
        .await
        .unwrap_err();
        assert!(matches!(error, EmbeddedError::Missing(_)));
        assert!(
            error.to_string().starts_with("INFRASTRUCTURE MISSING:"),
            "{error}"
        );
        assert!(error.to_string().contains("holds no initdb"), "{error}");
    }
}
