//! `GET /api/v1/openapi.json`

use axum::{extract::State, response::IntoResponse};
use http::header;

use super::{App, Endpoint, get};
use crate::endpoint::AnyJson;

async fn handler(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi())
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<AnyJson>("get_openapi", "/openapi.json", get(handler))
        .summary("This document")
        .only_problems(&[])
}
