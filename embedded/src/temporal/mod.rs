//! A Temporal server of one's own: the repository's `temporal-dev` program
//! (built with Go and cached), or the Temporal CLI.

mod launch;
mod probe;
mod resolve;
mod version;

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use uuid::Uuid;

use self::launch::Launch;
pub use self::version::Version;
use crate::{
    EmbeddedError, Progress, default_cache_dir,
    go::GoProgram,
    process::{self, OwnerLock, Service, Signal},
};

/// The repository's `temporal-dev`.
pub(crate) const PROGRAM: GoProgram = GoProgram {
    name: "temporal-dev",
    title: "the Temporal development server",
    package: ".",
    sources: &[
        ("go.mod", include_str!("../../../temporal-dev/go.mod")),
        ("go.sum", include_str!("../../../temporal-dev/go.sum")),
        ("main.go", include_str!("../../../temporal-dev/main.go")),
        ("server.go", include_str!("../../../temporal-dev/server.go")),
    ],
};

const GIVEN_BOUND: Duration = Duration::from_secs(5);
const STOP_BOUND: Duration = Duration::from_secs(6);

/// How to find or start a [`TemporalServer`].
#[derive(Debug, Clone)]
pub struct TemporalOptions {
    /// `host:port` of a server that runs already; nothing is started.
    pub address: Option<String>,
    /// SQLite file that keeps the state and is reused; `None` is in memory.
    pub db_file: Option<PathBuf>,
    /// Port of gRPC on 127.0.0.1; `None` is a free one.
    pub port: Option<u16>,
    /// Port of the Web UI on 127.0.0.1; `None` is a free one.
    pub ui_port: Option<u16>,
    /// Whether to serve the Web UI.
    pub ui: bool,
    /// Namespace to register besides `default`.
    pub namespace: String,
    /// Search attributes to register, as `("TenantId", "Keyword")`.
    pub search_attributes: Vec<(String, String)>,
    /// Further dynamic configuration, as `("limit.maxIDLength", "255")`.
    pub dynamic_config: Vec<(String, String)>,
    /// Only a server on which workflows may skip time will do.
    pub need_time_skipping: bool,
    /// The server's log; `None` is `<db_file>.log`, else a temporary file.
    pub log_file: Option<PathBuf>,
    /// Where built programs are kept; `None` is [`default_cache_dir`].
    pub cache_dir: Option<PathBuf>,
    /// Told of slow steps.
    pub progress: Progress,
}

impl Default for TemporalOptions {
    fn default() -> Self {
        Self {
            address: None,
            db_file: None,
            port: None,
            ui_port: None,
            ui: true,
            namespace: "default".to_owned(),
            search_attributes: Vec::new(),
            dynamic_config: Vec::new(),
            need_time_skipping: false,
            log_file: None,
            cache_dir: None,
            progress: Progress::default(),
        }
    }
}

/// A Temporal server that was started, or that was given.
#[derive(Debug)]
pub struct TemporalServer {
    address: String,
    version: Version,
    started: Option<Started>,
}

#[derive(Debug)]
struct Started {
    // Dropped in this order: stop the server, then free the lock.
    service: Service,
    lock: Option<OwnerLock>,
    launch: Launch,
}

impl TemporalServer {
    /// Connects to the given server, or resolves a program (building it can take
    /// minutes, once) and starts it; returns when gRPC answers.
    ///
    /// # Errors
    /// [`EmbeddedError::Missing`] when there is no way to a server, and the other
    /// variants for a taken port, a full disk and the like.
    pub async fn resolve_and_start(options: TemporalOptions) -> Result<Self, EmbeddedError> {
        if let Some(address) = options.address {
            return Self::given(address).await;
        }
        let cache = match &options.cache_dir {
            Some(given) => given.clone(),
            None => default_cache_dir()?,
        };
        let program =
            resolve::program(&cache, options.need_time_skipping, &options.progress).await?;
        let mut lock = match &options.db_file {
            Some(file) => Some(own(file).await?),
            None => None,
        };
        let log = options
            .log_file
            .clone()
            .unwrap_or_else(|| match &options.db_file {
                Some(file) => with_suffix(file, ".log"),
                None => env::temp_dir().join(format!(
                    "real-dispatch-temporal-{}.log",
                    Uuid::new_v4().simple()
                )),
            });
        let mut launch = Launch {
            program,
            options,
            port: 0,
            ui_port: 0,
            log,
        };
        let (service, version) = launch.on_free_ports().await?;
        note(&mut lock, &service);
        Ok(Self {
            address: format!("127.0.0.1:{}", launch.port),
            version,
            started: Some(Started {
                service,
                lock,
                launch,
            }),
        })
    }

    async fn given(address: String) -> Result<Self, EmbeddedError> {
        let begun = Instant::now();
        loop {
            match probe::server_version(&address).await {
                Ok(version) => {
                    return Ok(Self {
                        address,
                        version,
                        started: None,
                    });
                }
                Err(detail) if begun.elapsed() > GIVEN_BOUND => {
                    return Err(EmbeddedError::Unreachable {
                        service: "Temporal",
                        address,
                        detail,
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// `host:port` of gRPC.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// URL of the Web UI of a server that was started here with one.
    #[must_use]
    pub fn ui_url(&self) -> Option<String> {
        let launch = &self.started.as_ref()?.launch;
        launch
            .options
            .ui
            .then(|| format!("http://127.0.0.1:{}", launch.ui_port))
    }

    /// Version that the server reports.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether workflows may skip time; `None` for a given server, which does
    /// not tell.
    #[must_use]
    pub fn has_time_skipping(&self) -> Option<bool> {
        self.started
            .as_ref()
            .map(|_| self.version >= Version::TIME_SKIPPING)
    }

    /// The program that was started.
    #[must_use]
    pub fn program(&self) -> Option<&Path> {
        self.started
            .as_ref()
            .map(|started| started.launch.program.path.as_path())
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

    /// Starts a stopped or killed server again, on the same ports and file.
    ///
    /// # Errors
    /// As [`TemporalServer::resolve_and_start`].
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        if let Some(started) = &mut self.started {
            started.service.stop(STOP_BOUND).await;
            started.service = started.launch.spawn_patiently().await?.0;
            note(&mut started.lock, &started.service);
        }
        Ok(())
    }

    /// Clean stop. A given server is left alone.
    pub async fn shutdown(mut self) {
        self.stop().await;
        if let Some(started) = self.started.take()
            && let Launch {
                log,
                options:
                    TemporalOptions {
                        db_file: None,
                        log_file: None,
                        ..
                    },
                ..
            } = started.launch
        {
            // The log of a server that kept nothing; failing to remove it costs
            // a few kilobytes below the temporary folder.
            let _ = fs::remove_file(log);
        }
    }
}

/// Takes the database for this process and stops a server that still uses it.
async fn own(db_file: &Path) -> Result<OwnerLock, EmbeddedError> {
    if let Some(parent) = db_file.parent() {
        fs::create_dir_all(parent).map_err(|e| EmbeddedError::io("create", parent, e))?;
    }
    let (lock, left) = OwnerLock::take(&with_suffix(db_file, ".lock"), db_file)?;
    if let Some(pid) = left {
        process::stop_leftover(pid, "temporal", Signal::TERM).await;
    }
    Ok(lock)
}

fn note(lock: &mut Option<OwnerLock>, service: &Service) {
    if let Some(lock) = lock
        && let Err(error) = lock.note(service.pid())
    {
        // Only costs the next start after a kill some patience.
        tracing::warn!(%error, "cannot note the process id of Temporal");
    }
}

/// Removes the database that [`TemporalServer::resolve_and_start`] keeps in
/// `db_file`, with the files beside it.
///
/// # Errors
/// [`EmbeddedError::DataInUse`] while a living process uses it, or what the file
/// system says.
pub async fn remove_data(db_file: &Path) -> Result<(), EmbeddedError> {
    let _lock = own(db_file).await?;
    for suffix in ["", "-wal", "-shm", "-journal", ".log", ".lock"] {
        let file = with_suffix(db_file, suffix);
        match fs::remove_file(&file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(EmbeddedError::io("remove", &file, e));
            }
            _ => {}
        }
    }
    Ok(())
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_given_server_must_answer() {
        let address = format!("127.0.0.1:{}", process::free_port().unwrap());
        let options = TemporalOptions {
            address: Some(address),
            ..Default::default()
        };
        let error = TemporalServer::resolve_and_start(options)
            .await
            .unwrap_err();
        assert_eq!(error.code(), "UNREACHABLE");
    }

    #[tokio::test]
    async fn removing_data_spares_a_used_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.db");
        fs::write(&file, "x").unwrap();
        let lock = own(&file).await.unwrap();
        assert_eq!(remove_data(&file).await.unwrap_err().code(), "DATA_IN_USE");
        drop(lock);
        remove_data(&file).await.unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
