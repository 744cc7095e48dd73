//! What all requests share.

use std::{fmt, sync::Arc};

use axum::body::Bytes;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    bundles::Bundles,
    config::{Limits, Watched},
    cursor::CursorKeys,
    endpoint::{PREFIXES, endpoints},
    exports::Exports,
    identity::Authenticator,
    limits::{Limiter, urgent_room},
    metrics::Metrics,
    openapi,
    pipeline::Pipeline,
    readiness::Readiness,
    unread::Unread,
};

/// The state of the router. Clones are the same thing.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    pipeline: Pipeline,
    pool: PgPool,
    bundles: Arc<Bundles>,
    readiness: Readiness,
    authenticator: Authenticator,
    limits: Limits,
    metrics: Metrics,
    room: Arc<Semaphore>,
    urgent_room: Arc<Semaphore>,
    waiting_room: Semaphore,
    exports: Arc<Exports>,
    unread: Unread,
    commands: TaskTracker,
    stopping: CancellationToken,
    cursors: CursorKeys,
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
        authenticator: Authenticator,
        limits: Limits,
        cursors: CursorKeys,
        watched: Watched,
    ) -> Self {
        let commands = endpoints()
            .into_iter()
            .filter_map(|endpoint| Some((endpoint.path, endpoint.command?)))
            .collect();
        Self(Arc::new(Shared {
            readiness: Readiness::new(pool.clone(), Arc::clone(&bundles), watched),
            pool,
            bundles,
            authenticator,
            limits,
            metrics: Metrics::new(commands, pipeline.limiter().metric())
                .expect("names and labels are constant and distinct"),
            room: Arc::new(Semaphore::new(limits.in_flight)),
            urgent_room: Arc::new(Semaphore::new(urgent_room(limits.in_flight))),
            waiting_room: Semaphore::new(limits.in_flight / 4),
            exports: Arc::default(),
            unread: Unread::new(limits.guardrail_unread),
            commands: TaskTracker::new(),
            stopping: CancellationToken::new(),
            cursors,
            openapi: PREFIXES.map(|prefix| openapi::text_under(prefix).into()),
            pipeline,
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

    pub(crate) fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// One permit per request being worked on.
    pub(crate) fn room(&self) -> &Arc<Semaphore> {
        &self.0.room
    }

    /// The same for what is urgent, when that is full.
    pub(crate) fn urgent_room(&self) -> &Arc<Semaphore> {
        &self.0.urgent_room
    }

    /// How much each tenant may use.
    pub(crate) fn limiter(&self) -> &Arc<Limiter> {
        self.0.pipeline.limiter()
    }

    /// One permit per request that waits for an end; they leave room for those that do not.
    pub(crate) fn waiting_room(&self) -> &Semaphore {
        &self.0.waiting_room
    }

    /// The exports of tenants that are being read.
    pub(crate) fn exports(&self) -> &Arc<Exports> {
        &self.0.exports
    }

    /// Guardrails that could not be read.
    pub(crate) fn unread(&self) -> &Unread {
        &self.0.unread
    }

    /// Cancelled when the process was asked to stop: nobody waits any longer.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// The keys that cursors are signed with.
    pub(crate) fn cursor_keys(&self) -> &CursorKeys {
        &self.0.cursors
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
