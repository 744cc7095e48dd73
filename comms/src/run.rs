//! Puts the parts together and takes them apart again.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use sqlx::PgPool;
use store::{PoolSettings, failpoint, sending, session};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    config::{CommsConfig, InvalidEndpoint},
    metrics::Metrics,
    pages::{Pages, router},
    sender::{Line, Sender, bounded},
    webhook::{Webhook, WebhookSetupError},
    with_causes,
};

/// How long a stopping sender may take for what is under way.
const STOP_BOUND: Duration = Duration::from_secs(9);
/// How often the queue is measured.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

/// Why a sender could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum CommsError {
    /// An endpoint cannot be used as it is configured.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// Two endpoints have one name, so the ledger could not tell them apart.
    #[error("two endpoints are named `{0}`: the ledger tells them apart by their names")]
    SameName(String),
    /// An endpoint's client cannot be made.
    #[error(transparent)]
    Setup(#[from] WebhookSetupError),
    /// The failpoint cannot be read.
    #[error(transparent)]
    Failpoint(#[from] failpoint::InvalidFailpoint),
    /// The database cannot be used.
    #[error("the sender cannot use its database")]
    Store(#[from] store::Error),
    /// The metrics listener's address cannot be used.
    #[error("the sender cannot listen on {address} for /metrics and /health")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Two metrics have one name: a bug.
    #[error("the sender's metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// A part ended that never should: a bug. Ending all lets the supervisor start anew.
    #[error("a part of the sender ended by a bug: {0}")]
    Part(String),
}

/// Runs a sender until `stop`; then ends the tries under way and gives the rest back, all within ten
/// seconds.
pub async fn run(config: CommsConfig, stop: CancellationToken) -> Result<(), CommsError> {
    let lines = lines(&config)?;
    if config.failpoints {
        failpoint::arm(std::env::var(failpoint::VARIABLE).ok().as_deref())?;
    }
    let listener = listen(config.metrics_listen).await?;
    session::demand_statements(&config.database_url).await?;
    let pool = store::connect(&config.database_url, &pool_settings(config.tuning.batch)).await?;
    let metrics = Arc::new(Metrics::new()?);
    let slowest = lines.iter().map(|line| line.endpoint.timeout).max();
    let worker = Uuid::now_v7();
    let endpoints = lines.len();
    if endpoints == 0 {
        tracing::warn!("no endpoint is configured: messages wait; see `comms.endpoints`");
    }
    let sender = Sender {
        pool: pool.clone(),
        lines,
        lease: sending::Lease {
            worker,
            lasts: slowest.unwrap_or_default() + config.tuning.lease_margin,
        },
        tuning: config.tuning,
        metrics: Arc::clone(&metrics),
    };
    let (sender_stop, rest_stop) = (stop.child_token(), CancellationToken::new());
    let mut sending = JoinSet::new();
    sending.spawn(sender.run(sender_stop.clone()));
    let mut rest = JoinSet::new();
    rest.spawn(measure(
        pool.clone(),
        Arc::clone(&metrics),
        rest_stop.clone(),
    ));
    let pages = Arc::new(Pages {
        metrics,
        pool,
        endpoints,
    });
    let served = axum::serve(listener, router(pages));
    let served = served.with_graceful_shutdown(rest_stop.clone().cancelled_owned());
    rest.spawn(async move {
        if let Err(error) = served.await {
            tracing::warn!(%error, "the listener for /metrics and /health ended");
        }
    });
    tracing::info!(%worker, endpoints, "sender runs");

    let ended = tokio::select! {
        // First: when asked to stop, parts end because they were asked too.
        biased;
        () = stop.cancelled() => Ok(()),
        Some(part) = sending.join_next() => Err(bug(part)),
        Some(part) = rest.join_next() => Err(bug(part)),
    };
    sender_stop.cancel();
    let finish = async { while sending.join_next().await.is_some() {} };
    if timeout(STOP_BOUND, finish).await.is_err() {
        tracing::warn!("tries under way did not end in time; the next sender judges them");
    }
    rest_stop.cancel();
    tracing::info!("sender stopped");
    ended
}

fn lines(config: &CommsConfig) -> Result<Vec<Line>, CommsError> {
    let mut lines: Vec<Line> = Vec::new();
    // Of equal size: however many endpoints are stuck, the others have their places.
    let endpoints = u32::try_from(config.endpoints.len()).unwrap_or(u32::MAX);
    let share = (config.tuning.batch / endpoints.max(1)).max(1);
    for endpoint in &config.endpoints {
        endpoint.check()?;
        if lines.iter().any(|line| line.endpoint.name == endpoint.name) {
            return Err(CommsError::SameName(endpoint.name.to_string()));
        }
        let adapter = Arc::new(Webhook::new(endpoint)?);
        lines.push(Line::new(endpoint.clone(), adapter, share));
    }
    Ok(lines)
}

/// A connection is held for a short statement before and after each try, never during one.
fn pool_settings(batch: u32) -> PoolSettings {
    PoolSettings {
        max_connections: batch.clamp(2, 8),
        ..PoolSettings::new("dispatch-comms")
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, CommsError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| CommsError::Listen { address, source })
}

fn bug(part: Result<(), tokio::task::JoinError>) -> CommsError {
    CommsError::Part(part.map_or_else(|e| e.to_string(), |()| "it returned".to_owned()))
}

async fn measure(pool: PgPool, metrics: Arc<Metrics>, stop: CancellationToken) {
    loop {
        match bounded(sending::backlog(&pool)).await {
            Ok(backlog) => metrics.set_backlog(&backlog),
            Err(error) => tracing::debug!(
                error = with_causes(&error),
                "the queue could not be measured"
            ),
        }
        tokio::select! {
            () = sleep(MEASURE_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
    }
}
