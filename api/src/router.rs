//! The list of endpoints as a router: each under both prefixes, with the same guard and handler.

use std::any::Any;

use axum::{
    Extension, Router,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use contracts::ErrorCode;
use http::{Method, Uri, header};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    App,
    endpoint::{Endpoint, PREFIX, PREFIXES, endpoints},
    problem::Failure,
    request::{Needed, guard, observe},
};

/// The operations below the prefixes that need no token. Everything else is guarded, because the
/// guard is put on each *route* that is not listed: there is no path to be matched twice and
/// differently. They are served without a prefix too, where probes look for them.
pub const PUBLIC: &[&str] = &[
    "/docs",
    "/docs/{id}",
    "/health",
    "/health/live",
    "/health/ready",
    "/openapi.json",
    "/problems",
    "/problems/{id}",
];

/// The API.
pub fn router(app: App) -> Router {
    assemble(app, endpoints())
}

fn assemble(app: App, endpoints: Vec<Endpoint>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints {
        let below = endpoint.below().to_owned();
        let route = if endpoint.is_public() {
            router = router.route(&below, endpoint.route.clone());
            endpoint.route
        } else {
            let guard = from_fn_with_state(app.clone(), guard);
            let needed = Extension(Needed(endpoint.permission));
            // The guard looks at what is needed: that is put in front of it.
            endpoint.route.route_layer(guard).route_layer(needed)
        };
        for prefix in PREFIXES {
            router = router.route(&format!("{prefix}{below}"), route.clone());
        }
    }
    router
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// What Prometheus asks for: for the second listener only.
pub(crate) fn metrics_router(app: App) -> Router {
    Router::new()
        .route(
            "/metrics",
            get(
                async move || match app.metrics().render(app.pool(), app.unread()) {
                    Ok(text) => {
                        ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response()
                    }
                    Err(error) => Failure::internal(error).into_response(),
                },
            ),
        )
        .fallback(no_route)
}

async fn no_route(uri: Uri) -> Failure {
    let path: String = uri.path().chars().take(200).collect();
    Failure::new(
        ErrorCode::NotFound,
        format!("There is no operation at {path}; {PREFIX}/openapi.json lists them all."),
    )
}

async fn wrong_method(method: Method) -> Failure {
    Failure::new(
        ErrorCode::MethodNotAllowed,
        format!("This path has no operation {method}; the Allow header lists those it has."),
    )
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    Failure::internal(format!("panicked: {message}")).into_response()
}

#[cfg(test)]
mod tests;
