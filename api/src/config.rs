//! What a dispatch-api is started with.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use contracts::event::AutonomyMode;
use policy::{BundleSource, Trust};

use crate::{identity::IssuerConfig, limits::Quotas};

/// Text that prints masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Everything a dispatch-api needs to know.
#[derive(Clone)]
pub struct ApiConfig {
    /// Where the API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/metrics` listens: not for the public.
    pub metrics_listen: SocketAddr,
    /// Postgres as the application login.
    pub database_url: Secret,
    /// Whether row-level security must bind the application login. Without it tenants are not
    /// separated: for development only.
    pub row_level_security: bool,
    /// Postgres as the maintenance login: the sealer reads all tenants' chain heads with it.
    pub maintenance_url: Secret,
    /// Connections to Postgres for requests.
    pub pool_size: u32,
    /// How tokens are checked.
    pub tokens: TokenConfig,
    /// Key that audit checkpoints are sealed with.
    pub sealing_key: Secret,
    /// Keys that cursors are signed with: the first signs, all are good, and so is the sealing key,
    /// which signs where there is none.
    pub cursor_keys: Vec<Secret>,
    /// How often new chain heads are sealed.
    pub sealing_interval: Duration,
    /// Where policy bundles come from.
    pub bundles: Arc<dyn BundleSource>,
    /// Whose uploaded bundles may decide.
    pub trust: Trust,
    /// The most that software may do by itself in this environment, whatever the stages say.
    pub ceiling: AutonomyMode,
    /// Parts that others need: told of, and no reason not to serve.
    pub watched: Watched,
    /// Bounds.
    pub limits: Limits,
    /// Arms the failpoint that the environment names ([`store::failpoint`]). For tests only.
    pub failpoints: bool,
}

impl fmt::Debug for ApiConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiConfig")
            .field("listen", &self.listen)
            .field("metrics_listen", &self.metrics_listen)
            .field("pool_size", &self.pool_size)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Parts of the system that this process does not use itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// `host:port` of Temporal's frontend, when this process knows it.
    pub temporal: Option<String>,
    /// Row-level security does not bind the application login ([`ApiConfig::row_level_security`]).
    pub unprotected: bool,
}

/// How bearer tokens are checked.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// Shared HS256 secret, at least [`crate::identity::MIN_SECRET_BYTES`] long.
    pub secret: Secret,
    /// What `iss` must be in tokens that are signed with it.
    pub issuer: String,
    /// What `aud` must be in them.
    pub audience: String,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Who else may say who calls.
    pub issuers: Vec<IssuerConfig>,
}

/// Bounds of what one caller can make the process do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a path with its query.
    pub uri_bytes: usize,
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Nesting of a request body.
    pub json_depth: usize,
    /// Bytes of a request's head (request line and headers); not below 8 KiB.
    pub head_bytes: usize,
    /// Number of headers.
    pub headers: usize,
    /// Time for a request's head to arrive.
    pub head_timeout: Duration,
    /// Time for a request's body to arrive.
    pub body_timeout: Duration,
    /// Time for a client to take the next piece of an answer.
    pub write_timeout: Duration,
    /// Time for an answer; a command that takes longer is finished, but its caller has to ask again.
    pub request_timeout: Duration,
    /// Requests worked on at once; further ones are told to come back.
    pub in_flight: usize,
    /// Open connections; further ones wait to be accepted.
    pub connections: usize,
    /// Time that requests get to finish when the process is asked to stop.
    pub grace: Duration,
    /// How long a guardrail may go unread, round after round, before its stage goes back.
    pub guardrail_unread: Duration,
    /// How much each tenant may use, unless something else was set for it.
    pub quotas: Quotas,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            uri_bytes: 4 * 1024,
            body_bytes: 256 * 1024,
            json_depth: 32,
            head_bytes: 16 * 1024,
            headers: 64,
            head_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(15),
            request_timeout: Duration::from_secs(30),
            in_flight: 256,
            connections: 2048,
            grace: Duration::from_secs(8),
            guardrail_unread: Duration::from_secs(300),
            quotas: Quotas::default(),
        }
    }
}
