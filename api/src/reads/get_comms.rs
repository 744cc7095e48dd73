//! `GET /api/v1/comms/{id}` and its raw payload.

use axum::response::IntoResponse;
use contracts::{ActorKind, ErrorCode, MessageId, Role, comms::CommsEnvelope};
use http::header;

use super::{Endpoint, Failure, Json, PathId, ReadRequest, Response, get};

async fn one(
    PathId(id): PathId<MessageId>,
    request: ReadRequest,
) -> Result<Json<CommsEnvelope>, Failure> {
    request.correspondence(&[])?;
    request.query(&[])?;
    let mut tx = request.open().await?;
    let message = store::read::message(&mut tx, id).await?;
    tx.commit().await?;
    message.map(Json).ok_or_else(no_message)
}

/// What the provider sent says more than the message: it is for whoever looks into how messages
/// come in.
async fn raw(PathId(id): PathId<MessageId>, request: ReadRequest) -> Result<Response, Failure> {
    let actor = request.actor();
    let allowed = match actor.kind {
        ActorKind::Person | ActorKind::Integration => actor.roles.contains(&Role::TenantAdmin),
        ActorKind::Agent | ActorKind::Workflow => false,
    };
    if !allowed {
        return Err(Failure::new(
            ErrorCode::Forbidden,
            "Only people and integrations with role tenant_admin may read what a provider sent.",
        ));
    }
    request.query(&[])?;
    let mut tx = request.open().await?;
    let raw = store::read::raw_message(&mut tx, id).await?;
    tx.commit().await?;
    let raw = raw.ok_or_else(|| {
        Failure::new(
            ErrorCode::NotFound,
            "There is no such message, it is not yours, or no raw payload was kept.",
        )
    })?;
    // It comes from outside: no browser is to take it for a page.
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, raw).into_response())
}

fn no_message() -> Failure {
    Failure::new(
        ErrorCode::NotFound,
        "There is no such message, or it is not yours.",
    )
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::read::<CommsEnvelope>("get_comms", "/comms/{id}", get(one))
            .summary("Get a message")
            .of::<MessageId>("The message.")
            .description("With where it came from, where it belongs and how far it got.")
            .problems(&[ErrorCode::NotFound, ErrorCode::Forbidden]),
        Endpoint::read::<String>("get_comms_raw", "/comms/{id}/raw", get(raw))
            .summary("What the provider sent, byte for byte")
            .of::<MessageId>("The message.")
            .description("Plain text, for people and integrations with role `tenant_admin`.")
            .plain_text()
            .problems(&[ErrorCode::NotFound, ErrorCode::Forbidden]),
    ]
}
