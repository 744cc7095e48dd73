//! Connection pools.

use std::{str::FromStr, time::Duration};

use sqlx::{
    Connection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::Error;

/// How a process uses the database.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Most connections at once.
    pub max_connections: u32,
    /// How long a caller waits for one.
    pub acquire_timeout: Duration,
    /// Shown in `pg_stat_activity`.
    pub application_name: String,
}

impl PoolSettings {
    /// Sixteen connections, five seconds of patience.
    pub fn new(application_name: impl Into<String>) -> Self {
        Self {
            max_connections: 16,
            acquire_timeout: Duration::from_secs(5),
            application_name: application_name.into(),
        }
    }
}

/// Opens a pool; fails at once when the server does not answer.
///
/// # Errors
/// [`Error::Configuration`] for an address that cannot be read, [`Error::Unavailable`] when nobody
/// answers there, [`Error::Database`] when the login is refused.
pub async fn connect(url: &str, settings: &PoolSettings) -> Result<PgPool, Error> {
    let options = connect_options(url)?.application_name(&settings.application_name);
    let pool = PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        // A ping before each use would be one more round trip per command. A connection that
        // rested is pinged, a busy one is not.
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for > Duration::from_secs(30) {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options)
        .await?;
    Ok(pool)
}

/// Reads an address.
pub(crate) fn connect_options(url: &str) -> Result<PgConnectOptions, Error> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|e| Error::Configuration(format!("the database address cannot be read: {e}")))?;
    // Poolers refuse a start-up parameter that they cannot keep apart per caller; Postgres writes
    // floats exactly without it.
    Ok(options.extra_float_digits(None))
}
