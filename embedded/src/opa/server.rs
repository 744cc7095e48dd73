//! `opa run --server` over one bundle.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tokio::process::Command;

use super::Opa;
use crate::{
    EmbeddedError,
    process::{self, Service, Signal},
};

const READY_BOUND: Duration = Duration::from_secs(30);
const STOP_BOUND: Duration = Duration::from_secs(5);
/// Other processes may take a free port between choosing and binding it.
const PORT_ATTEMPTS: u32 = 5;

/// A server that answers `POST /v1/data/…` from a bundle.
#[derive(Debug)]
pub struct OpaServer {
    service: Service,
    port: u16,
}

impl OpaServer {
    /// Starts it on a free port with the bundle in this folder; returns when the bundle is active.
    ///
    /// # Errors
    /// When it ends, for example because it refuses the bundle, or does not answer in time.
    pub async fn start(opa: &Opa, bundle: &Path, log: &Path) -> Result<Self, EmbeddedError> {
        let mut attempt = 1;
        loop {
            let port = process::free_port()
                .map_err(|e| EmbeddedError::io("find a free port on", Path::new("127.0.0.1"), e))?;
            match Self::start_on(opa, bundle, log, port).await {
                Err(EmbeddedError::PortTaken { .. }) if attempt < PORT_ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    async fn start_on(
        opa: &Opa,
        bundle: &Path,
        log: &Path,
        port: u16,
    ) -> Result<Self, EmbeddedError> {
        let mut command = Command::new(opa.path());
        command
            .args(["run", "--server", "--disable-telemetry"])
            .args(["--log-level", "error"])
            .args(["--addr", &format!("127.0.0.1:{port}"), "--bundle"])
            .arg(bundle);
        let service = Service::spawn("opa", command, Signal::TERM, log)?.watched("opa")?;
        let mut server = Self { service, port };
        let begun = Instant::now();
        while let Err(detail) = server.health().await {
            if server.service.exited().is_some() {
                let output = server.service.output();
                return Err(if output.contains("address already in use") {
                    EmbeddedError::PortTaken {
                        service: "opa",
                        port,
                    }
                } else {
                    EmbeddedError::program("opa", &output, bundle, log)
                });
            }
            if begun.elapsed() > READY_BOUND {
                return Err(EmbeddedError::NotReady {
                    service: "opa",
                    seconds: READY_BOUND.as_secs(),
                    detail,
                    log: log.to_owned(),
                });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(server)
    }

    async fn health(&self) -> Result<(), String> {
        // reqwest takes the process's TLS provider; an installed one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let call = async {
            reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(2))
                .build()?
                .get(format!("http://{}/health?bundles", self.address()))
                .send()
                .await?
                .error_for_status()
        };
        call.await
            .map(|_| ())
            .map_err(|error: reqwest::Error| error.to_string())
    }

    /// `host:port` of its HTTP interface.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Clean stop.
    pub async fn shutdown(mut self) {
        self.service.stop(STOP_BOUND).await;
    }
}
