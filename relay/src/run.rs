//! Puts the parts together and takes them apart again.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rand::RngExt;
use sqlx::{PgPool, postgres::PgListener};
use store::{
    OUTBOX_CHANNEL, PoolSettings, control, deployment, failpoint, outbox,
    session::{self, Session},
};
use tokio::{
    net::TcpListener,
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    bounded::bounded,
    config::{InvalidConfig, Mode, RelayConfig},
    control::Teller,
    delivery::{Breaker, Destination, Gate, Pump, PumpSettings, Sending},
    epoch::Epoch,
    http::{Pages, router},
    leases::Leases,
    metrics::Metrics,
    reconcile::Reconciler,
    temporal::Temporal,
    with_causes,
};

/// How long a stopping relay may take in all.
const STOP_BOUND: Duration = Duration::from_secs(9);
/// How long giving back the leases may take.
const RELEASE_BOUND: Duration = Duration::from_secs(1);
/// How often the backlog is measured.
const LAG_INTERVAL: Duration = Duration::from_secs(5);
/// After the listening connection broke.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);

/// Why a relay could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The failpoint cannot be read.
    #[error(transparent)]
    Failpoint(#[from] failpoint::InvalidFailpoint),
    /// The database cannot be used.
    #[error("the relay cannot use its database")]
    Store(#[from] store::Error),
    /// The metrics listener's address cannot be used.
    #[error("the relay cannot listen on {address} for /metrics and /health")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Two metrics have one name: a bug.
    #[error("the relay's metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// A part ended that never should: a bug. Ending all lets the supervisor start anew.
    #[error("a part of the relay ended by a bug: {0}")]
    Part(String),
}

/// Runs a relay until `stop`; then finishes the signals under way, marks them, gives its leases
/// back, all within ten seconds.
pub async fn run(config: RelayConfig, stop: CancellationToken) -> Result<(), RelayError> {
    config.check()?;
    if config.failpoints {
        failpoint::arm(std::env::var(failpoint::VARIABLE).ok().as_deref())?;
    }
    let listener = listen(config.metrics_listen).await?;
    let address = listener.local_addr().map_err(|source| RelayError::Listen {
        address: config.metrics_listen,
        source,
    })?;
    session::demand_statements(&config.database_url).await?;
    let pool = store::connect(&config.database_url, &pool_settings()).await?;
    let epoch = Arc::new(Epoch::new(deployment::read(&pool).await?.epoch));
    let tuning = config.tuning;
    let holder = Uuid::now_v7();
    let leases = Arc::new(Leases::new(holder, tuning.lease_ttl));
    let metrics = Arc::new(Metrics::new()?);
    let gate = Arc::new(Gate::new(Breaker::new(
        tuning.breaker_backoff,
        tuning.call_timeout,
    )));
    let (wake, nudge) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let wake_teller = Arc::new(Notify::new());

    // Delivery ends first; what it stands on goes on until it has.
    let (delivery_stop, rest_stop) = (stop.child_token(), CancellationToken::new());
    let mut delivery = JoinSet::new();
    let mut rest = JoinSet::new();

    let destination = match config.mode {
        Mode::LogOnly => Destination::Log,
        Mode::DeliverToTemporal => Destination::Temporal {
            temporal: Arc::new(Temporal::new(
                config.temporal,
                format!("dispatch-relay@{holder}"),
                tuning.call_timeout,
            )),
            time_skipping: config.time_skipping,
        },
    };
    let sending = Arc::new(Sending {
        destination,
        gate: Arc::clone(&gate),
        leases: Arc::clone(&leases),
        metrics: Arc::clone(&metrics),
    });
    if let Destination::Temporal { temporal, .. } = &sending.destination {
        let reconciler = Reconciler::new(
            pool.clone(),
            Arc::clone(temporal),
            Arc::clone(&sending),
            Arc::clone(&epoch),
            config.time_skipping,
            &tuning,
        );
        delivery.spawn(reconciler.run(nudge.clone(), delivery_stop.clone()));
    }
    let teller = Teller {
        pool: pool.clone(),
        sending: Arc::clone(&sending),
        epoch: Arc::clone(&epoch),
        worker: holder,
        poll: tuning.poll,
    };
    delivery.spawn(teller.run(Arc::clone(&wake_teller), delivery_stop.clone()));
    let pump = Pump::new(
        pool.clone(),
        PumpSettings {
            concurrency: tuning.concurrency,
            poll: tuning.poll,
            backoff: tuning.ticket_backoff,
            max_attempts: tuning.max_attempts,
        },
        sending,
        Arc::clone(&epoch),
        std::time::Instant::now(),
    );
    delivery.spawn(pump.run(Arc::clone(&wake), delivery_stop.clone()));

    rest.spawn(keep_leases(
        Keeper {
            pool: pool.clone(),
            leases: Arc::clone(&leases),
            epoch,
            metrics: Arc::clone(&metrics),
            wake: Arc::clone(&wake),
            nudge,
            every: tuning.lease_ttl / 5,
        },
        rest_stop.clone(),
    ));
    rest.spawn(wake_on_notify(
        config.database_url,
        [wake, wake_teller],
        tuning.poll,
        rest_stop.clone(),
    ));
    rest.spawn(measure(
        pool.clone(),
        Arc::clone(&metrics),
        Arc::clone(&gate),
        rest_stop.clone(),
    ));
    let pages = Arc::new(Pages {
        metrics,
        gate: (config.mode == Mode::DeliverToTemporal).then_some(gate),
        leases: Arc::clone(&leases),
        pool: pool.clone(),
    });
    rest.spawn(serve(listener, pages, rest_stop.clone()));
    tracing::info!(%address, %holder, mode = ?config.mode, "relay runs");

    let ended = tokio::select! {
        // First: when asked to stop, parts end because they were asked too.
        biased;
        () = stop.cancelled() => Ok(()),
        Some(part) = delivery.join_next() => Err(bug(part)),
        Some(part) = rest.join_next() => Err(bug(part)),
    };
    delivery_stop.cancel();
    let finish = async { while delivery.join_next().await.is_some() {} };
    if timeout(STOP_BOUND - RELEASE_BOUND, finish).await.is_err() {
        tracing::warn!("signals under way did not end in time; they will be sent again");
    }
    rest_stop.cancel();
    if !matches!(
        timeout(RELEASE_BOUND, leases.release_all(&pool)).await,
        Ok(Ok(()))
    ) {
        tracing::warn!("leases could not be given back; they expire");
    }
    tracing::info!("relay stopped");
    ended
}

/// Few connections do: the pump and the lease keeper use one each, the reconciler and the teller the
/// rest.
fn pool_settings() -> PoolSettings {
    PoolSettings {
        max_connections: 8,
        ..PoolSettings::new("dispatch-relay")
    }
}

fn bug(part: Result<(), tokio::task::JoinError>) -> RelayError {
    RelayError::Part(part.map_or_else(|e| e.to_string(), |()| "it returned".to_owned()))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RelayError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| RelayError::Listen { address, source })
}

async fn serve(listener: TcpListener, pages: Arc<Pages>, stop: CancellationToken) {
    let serving =
        axum::serve(listener, router(pages)).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(
            error = with_causes(&error),
            "/metrics and /health are not served any more"
        );
    }
}

struct Keeper {
    pool: PgPool,
    leases: Arc<Leases>,
    epoch: Arc<Epoch>,
    metrics: Arc<Metrics>,
    wake: Arc<Notify>,
    nudge: Arc<Notify>,
    every: Duration,
}

/// Keeps our share of the partitions and an eye on the epoch.
async fn keep_leases(keeper: Keeper, stop: CancellationToken) {
    loop {
        match keeper.round().await {
            Ok(()) => {}
            Err(error) => tracing::warn!(
                error = with_causes(&error),
                "leases could not be renewed; they may expire"
            ),
        }
        let jitter = rand::rng().random_range(0.8..1.0);
        tokio::select! {
            () = sleep(keeper.every.mul_f64(jitter)) => {}
            () = stop.cancelled() => return,
        }
    }
}

impl Keeper {
    async fn round(&self) -> Result<(), store::Error> {
        let now = Instant::now().into_std();
        let round = bounded(self.leases.round(&self.pool, now)).await?;
        if !round.lost.is_empty() || !round.gained.is_empty() {
            tracing::info!(
                gained = ?round.gained, lost = ?round.lost, relays = round.live,
                "partitions changed hands",
            );
        }
        let held = self.leases.held(Instant::now().into_std()).len();
        self.metrics.set_leases(held, round.live);
        let deployment = bounded(deployment::read(&self.pool)).await?;
        let rose = self.epoch.observe(deployment.epoch);
        if !round.gained.is_empty() {
            self.wake.notify_one();
        }
        if rose || !round.gained.is_empty() {
            self.nudge.notify_one();
        }
        Ok(())
    }
}

/// Wakes the pump and the teller on NOTIFY. The connection is one of its own and is made anew when it breaks;
/// what was missed meanwhile is found by the poll. Behind a pooler that gives no session nothing would be
/// heard, and the order to listen would stay on a connection of somebody else: there is the poll alone.
async fn wake_on_notify(
    database_url: String,
    wake: [Arc<Notify>; 2],
    poll: Duration,
    stop: CancellationToken,
) {
    let listening = async {
        loop {
            match session::probe(&database_url).await {
                Ok(Session::Own) => {
                    if let Err(error) = hear(&database_url, &wake).await {
                        tracing::warn!(
                            error = with_causes(&error),
                            "not listening for new events; polling"
                        );
                    }
                }
                Ok(Session::Shared) => {
                    tracing::warn!(
                        ?poll,
                        "the address of the database leads through a pooler in transaction mode, where \
                         nothing is heard of new events: they are asked for, each time this has \
                         passed. Give `database.relay_url` the address of the server itself"
                    );
                    return std::future::pending().await;
                }
                Err(error) => tracing::warn!(
                    error = with_causes(&error),
                    "not listening for new events; polling"
                ),
            }
            sleep(LISTEN_PAUSE).await;
        }
    };
    tokio::select! {
        () = listening => {}
        () = stop.cancelled() => {}
    }
}

async fn hear(database_url: &str, wake: &[Arc<Notify>]) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect(database_url).await?;
    listener.listen(OUTBOX_CHANNEL).await?;
    loop {
        // `None`: the connection was lost and made anew; something may have been missed.
        listener.try_recv().await?;
        for part in wake {
            part.notify_one();
        }
    }
}

async fn measure(pool: PgPool, metrics: Arc<Metrics>, gate: Arc<Gate>, stop: CancellationToken) {
    loop {
        match bounded(outbox::lag(&pool)).await {
            Ok(lag) => metrics.set_lag(&lag),
            Err(error) => tracing::debug!(
                error = with_causes(&error),
                "the backlog could not be measured"
            ),
        }
        if let Ok(lag) = bounded(control::lag(&pool)).await {
            metrics.set_control_lag(&lag);
        }
        metrics.set_breaker(gate.reopens_at().is_some());
        tokio::select! {
            () = sleep(LAG_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
    }
}
