//! One lazy connection.

use std::{fmt, future::Future, time::Duration};

use temporalio_client::{
    ClientOptions, Connection, ConnectionOptions, GrpcCompression, RetryOptions,
    envconfig::{ConfigError, LoadClientConfigProfileOptions},
    errors::ClientConnectError,
    tonic::{Code, Request, Response, Status},
};
use tokio::{sync::OnceCell, time::timeout};

use crate::delivery::{ErrorClass, TemporalError};

/// Where Temporal is.
#[derive(Debug, Clone)]
pub struct TemporalConfig {
    /// Address, TLS, API key.
    pub connection: ConnectionOptions,
    /// The namespace of all ticket workflows.
    pub namespace: String,
}

impl TemporalConfig {
    /// Reads the SDK's environment configuration: `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`,
    /// `TEMPORAL_API_KEY`, `TEMPORAL_TLS_…`, or a profile of the file in `TEMPORAL_CONFIG_FILE`.
    pub fn from_environment() -> Result<Self, ConfigError> {
        let (connection, client) =
            ClientOptions::load_from_config(LoadClientConfigProfileOptions::default())?;
        Ok(Self {
            connection,
            namespace: client.namespace,
        })
    }
}

/// A connection that is made at the first call and again whenever that fails, so that a relay can
/// start before Temporal does.
pub struct Temporal {
    options: ConnectionOptions,
    namespace: String,
    call_timeout: Duration,
    connection: OnceCell<Connection>,
}

impl fmt::Debug for Temporal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Temporal")
            .field("target", &self.options.target.as_str())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Temporal {
    /// `identity` names this process in histories; each call ends within `call_timeout`.
    pub fn new(config: TemporalConfig, identity: String, call_timeout: Duration) -> Self {
        let mut options = config.connection;
        options.identity = identity;
        options.retry_options = RetryOptions::no_retries();
        options.connect_timeout = Some(call_timeout);
        // Signals are small: compressing them costs both sides more CPU than the bytes are worth.
        options.grpc_compression = GrpcCompression::None;
        Self {
            options,
            namespace: config.namespace,
            call_timeout,
            connection: OnceCell::new(),
        }
    }

    /// The namespace of all ticket workflows.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// How this process calls itself in histories.
    pub fn identity(&self) -> &str {
        &self.options.identity
    }

    /// Runs one call within the time limit, making the connection first if there is none.
    pub(super) async fn call<Req, Resp, Fut>(
        &self,
        message: Req,
        call: impl FnOnce(Connection, Request<Req>) -> Fut,
    ) -> Result<Resp, TemporalError>
    where
        Fut: Future<Output = Result<Response<Resp>, Status>>,
    {
        let within = async {
            let connection = self.connection.get_or_try_init(|| async {
                let connected = Connection::connect(self.options.clone()).await;
                connected.map_err(|e| self.connect_error(&e))
            });
            let connection = connection.await?.clone();
            let mut request = Request::new(message);
            request.set_timeout(self.call_timeout);
            let answer = call(connection, request).await?;
            Ok(answer.into_inner())
        };
        timeout(self.call_timeout, within)
            .await
            .unwrap_or_else(|_| {
                Err(TemporalError {
                    class: ErrorClass::Systemic,
                    code: Code::DeadlineExceeded,
                    message: format!(
                        "{} did not answer within {:?}",
                        self.options.target, self.call_timeout
                    ),
                })
            })
    }

    fn connect_error(&self, error: &ClientConnectError) -> TemporalError {
        if let ClientConnectError::SystemInfoCallError(status) = error {
            return TemporalError {
                // Nothing was sent for any ticket yet, so no ticket is to blame.
                class: ErrorClass::Systemic,
                code: status.code(),
                message: status.message().to_owned(),
            };
        }
        TemporalError::unreachable(format!("{}: {error}", self.options.target))
    }
}
