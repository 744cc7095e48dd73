//! `GET /api/v1/tickets/{id}/snapshot`

use contracts::{ErrorCode, signal::TicketSnapshot};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, TicketPath, get};

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<TicketSnapshot>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let rows = store::read::snapshot(&mut tx, id).await?;
    tx.commit().await?;
    let rows = rows.ok_or_else(Failure::no_ticket)?;
    let sha256 = rows.bundle_sha256.as_deref().ok_or_else(no_policy)?;
    let bundle = request
        .bundle(sha256)
        .await
        .map_err(|error| no_policy().caused_by(error))?;
    let autonomy = rows.autonomy(request.received_at(), request.ceiling(), bundle.autonomy());
    Ok(Json(rows.snapshot(&autonomy)))
}

/// What software may do is the bundle's to say: without one there is no whole truth.
fn no_policy() -> Failure {
    Failure::new(
        ErrorCode::PolicyUnavailable,
        "No policy bundle can say what software may do. Activate one, then ask again.",
    )
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<TicketSnapshot>("get_snapshot", "/tickets/{id}/snapshot", get(handler))
        .needs(ReadPermission::Machinery)
        .summary("The truth that heals a workflow")
        .problems(&[ErrorCode::NotFound, ErrorCode::PolicyUnavailable])
}
