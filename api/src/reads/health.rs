//! `GET /api/v1/health`, `/health/live`, `/health/ready`

use axum::{extract::State, response::IntoResponse};
use contracts::read::Health;
use http::StatusCode;

use super::{App, Endpoint, Json, Response, get};
use crate::readiness::health;

/// The process runs: nothing else is looked at, or a database outage would make an orchestrator
/// restart what is healthy.
async fn live() -> Json<Health> {
    Json(health([("process".to_owned(), "ok".to_owned())].into()))
}

async fn ready(State(app): State<App>) -> Response {
    let health = app.readiness().check().await;
    let status = match health.status.as_str() {
        "ok" | "degraded" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(health)).into_response()
}

const READY: &str = "`ok`: database reachable, migrations current, policy bundle loadable, and \
    whatever else is known well. `degraded` (200): this process serves, but a part that the system \
    needs is away: Temporal or the object store. `unavailable` (503): this process cannot serve. \
    `parts` names each; what an installation does not have is `not configured`.";

pub(super) fn endpoints() -> [Endpoint; 3] {
    let endpoint = |id, path, route| Endpoint::read::<Health>(id, path, route).only_problems(&[]);
    [
        endpoint("health", "/health", get(ready))
            .summary("Whether everything works")
            .description(READY)
            .health(),
        endpoint("health_live", "/health/live", get(live)).summary("Whether the process runs"),
        endpoint("health_ready", "/health/ready", get(ready))
            .summary("Whether the process can serve")
            .description(READY)
            .health(),
    ]
}
