//! The gate in front of every operation that is not public: room, then identity, then what the caller's
//! tenant may use.
//!
//! The router puts this layer on each route that is not in [`crate::router::PUBLIC`], so a new
//! operation is guarded unless somebody lists it there; [`Caller`] cannot be had without it.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chrono::Utc;
use contracts::{Actor, ApiPermission, ErrorCode, service_account::TENANT_HEADER};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Needed, RequestContext};
use crate::{
    App,
    identity::{NamedTenant, Refusal, Scopes},
    limits::{Admitted, Kind, LimitedBy, URGENT},
    problem::Failure,
};

/// Who asks: proof that the request was authenticated.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The actor.
    pub actor: Arc<Actor>,
    /// What the credential is good for, of what the actor may do.
    pub scopes: Scopes,
    /// The frame of the request.
    pub context: Arc<RequestContext>,
    /// Kept by whatever works on the request, so that it counts for as long as that goes on: a caller who
    /// hangs up gives nothing back.
    pub(crate) under_way: Arc<LetIn>,
}

/// A request that was let in.
#[derive(Debug)]
pub(crate) struct LetIn {
    admitted: Admitted,
    _room: OwnedSemaphorePermit,
}

impl FromRequestParts<App> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Failure> {
        let context = context(parts.extensions.get())?;
        let under_way = parts.extensions.get::<Arc<LetIn>>().cloned();
        let known = context.caller().cloned().zip(under_way);
        let ((actor, scopes), under_way) =
            known.ok_or_else(|| Failure::internal("the route is not guarded"))?;
        Ok(Self {
            actor,
            scopes,
            context,
            under_way,
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
    let mut response = let_in(app, request, next).await;
    is_theirs(response.headers_mut());
    response
}

/// Whatever is answered is for this caller alone: nothing between us and them keeps it for others, and a
/// browser takes it for nothing but what it says it is. What has a version may be kept by the caller,
/// who asks each time whether it is still that one.
fn is_theirs(headers: &mut HeaderMap) {
    let kept = match headers.contains_key(header::ETAG) {
        true => "private, no-cache",
        false => "no-store",
    };
    for (name, value) in [
        (header::CACHE_CONTROL, kept),
        (header::VARY, "authorization, dispatch-tenant"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

async fn let_in(app: App, mut request: Request, next: Next) -> Response {
    let (extensions, headers) = (request.extensions(), request.headers());
    let kind = kind(extensions.get());
    let Some(room) = room(&app, kind) else {
        app.limiter().count(LimitedBy::Room);
        return Failure::unavailable("Too many requests are being worked on. Try again.")
            .into_response();
    };
    let actor = match authenticate(&app, extensions.get(), headers).await {
        Ok(actor) => actor,
        Err(failure) => return failure.into_response(),
    };
    let free = app.room().available_permits();
    match app.limiter().admit(&actor, kind, free) {
        Ok(admitted) => {
            let under_way = Arc::new(LetIn {
                admitted,
                _room: room,
            });
            request.extensions_mut().insert(Arc::clone(&under_way));
            let mut response = next.run(request).await;
            under_way.admitted.tell(response.headers_mut());
            response
        }
        Err(refused) => {
            // Whoever waits for a refusal works on nothing.
            drop(room);
            tokio::select! {
                () = tokio::time::sleep(refused.delay) => {}
                () = app.stopping().cancelled() => {}
            }
            refused.answer()
        }
    }
}

fn kind(needed: Option<&Needed>) -> Kind {
    match needed {
        Some(Needed(Some(ApiPermission::Command(operation)))) => match URGENT.contains(operation) {
            true => Kind::Urgent,
            false => Kind::Command,
        },
        Some(Needed(Some(ApiPermission::Read(_)) | None)) | None => Kind::Read,
    }
}

/// A place in the process; there are some more for what is urgent.
fn room(app: &App, kind: Kind) -> Option<OwnedSemaphorePermit> {
    let of = |room: &Arc<Semaphore>| Arc::clone(room).try_acquire_owned().ok();
    let room = of(app.room());
    match kind {
        Kind::Urgent => room.or_else(|| of(app.urgent_room())),
        Kind::Command | Kind::Read => room,
    }
}

async fn authenticate(
    app: &App,
    found: Option<&Arc<RequestContext>>,
    headers: &HeaderMap,
) -> Result<Arc<Actor>, Failure> {
    let context = context(found)?;
    let known = app.authenticator();
    let identity = known
        .identify(bearer(headers)?, named_tenant(headers), context.received_at)
        .await;
    let identity = identity.inspect_err(|refusal| {
        if *refusal == Refusal::KeysCrowded {
            app.limiter().count(LimitedBy::UnknownKeys);
        }
    });
    context.set_caller(identity.map_err(refused)?);
    context.correlation_id()?;
    let caller = context.caller().map(|(actor, _)| Arc::clone(actor));
    caller.ok_or_else(|| Failure::internal("nobody was authenticated"))
}

/// Refuses a caller who was let in and would not be any more, or not as the same.
pub(super) async fn still_known(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<(), Failure> {
    let known = app.authenticator();
    let identity = known
        .identify(bearer(headers)?, named_tenant(headers), Utc::now())
        .await
        .map_err(refused)?;
    match identity.actor == *caller.actor && identity.scopes == caller.scopes {
        true => Ok(()),
        false => Err(unauthenticated(
            "The bearer token stands for something else than when the request was made.",
            r#"Bearer error="invalid_token""#,
        )),
    }
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

fn named_tenant(headers: &HeaderMap) -> NamedTenant {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => NamedTenant::None,
        (Some(value), None) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .map_or(NamedTenant::Unreadable, NamedTenant::One),
        (Some(_), Some(_)) => NamedTenant::Unreadable,
    }
}

fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::NameTenant => Failure::parameter(
            TENANT_HEADER,
            "The account of this API key acts in any tenant: name the one that you mean, once, in the \
             header `dispatch-tenant: ten_…`.",
        ),
        Refusal::NamesTenant => Failure::parameter(
            TENANT_HEADER,
            "Your credential has a tenant of its own: leave the header `dispatch-tenant` out. Only an \
             API key of an account that acts in any tenant comes with it.",
        ),
        Refusal::KeysAway | Refusal::KeysCrowded => Failure::unavailable(
            "It cannot be looked up right now whose API key this is. Try again.",
        ),
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
