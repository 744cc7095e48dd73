//! Spawns the server and waits until it takes connections.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::process::Command;

use super::{Durability, account::Account, binaries::Binaries, cluster, pidfile::PidFile};
use crate::{
    EmbeddedError,
    process::{self, Service, Signal},
};

/// Start-up may include the recovery of a crashed server.
const READY_BOUND: Duration = Duration::from_secs(60);
/// How long the remains of a killed server may hold what we need.
const IN_USE_BOUND: Duration = Duration::from_secs(3);
/// Other processes may take a free port between choosing and binding it.
const PORT_ATTEMPTS: u32 = 5;

/// All that is needed to spawn the server once more.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) binaries: Binaries,
    pub(super) account: Account,
    pub(super) folder: PathBuf,
    pub(super) log: PathBuf,
    pub(super) port: u16,
    pub(super) durability: Durability,
    pub(super) settings: Vec<(String, String)>,
}

impl Launch {
    /// Spawns on the given port, or on free ones until one is really free.
    pub(super) async fn on_a_port(&mut self, port: Option<u16>) -> Result<Service, EmbeddedError> {
        if let Some(port) = port {
            self.port = port;
            return self.spawn_patiently().await;
        }
        let mut attempt = 1;
        loop {
            self.port = process::free_port()
                .map_err(|e| EmbeddedError::io("find a free port on", Path::new("127.0.0.1"), e))?;
            match self.spawn_patiently().await {
                Err(EmbeddedError::PortTaken { .. }) if attempt < PORT_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    /// A killed server's own children hold its port and its shared memory for a
    /// moment longer, so what is in use is asked for again for a while.
    pub(super) async fn spawn_patiently(&self) -> Result<Service, EmbeddedError> {
        let begun = Instant::now();
        loop {
            match self.spawn_ready().await {
                Err(EmbeddedError::PortTaken { .. } | EmbeddedError::DataInUse { .. })
                    if begun.elapsed() < IN_USE_BOUND =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                result => return result,
            }
        }
    }

    async fn spawn_ready(&self) -> Result<Service, EmbeddedError> {
        let taken = EmbeddedError::PortTaken {
            service: "PostgreSQL",
            port: self.port,
        };
        if !process::port_is_free(self.port) {
            return Err(taken);
        }
        let cluster = self.folder.join("cluster");
        let mut service =
            Service::spawn("postgres", self.command(&cluster), Signal::INT, &self.log)?
                .watched("postgres")?;
        let begun = Instant::now();
        loop {
            let ready = PidFile::read(&cluster)
                .is_some_and(|file| file.ready && Some(file.pid) == service.pid());
            if ready {
                return Ok(service);
            }
            if service.exited().is_some() {
                let output = service.output();
                if output.contains("Address already in use") {
                    return Err(taken);
                }
                if output.contains("shared memory block") {
                    return Err(EmbeddedError::DataInUse { path: cluster });
                }
                return Err(EmbeddedError::program(
                    "postgres", &output, &cluster, &self.log,
                ));
            }
            if begun.elapsed() > READY_BOUND {
                return Err(EmbeddedError::NotReady {
                    service: "PostgreSQL",
                    seconds: READY_BOUND.as_secs(),
                    detail: "it is still starting".to_owned(),
                    log: self.log.clone(),
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn command(&self, cluster: &Path) -> Command {
        let mut command = cluster::program(&self.binaries, "postgres", self.account, &self.folder);
        command.arg("-D").arg(cluster);
        command.args(["-p", &self.port.to_string()]);
        let fixed = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
        ];
        let fast: &[_] = match self.durability {
            Durability::Durable => &[],
            Durability::Fast => &[
                ("fsync", "off"),
                ("synchronous_commit", "off"),
                ("full_page_writes", "off"),
            ],
        };
        let given = self
            .settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in fixed.iter().chain(fast).copied().chain(given) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        command
    }
}
