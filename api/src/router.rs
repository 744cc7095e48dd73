//! The list of endpoints as a router: each under both prefixes, with the same guard and handler.
//!
//! What is read behind the guard has no `HEAD`. It would run the whole read and throw the answer away:
//! somebody who has seen nothing would be on record as having read a proposal, or as having taken a copy
//! of a tenant.

use std::{any::Any, collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Router,
    extract::MatchedPath,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::get,
};
use contracts::ErrorCode;
use http::{Method, Uri, header};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    App,
    endpoint::{Endpoint, PREFIX, PREFIXES, endpoints, route_name},
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
    let allowed = Arc::new(Allowed::of(&endpoints));
    let wrong_method = move |path: Option<MatchedPath>, method: Method| {
        let refused = allowed.wrong_method(path.as_ref(), &method);
        async move { refused }
    };
    let mut router = Router::new();
    for endpoint in endpoints {
        let below = endpoint.below().to_owned();
        let is_guarded_read = !endpoint.is_public() && endpoint.method == Method::GET;
        let route = if endpoint.is_public() {
            router = router.route(&below, endpoint.route.clone());
            endpoint.route
        } else {
            let guard = from_fn_with_state(app.clone(), guard);
            let needed = Extension(Needed(endpoint.permission));
            // The guard looks at what is needed: that is put in front of it.
            endpoint.route.route_layer(guard).route_layer(needed)
        };
        // Otherwise `GET` answers it.
        let route = match is_guarded_read {
            true => route.head(wrong_method.clone()),
            false => route,
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

/// The methods of each guarded route, by its one name.
struct Allowed(BTreeMap<String, String>);

impl Allowed {
    fn of(endpoints: &[Endpoint]) -> Self {
        let mut allowed = BTreeMap::<String, String>::new();
        for endpoint in endpoints.iter().filter(|endpoint| !endpoint.is_public()) {
            let methods = allowed.entry(endpoint.path.clone()).or_default();
            if !methods.is_empty() {
                methods.push(',');
            }
            methods.push_str(endpoint.method.as_str());
        }
        Self(allowed)
    }

    /// Of a public route the router says itself which methods there are.
    fn wrong_method(&self, path: Option<&MatchedPath>, method: &Method) -> Failure {
        let failure = Failure::new(
            ErrorCode::MethodNotAllowed,
            format!("This path has no operation {method}; the Allow header lists those it has."),
        );
        let route = path.map(|path| route_name(path.as_str()));
        match route.and_then(|route| self.0.get(&*route)) {
            Some(methods) => failure.header(header::ALLOW, methods.as_str()),
            None => failure,
        }
    }
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
