//! Whether this process can serve: the database answers, its schema is ours, a bundle decides.
//!
//! Anybody may ask, so the parts are checked at most once per [`AGE`], by one asker at a time, and
//! the answer names a part without saying how it is reached.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use contracts::read::Health;
use sqlx::PgPool;
use store::bundles::Place;
use tokio::{sync::Mutex, time::Instant};

use crate::bundles::Bundles;

const AGE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(2);
const OK: &str = "ok";

/// Checks the parts.
#[derive(Debug)]
pub(crate) struct Readiness {
    pool: PgPool,
    bundles: Arc<Bundles>,
    last: Mutex<Option<(Instant, Health)>>,
}

/// A health document of these parts.
pub(crate) fn health(parts: BTreeMap<String, String>) -> Health {
    let good = parts.values().all(|part| part == OK);
    Health {
        status: if good { OK } else { "unavailable" }.to_owned(),
        parts,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

impl Readiness {
    pub(crate) fn new(pool: PgPool, bundles: Arc<Bundles>) -> Self {
        Self {
            pool,
            bundles,
            last: Mutex::default(),
        }
    }

    /// The answer, at most [`AGE`] old.
    pub(crate) async fn check(&self) -> Health {
        let mut last = self.last.lock().await;
        if let Some((at, health)) = &*last
            && at.elapsed() < AGE
        {
            return health.clone();
        }
        let parts = tokio::time::timeout(PATIENCE, self.parts())
            .await
            .unwrap_or_else(|_| BTreeMap::from([database(Err("does not answer in time"))]));
        let health = health(parts);
        *last = Some((Instant::now(), health.clone()));
        health
    }

    async fn parts(&self) -> BTreeMap<String, String> {
        let mut parts = BTreeMap::new();
        let migrations = match store::migrate::pending(&self.pool).await {
            Ok(0) => OK.to_owned(),
            Ok(missing) => format!("{missing} missing; run `dispatch migrate`"),
            Err(error) if error.is_unavailable() => {
                tracing::warn!(%error, "not ready: database");
                return BTreeMap::from([database(Err("cannot be reached"))]);
            }
            // Says which of the two is older, and nothing else.
            Err(store::Error::Configuration(text)) => text,
            Err(error) => {
                tracing::warn!(%error, "not ready: migrations");
                "cannot be read; run `dispatch migrate`".to_owned()
            }
        };
        parts.extend([database(Ok(())), ("migrations".to_owned(), migrations)]);
        parts.insert("policy".into(), self.policy().await);
        parts
    }

    async fn policy(&self) -> String {
        let bundle = match store::deployment::read(&self.pool).await {
            Ok(deployment) => deployment.bundle,
            Err(error) => {
                tracing::warn!(%error, "not ready: deployment");
                return "cannot be read".into();
            }
        };
        let Some(bundle) = bundle else {
            return "no bundle is active: every command is refused".into();
        };
        match self
            .bundles
            .load(Place::Pool(&self.pool), &bundle.sha256)
            .await
        {
            Ok(_) => OK.into(),
            Err(error) => {
                tracing::warn!(%error, "not ready: policy");
                "the active bundle cannot be loaded".into()
            }
        }
    }
}

fn database(state: Result<(), &str>) -> (String, String) {
    let text = state.err().unwrap_or(OK).to_owned();
    ("database".to_owned(), text)
}
