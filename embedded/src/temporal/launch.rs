//! Spawns the server and waits until gRPC answers.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::process::Command;

use super::{
    TemporalOptions, Version, probe,
    resolve::{Kind, Program},
};
use crate::{
    EmbeddedError,
    process::{self, Service, Signal},
};

const READY_BOUND: Duration = Duration::from_secs(60);
/// A server whose parent was killed needs a moment to notice and to end.
const IN_USE_BOUND: Duration = Duration::from_secs(6);
/// Other processes may take a free port between choosing and binding it.
const PORT_ATTEMPTS: u32 = 5;

/// All that is needed to spawn the server once more.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) program: Program,
    pub(super) options: TemporalOptions,
    pub(super) port: u16,
    pub(super) ui_port: u16,
    pub(super) log: PathBuf,
}

impl Launch {
    pub(super) async fn on_free_ports(&mut self) -> Result<(Service, Version), EmbeddedError> {
        let free = || {
            process::free_port()
                .map_err(|e| EmbeddedError::io("find a free port on", Path::new("127.0.0.1"), e))
        };
        let mut attempt = 1;
        loop {
            self.port = self.options.port.map_or_else(free, Ok)?;
            self.ui_port = self.options.ui_port.map_or_else(free, Ok)?;
            match self.spawn_patiently().await {
                Err(EmbeddedError::PortTaken { port, .. })
                    if attempt < PORT_ATTEMPTS
                        && Some(port) != self.options.port
                        && Some(port) != self.options.ui_port =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    /// A server that a killed parent left behind holds its ports for a moment.
    pub(super) async fn spawn_patiently(&self) -> Result<(Service, Version), EmbeddedError> {
        let begun = Instant::now();
        loop {
            match self.spawn_ready().await {
                Err(EmbeddedError::PortTaken { .. }) if begun.elapsed() < IN_USE_BOUND => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                result => return result,
            }
        }
    }

    async fn spawn_ready(&self) -> Result<(Service, Version), EmbeddedError> {
        self.require_free_ports()?;
        if let Some(parent) = self.options.db_file.as_deref().and_then(Path::parent) {
            fs::create_dir_all(parent).map_err(|e| EmbeddedError::io("create", parent, e))?;
        }
        let mut service = Service::spawn("temporal", self.command(), Signal::TERM, &self.log)?;
        if self.program.kind == Kind::Cli {
            service = service.watched("temporal")?;
        }
        let address = format!("127.0.0.1:{}", self.port);
        let begun = Instant::now();
        loop {
            if service.exited().is_some() {
                // Ports that were taken after the check above.
                self.require_free_ports()?;
                let data = self.options.db_file.as_deref().unwrap_or(&self.log);
                return Err(EmbeddedError::program(
                    "temporal",
                    &service.output(),
                    data,
                    &self.log,
                ));
            }
            match probe::server_version(&address).await {
                Ok(version) => return Ok((service, version)),
                Err(detail) if begun.elapsed() > READY_BOUND => {
                    return Err(EmbeddedError::NotReady {
                        service: "Temporal",
                        seconds: READY_BOUND.as_secs(),
                        detail,
                        log: self.log.clone(),
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
    }

    fn require_free_ports(&self) -> Result<(), EmbeddedError> {
        let ui = self
            .options
            .ui
            .then_some(("Temporal's Web UI", self.ui_port));
        for (service, port) in [Some(("Temporal", self.port)), ui].into_iter().flatten() {
            if !process::port_is_free(port) {
                return Err(EmbeddedError::PortTaken { service, port });
            }
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program.path);
        command.args([
            "server",
            "start-dev",
            "--ip",
            "127.0.0.1",
            "--log-level",
            "warn",
        ]);
        command.args(["--port", &self.port.to_string()]);
        command.args(["--namespace", &self.options.namespace]);
        if self.options.ui {
            command.args(["--ui-port", &self.ui_port.to_string()]);
        } else {
            command.arg("--headless");
        }
        if let Some(file) = &self.options.db_file {
            command.arg("--db-filename").arg(file);
        }
        for (name, kind) in &self.options.search_attributes {
            command.args(["--search-attribute", &format!("{name}={kind}")]);
        }
        for (key, value) in &self.options.dynamic_config {
            command.args(["--dynamic-config-value", &format!("{key}={value}")]);
        }
        match self.program.kind {
            Kind::TemporalDev => {
                command.args(["--exit-with-parent", &std::process::id().to_string()]);
            }
            Kind::Cli if self.program.version >= Version::TIME_SKIPPING => {
                let key = "frontend.WorkflowTimeSkippingEnabled=true";
                command.args(["--dynamic-config-value", key]);
            }
            Kind::Cli => {}
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(kind: Kind, options: TemporalOptions) -> String {
        let program = Program {
            path: "temporal".into(),
            kind,
            version: Version::TIME_SKIPPING,
        };
        let launch = Launch {
            program,
            options,
            port: 7,
            ui_port: 8,
            log: "log".into(),
        };
        let command = launch.command();
        let arguments: Vec<_> = command
            .as_std()
            .get_args()
            .map(|a| a.to_string_lossy().into_owned())
            .collect();
        arguments.join(" ")
    }

    #[test]
    fn the_command_line_of_temporal_dev() {
        let options = TemporalOptions {
            db_file: Some("t.db".into()),
            search_attributes: vec![("TenantId".into(), "Keyword".into())],
            dynamic_config: vec![("limit.maxIDLength".into(), "255".into())],
            ..Default::default()
        };
        assert_eq!(
            arguments(Kind::TemporalDev, options),
            format!(
                "server start-dev --ip 127.0.0.1 --log-level warn --port 7 --namespace default --ui-port 8 \
                 --db-filename t.db --search-attribute TenantId=Keyword \
                 --dynamic-config-value limit.maxIDLength=255 --exit-with-parent {}",
                std::process::id()
            )
        );
    }

    #[test]
    fn the_command_line_of_the_cli() {
        let options = TemporalOptions {
            ui: false,
            ..Default::default()
        };
        assert_eq!(
            arguments(Kind::Cli, options),
            "server start-dev --ip 127.0.0.1 --log-level warn --port 7 --namespace default --headless \
             --dynamic-config-value frontend.WorkflowTimeSkippingEnabled=true"
        );
    }
}
