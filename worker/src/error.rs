//! Why a worker does not work.

use std::net::SocketAddr;

use temporalio_client::{errors::ClientConnectError, tonic};
use temporalio_sdk::error::{
    RuntimeError, WorkerCreateError, WorkerRunError, WorkflowRegistrationError,
};

/// Why a worker does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// Temporal is there, or its address is none, but does not let us in. (One that does not answer
    /// is waited for.)
    #[error("Temporal at {target} cannot be used; correct its address, TLS settings or API key")]
    Connect {
        /// Its address.
        target: String,
        /// Why.
        #[source]
        source: Box<ClientConnectError>,
    },
    /// Temporal refused a call.
    #[error("Temporal refused to {what}")]
    Refused {
        /// What was asked.
        what: String,
        /// Why.
        #[source]
        source: Box<tonic::Status>,
    },
    /// dispatch-api cannot be called at all.
    #[error("the client of dispatch-api cannot be made")]
    Client(#[from] client::ClientError),
    /// The address for metrics cannot be used.
    #[error("metrics cannot be served at {listen}: {reason}; choose another address")]
    Metrics {
        /// The address.
        listen: SocketAddr,
        /// Why.
        reason: String,
    },
    /// The SDK's runtime cannot be made.
    #[error("the Temporal SDK cannot be set up")]
    Runtime(#[from] RuntimeError),
    /// A workflow or an activity cannot be registered.
    #[error("the ticket workflow cannot be registered")]
    Registration(#[from] WorkflowRegistrationError),
    /// The worker cannot be made.
    #[error("the worker cannot be made")]
    Create(#[from] WorkerCreateError),
    /// The worker ended though nobody asked it to.
    #[error("the worker ended")]
    Run(#[from] WorkerRunError),
    /// The version did not become current in time.
    #[error(
        "version {version} could not be made current within {seconds} s; is a worker of this \
         version running?"
    )]
    Promotion {
        /// Which.
        version: String,
        /// How long it was tried.
        seconds: u64,
        /// The last refusal.
        #[source]
        source: Box<tonic::Status>,
    },
    /// A thread cannot be made, or ended by a panic.
    #[error("the worker's thread failed: {0}")]
    Thread(String),
}
