//! `GET /api/v1/tickets/{id}/proposals`

use contracts::{ErrorCode, read::ProposalPage};

use super::{Endpoint, Failure, Json, ReadRequest, TicketPath, get};

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<ProposalPage>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let page = store::read::proposals(&mut tx, id).await?;
    tx.commit().await?;
    page.map(Json).ok_or_else(Failure::no_ticket)
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<ProposalPage>("list_proposals", "/tickets/{id}/proposals", get(handler))
        .summary("What software would have done")
        .description("Oldest first, with what a person did instead or likewise.")
        .problems(&[ErrorCode::NotFound])
}
