//! What all requests share.

use std::{fmt, sync::Arc};

use axum::body::Bytes;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::{
    bundles::Bundles,
    config::Limits,
    endpoint::{PREFIXES, endpoints},
    metrics::Metrics,
    openapi,
    pipeline::Pipeline,
    readiness::Readiness,
    token::Verifier,
};

/// The state of the router. Clones are the same thing.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    pipeline: Pipeline,
    pool: PgPool,
    bundles: Arc<Bundles>,
    readiness: Readiness,
    verifier: Verifier,
    limits: Limits,
    metrics: Metrics,
    room: Semaphore,
    commands: TaskTracker,
    openapi: [Bytes; PREFIXES.len()],
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl App {
    /// Puts the parts together.
    pub fn new(
        pipeline: Pipeline,
        pool: PgPool,
        bundles: Arc<Bundles>,
        verifier: Verifier,
        limits: Limits,
    ) -> Self {
        let commands = endpoints()
            .into_iter()
            .filter_map(|endpoint| Some((endpoint.path, endpoint.command?)))
            .collect();
        Self(Arc::new(Shared {
            pipeline,
            readiness: Readiness::new(pool.clone(), Arc::clone(&bundles)),
            pool,
            bundles,
            verifier,
            limits,
            metrics: Metrics::new(commands).expect("names and labels are constant and distinct"),
            room: Semaphore::new(limits.in_flight),
            commands: TaskTracker::new(),
            openapi: PREFIXES.map(|prefix| openapi::text_under(prefix).into()),
        }))
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.0.pipeline
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    pub(crate) fn bundles(&self) -> &Bundles {
        &self.0.bundles
    }

    pub(crate) fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// One permit per request being worked on.
    pub(crate) fn room(&self) -> &Semaphore {
        &self.0.room
    }

    /// Commands that have begun and must end before the process does.
    pub(crate) fn commands(&self) -> &TaskTracker {
        &self.0.commands
    }

    /// The document with the paths under this prefix; without one those of the version.
    pub(crate) fn openapi(&self, prefix: &str) -> Bytes {
        let place = PREFIXES.iter().position(|known| *known == prefix);
        self.0.openapi[place.unwrap_or(0)].clone()
    }
}
