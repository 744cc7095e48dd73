//! What a worker needs to know.

use std::{fmt, net::SocketAddr};

use contracts::{service_account::ApiKeyText, signal::TICKET_TASK_QUEUE};
use temporalio_client::ConnectionOptions;
use url::Url;

/// The deployment that all our workers belong to.
const DEPLOYMENT: &str = "dispatch";

/// A worker version: Temporal sends tasks to the one that is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Name of the deployment.
    pub deployment: String,
    /// Which build of it.
    pub build_id: String,
}

impl Version {
    /// The version of this program: its number, and a hash of the workflow code, which is the part
    /// that open workflows care about.
    pub fn of_this_build() -> Self {
        Self {
            deployment: DEPLOYMENT.to_owned(),
            build_id: format!("{}-{}", env!("CARGO_PKG_VERSION"), workflows::CODE),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.deployment, self.build_id)
    }
}

/// What a worker needs to know.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Temporal's address, TLS, API key.
    pub connection: ConnectionOptions,
    /// The namespace of all ticket workflows.
    pub namespace: String,
    /// The task queue to serve.
    pub task_queue: String,
    /// Which version this worker says it is.
    pub version: Version,
    /// dispatch-api, without `/api/v1`.
    pub api: Url,
    /// The key that the workflows of all tenants call with: of an account that acts in any.
    pub key: ApiKeyText,
    /// Where the SDK's metrics are served as `/metrics`; nowhere without it.
    pub metrics_listen: Option<SocketAddr>,
    /// Long polls for workflow tasks. With the SDK's default of five, of which one is for tasks
    /// that no worker knows yet, a burst of new tickets waits for seconds.
    pub pollers: usize,
    /// Workflows kept in memory; the others are replayed from their history when they wake.
    pub cached_workflows: usize,
}

impl WorkerConfig {
    /// Defaults for all that need not be said.
    pub fn new(
        connection: ConnectionOptions,
        namespace: impl Into<String>,
        api: Url,
        key: ApiKeyText,
    ) -> Self {
        Self {
            connection,
            namespace: namespace.into(),
            task_queue: TICKET_TASK_QUEUE.to_owned(),
            version: Version::of_this_build(),
            api,
            key,
            metrics_listen: None,
            pollers: 16,
            cached_workflows: 5_000,
        }
    }
}
