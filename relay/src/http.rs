//! `/metrics` and `/health`, on a listener of their own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use contracts::read::Health;
use sqlx::PgPool;
use store::{deployment, outbox::PARTITIONS};
use tokio::time::{Instant, timeout};

use crate::{delivery::Gate, leases::Leases, metrics::Metrics};

/// How long the database gets to answer.
const BOUND: Duration = Duration::from_secs(2);

/// What the two pages show.
#[derive(Debug)]
pub struct Pages {
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// Whether Temporal can be used; `None` in log-only mode.
    pub gate: Option<Arc<Gate>>,
    /// Which partitions are ours.
    pub leases: Arc<Leases>,
    /// As the relay login.
    pub pool: PgPool,
}

/// The routes.
pub fn router(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .with_state(pages)
}

async fn metrics(State(pages): State<Arc<Pages>>) -> Response {
    match pages.metrics.render() {
        Ok(text) => {
            let kind = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
            (kind, text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn health(State(pages): State<Arc<Pages>>) -> (StatusCode, Json<Health>) {
    let ok = || "ok".to_owned();
    let database = match timeout(BOUND, deployment::read(&pages.pool)).await {
        Ok(Ok(_)) => ok(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {BOUND:?}"),
    };
    let temporal = match pages.gate.as_ref().and_then(|gate| gate.reopens_at()) {
        None => ok(),
        Some(_) => "does not accept signals; trying again".to_owned(),
    };
    let well = database == "ok" && temporal == "ok";
    let held = pages.leases.held(Instant::now().into_std()).len();
    let parts = BTreeMap::from([
        ("database".to_owned(), database),
        ("temporal".to_owned(), temporal),
        (
            "leases".to_owned(),
            // None is right while enough other relays live.
            format!("{held} of {PARTITIONS} partitions"),
        ),
    ]);
    let (status, word) = if well {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    };
    let health = Health {
        status: word.to_owned(),
        parts,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    (status, Json(health))
}
