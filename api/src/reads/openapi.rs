//! `GET /api/v1/openapi.json`

use axum::{
    extract::{MatchedPath, State},
    response::IntoResponse,
};
use http::header;

use super::{App, Endpoint, get};
use crate::endpoint::AnyJson;

const PATH: &str = "/openapi.json";

/// Each prefix has the document of its own paths.
async fn handler(State(app): State<App>, matched: MatchedPath) -> impl IntoResponse {
    let prefix = matched.as_str().trim_end_matches(PATH);
    let document = app.openapi(prefix);
    ([(header::CONTENT_TYPE, "application/json")], document)
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<AnyJson>("get_openapi", PATH, get(handler))
        .summary("This document")
        .only_problems(&[])
}
