//! `GET /api/v1/tickets/{id}/evidence`

use contracts::{ErrorCode, directory::EvidencePage};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, TicketPath, get};

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<EvidencePage>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let page = store::read::evidence(&mut tx, id).await?;
    tx.commit().await?;
    page.map(Json).ok_or_else(Failure::no_ticket)
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<EvidencePage>("list_evidence", "/tickets/{id}/evidence", get(handler))
        .needs(ReadPermission::Tickets)
        .summary("The evidence on record")
        .description(
            "Oldest first. What a visit handed in with its last step stands in the ticket's visits.",
        )
        .problems(&[ErrorCode::NotFound])
}
