//! `/metrics` and `/health`, on a listener of their own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use contracts::read::Health;
use reqwest::{Method, StatusCode};
use sqlx::PgPool;
use store::deployment;
use tokio::time::timeout;

use crate::{
    http::{Request, Response},
    metrics::Metrics,
};

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

impl Pages {
    /// Answers one request.
    pub async fn answer(&self, request: &Request) -> Response {
        match (&request.method, request.path.as_str()) {
            (&Method::GET, "/metrics") => self.metrics(),
            (&Method::GET, "/health") => self.health().await,
            (_, "/metrics" | "/health") => Response::empty(StatusCode::METHOD_NOT_ALLOWED),
            _ => Response::empty(StatusCode::NOT_FOUND),
        }
    }

    fn metrics(&self) -> Response {
        match self.metrics.render() {
            Ok(body) => Response {
                status: StatusCode::OK,
                kind: prometheus::TEXT_FORMAT,
                body,
            },
            Err(error) => Response {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                kind: "text/plain",
                body: error.to_string(),
            },
        }
    }

    async fn health(&self) -> Response {
        let database = match timeout(BOUND, deployment::read(&self.pool)).await {
            Ok(Ok(_)) => "ok".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {BOUND:?}"),
        };
        let well = database == "ok";
        let health = Health {
            status: if well { "ok" } else { "unavailable" }.to_owned(),
            parts: BTreeMap::from([
                ("database".to_owned(), database),
                // None is right where no messages are sent; they wait.
                ("endpoints".to_owned(), self.endpoints.to_string()),
            ]),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Response {
            status: if well {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            },
            kind: "application/json",
            body: serde_json::to_string(&health).unwrap_or_default(),
        }
    }
}
