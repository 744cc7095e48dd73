//! `GET /api/v1/comms/{id}` and its raw payload.

use axum::response::IntoResponse;
use contracts::{ErrorCode, MessageId, comms::CommsEnvelope};
use http::header;

use super::{Endpoint, Failure, Json, PathId, ReadPermission, ReadRequest, Response, get};

async fn one(
    PathId(id): PathId<MessageId>,
    request: ReadRequest,
) -> Result<Json<CommsEnvelope>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let message = store::read::message(&mut tx, id).await?;
    tx.commit().await?;
    message.map(Json).ok_or_else(no_message)
}

/// What the provider sent says more than the message: it has a permission of its own.
async fn raw(PathId(id): PathId<MessageId>, request: ReadRequest) -> Result<Response, Failure> {
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
    // It comes from outside: the guard sees to it that no browser takes it for a page.
    let head = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((head, raw).into_response())
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
            .needs(ReadPermission::Messages)
            .summary("Get a message")
            .of::<MessageId>("The message.")
            .description("With where it came from, where it belongs and how far it got.")
            .problems(&[ErrorCode::NotFound]),
        Endpoint::read::<String>("get_comms_raw", "/comms/{id}/raw", get(raw))
            .needs(ReadPermission::RawMessages)
            .summary("What the provider sent, byte for byte")
            .of::<MessageId>("The message.")
            .description("Plain text.")
            .plain_text()
            .problems(&[ErrorCode::NotFound]),
    ]
}
