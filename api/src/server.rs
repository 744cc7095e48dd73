//! The process: listeners, pool, background tasks, and an orderly end.

use std::{io, net::SocketAddr, sync::Arc};

use sqlx::PgPool;
use store::{
    OutboxWaker, PoolSettings,
    failpoint::{self, InvalidFailpoint},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    App,
    bundles::Bundles,
    config::{ApiConfig, Watched},
    cursor::CursorKeys,
    identity::{Authenticator, IdentityError, StoredKeys},
    limits::Limiter,
    login::{self, UnfitLogin},
    net,
    pipeline::{Pipeline, PipelineOptions},
    router::{metrics_router, router},
};

/// Why a dispatch-api could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}; choose another address, port 0 takes a free port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Nobody could be authenticated like this.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The failpoint variable cannot be read.
    #[error(transparent)]
    Failpoint(#[from] InvalidFailpoint),
    /// The login would not keep tenants apart, or the way to it would mix callers up.
    #[error(transparent)]
    Login(#[from] UnfitLogin),
    /// The database cannot be used.
    #[error("the database cannot be used")]
    Store(#[from] store::Error),
}

/// A dispatch-api that listens but does not answer yet.
#[derive(Debug)]
pub struct Server {
    config: ApiConfig,
    api: TcpListener,
    metrics: TcpListener,
    maintenance: PgPool,
    app: App,
}

/// Serves until `shutdown`; returns when everything that had begun is finished, within the grace
/// time.
pub async fn serve(config: ApiConfig, shutdown: CancellationToken) -> Result<(), ServeError> {
    Server::bind(config).await?.run(shutdown).await;
    Ok(())
}

impl Server {
    /// Takes the ports and connects to the database. Connections made from now on wait for
    /// [`Server::run`].
    pub async fn bind(config: ApiConfig) -> Result<Self, ServeError> {
        if config.failpoints {
            failpoint::arm(std::env::var(failpoint::VARIABLE).ok().as_deref())?;
        }
        let authenticator = Authenticator::new(&config.tokens)?;
        let api = listen(config.listen).await?;
        let metrics = listen(config.metrics_listen).await?;
        let mut settings = PoolSettings::new("dispatch-api");
        settings.max_connections = config.pool_size;
        let pool = store::connect(config.database_url.expose(), &settings).await?;
        login::check(&config, &pool).await?;
        let authenticator = authenticator.with_keys(Arc::new(StoredKeys::new(pool.clone())));
        let mut settings = PoolSettings::new("dispatch-sealer");
        // One seals; the other one looks at what tenants may use and do.
        settings.max_connections = 2;
        let maintenance = store::connect(config.maintenance_url.expose(), &settings).await?;
        let waker = OutboxWaker::start((*pool.connect_options()).clone());
        let bundles = Arc::new(Bundles::new(
            Arc::clone(&config.bundles),
            config.trust.clone(),
        ));
        let pipeline = Pipeline::new(
            pool.clone(),
            Arc::clone(&bundles),
            waker,
            PipelineOptions {
                ceiling: config.ceiling,
                limiter: Arc::new(Limiter::new(
                    &config.limits,
                    config.pool_size,
                    Some(maintenance.clone()),
                )),
                ..PipelineOptions::default()
            },
        );
        let app = App::new(
            pipeline,
            pool,
            bundles,
            authenticator,
            config.limits,
            cursor_keys(&config),
            Watched {
                unprotected: !config.row_level_security,
                ..config.watched.clone()
            },
        );
        Ok(Self {
            config,
            api,
            metrics,
            maintenance,
            app,
        })
    }

    /// Where the API listens.
    pub fn api_address(&self) -> io::Result<SocketAddr> {
        self.api.local_addr()
    }

    /// Where `/metrics` listens.
    pub fn metrics_address(&self) -> io::Result<SocketAddr> {
        self.metrics.local_addr()
    }

    /// Serves until `shutdown`, then ends in order: no new connections, requests and commands that
    /// have begun, the last seal, the database.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self {
            config,
            api,
            metrics,
            maintenance,
            app,
        } = self;
        let limits = config.limits;
        let sealer = store::seal::run(
            maintenance.clone(),
            config.sealing_key.expose().as_bytes().to_vec(),
            config.sealing_interval,
            shutdown.clone(),
        );
        let stop = async {
            shutdown.cancelled().await;
            app.stopping().cancel();
        };
        tokio::join!(
            stop,
            app.limiter().follow(&shutdown),
            net::serve(api, router(app.clone()), limits, shutdown.clone()),
            net::serve(
                metrics,
                metrics_router(app.clone()),
                limits,
                shutdown.clone()
            ),
            sealer,
        );
        app.commands().close();
        if tokio::time::timeout(limits.grace, app.commands().wait())
            .await
            .is_err()
        {
            tracing::warn!("commands were still running at the end of the grace time");
        }
        app.pool().close().await;
        maintenance.close().await;
    }
}

fn cursor_keys(config: &ApiConfig) -> CursorKeys {
    match config.cursor_keys.split_first() {
        Some((today, before)) => CursorKeys::new(today, before.iter().chain([&config.sealing_key])),
        None => CursorKeys::new(&config.sealing_key, []),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}
