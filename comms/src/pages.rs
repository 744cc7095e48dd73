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
use store::deployment;
use tokio::time::timeout;

use crate::metrics::Metrics;

/// How long the database gets to answer.
const BOUND: Duration = Duration::from_secs(2);

/// What the two pages show.
#[derive(Debug)]
pub struct Pages {
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// As the sender's login.
    pub pool: PgPool,
    /// How many endpoints there are.
    pub endpoints: usize,
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
    let database = match timeout(BOUND, deployment::read(&pages.pool)).await {
        Ok(Ok(_)) => "ok".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {BOUND:?}"),
    };
    let (status, word) = if database == "ok" {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    };
    let health = Health {
        status: word.to_owned(),
        parts: BTreeMap::from([
            ("database".to_owned(), database),
            // None is right where no messages are sent; they wait.
            ("endpoints".to_owned(), pages.endpoints.to_string()),
        ]),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    (status, Json(health))
}
