//! Whether this process can serve: the database answers, its schema is ours, a bundle decides.
//!
//! Parts that the system needs and this process does not (Temporal, the object store) are looked at
//! too, so that one place tells what ails the system. They make it *degraded*, not unready: commands
//! are taken and remembered by the outbox while Temporal is away, and an orchestrator that took
//! dispatch-api out of service for it would turn a delay into an outage.
//!
//! Anybody may ask, so the parts are checked at most once per [`AGE`], by one asker at a time, and
//! the answer names a part without saying how it is reached.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use contracts::read::Health;
use sqlx::PgPool;
use store::bundles::Place;
use tokio::{net::TcpStream, sync::Mutex, time::Instant};

use crate::{bundles::Bundles, config::Watched};

const AGE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(2);
const OK: &str = "ok";
/// What this installation does not have: nothing is wrong with it.
const NOT_CONFIGURED: &str = "not configured";
/// Parts that this process can do without.
const BESIDE: [&str; 3] = ["object_store", "row_level_security", "temporal"];

/// Checks the parts.
#[derive(Debug)]
pub(crate) struct Readiness {
    pool: PgPool,
    bundles: Arc<Bundles>,
    watched: Watched,
    last: Mutex<Option<(Instant, Health)>>,
}

/// A health document of these parts.
pub(crate) fn health(parts: BTreeMap<String, String>) -> Health {
    let ill = |(_, state): &(&String, &String)| ![OK, NOT_CONFIGURED].contains(&state.as_str());
    let mut ill = parts.iter().filter(ill).map(|(part, _)| part.as_str());
    let status = match ill.next() {
        None => OK,
        Some(first)
            if [first]
                .into_iter()
                .chain(ill)
                .all(|part| BESIDE.contains(&part)) =>
        {
            "degraded"
        }
        Some(_) => "unavailable",
    };
    Health {
        status: status.to_owned(),
        parts,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

impl Readiness {
    pub(crate) fn new(pool: PgPool, bundles: Arc<Bundles>, watched: Watched) -> Self {
        Self {
            pool,
            bundles,
            watched,
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
        let own = async {
            tokio::time::timeout(PATIENCE, self.parts())
                .await
                .unwrap_or_else(|_| BTreeMap::from([database(Err("does not answer in time"))]))
        };
        let (mut parts, temporal) = tokio::join!(own, self.temporal());
        parts.insert("temporal".to_owned(), temporal.to_owned());
        // Evidence is named by its hash; nothing of this program keeps the bytes yet.
        parts.insert("object_store".to_owned(), NOT_CONFIGURED.to_owned());
        if self.watched.unprotected {
            let off = "off: tenants are not separated; for development only";
            parts.insert("row_level_security".to_owned(), off.to_owned());
        }
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

    /// Whether the frontend takes connections; the relay's and the worker's metrics tell the rest.
    async fn temporal(&self) -> &'static str {
        let Some(address) = &self.watched.temporal else {
            return NOT_CONFIGURED;
        };
        match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => OK,
            Ok(Err(error)) => {
                tracing::warn!(%error, "degraded: temporal");
                "cannot be reached: workflows, deadlines and approvals wait"
            }
            Err(_) => "does not answer in time: workflows, deadlines and approvals wait",
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_process_needs_makes_it_unready() {
        let status = |parts: &[(&str, &str)]| {
            let parts = parts
                .iter()
                .map(|(part, state)| ((*part).into(), (*state).into()));
            health(parts.collect()).status
        };
        let away = "cannot be reached";
        for (parts, expected) in [
            (vec![("database", OK), ("temporal", OK)], "ok"),
            (
                vec![("database", OK), ("object_store", NOT_CONFIGURED)],
                "ok",
            ),
            (vec![("database", OK), ("temporal", away)], "degraded"),
            (vec![("temporal", away), ("object_store", away)], "degraded"),
            (vec![("database", away), ("temporal", away)], "unavailable"),
            (vec![("policy", away), ("temporal", OK)], "unavailable"),
        ] {
            assert_eq!(status(&parts), expected, "{parts:?}");
        }
    }
}
