//! The gate in front of every operation that is not public: room, then identity.
//!
//! The router puts this layer on each route that is not in [`crate::router::PUBLIC`], so a new
//! operation is guarded unless somebody lists it there; [`Caller`] cannot be had without it.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use contracts::{Actor, ErrorCode};
use http::{HeaderMap, header, request::Parts};

use super::RequestContext;
use crate::{App, identity::Refusal, problem::Failure};

/// Who asks: proof that the request was authenticated.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The actor.
    pub actor: Arc<Actor>,
    /// The frame of the request.
    pub context: Arc<RequestContext>,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        let context = context(parts.extensions.get())?;
        let actor = context.caller().cloned();
        Ok(Self {
            actor: actor.ok_or_else(|| Failure::internal("the route is not guarded"))?,
            context,
        })
    }
}

fn context(found: Option<&Arc<RequestContext>>) -> Result<Arc<RequestContext>, Failure> {
    found
        .cloned()
        .ok_or_else(|| Failure::internal("the route is not observed"))
}

/// The layer.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let Ok(_room) = app.room().try_acquire() else {
        return Failure::unavailable("Too many requests are being worked on. Try again.")
            .into_response();
    };
    let (extensions, headers) = (request.extensions(), request.headers());
    match authenticate(&app, extensions.get(), headers).await {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

async fn authenticate(
    app: &App,
    found: Option<&Arc<RequestContext>>,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    let context = context(found)?;
    let known = app.authenticator();
    let actor = known
        .authenticate(bearer(headers)?, context.received_at)
        .await;
    context.set_caller(actor.map_err(refused)?);
    context.correlation_id()?;
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Result<&str, Failure> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, second) = (values.next(), values.next());
    let Some(value) = value else {
        return Err(unauthenticated(
            "Send a token: `Authorization: Bearer …`.",
            r#"Bearer realm="real-dispatch""#,
        ));
    };
    let credentials = value.to_str().ok().and_then(|text| text.split_once(' '));
    match (credentials, second) {
        (Some((scheme, token)), None) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(unauthenticated(
            "The Authorization header must be `Bearer ` and one token, once.",
            r#"Bearer error="invalid_request""#,
        )),
    }
}

fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Token(error) => unauthenticated(
            format!("The bearer token is refused: {error}. Get a new one."),
            &format!(r#"Bearer error="invalid_token", error_description="{error}""#),
        ),
        Refusal::KeysUnavailable => Failure::unavailable(
            "The keys of the token's issuer cannot be fetched right now. Try again.",
        ),
    }
}

fn unauthenticated(detail: impl Into<std::borrow::Cow<'static, str>>, challenge: &str) -> Failure {
    Failure::new(ErrorCode::Unauthenticated, detail).header(header::WWW_AUTHENTICATE, challenge)
}
