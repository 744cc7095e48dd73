//! `GET /api/v1/tickets/{id}/snapshot`

use contracts::{ErrorCode, signal::TicketSnapshot};

use super::{Endpoint, Failure, Json, ReadRequest, TicketPath, get};

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<TicketSnapshot>, Failure> {
    request.machinery_only()?;
    request.query(&[])?;
    let mut tx = request.open().await?;
    let snapshot = store::read::snapshot(&mut tx, id).await?;
    tx.commit().await?;
    snapshot.map(Json).ok_or_else(Failure::no_ticket)
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<TicketSnapshot>("get_snapshot", "/tickets/{id}/snapshot", get(handler))
        .summary("The truth that heals a workflow")
        .description("For the ticket's workflow, auditors and platform administrators.")
        .problems(&[ErrorCode::NotFound, ErrorCode::Forbidden])
}
