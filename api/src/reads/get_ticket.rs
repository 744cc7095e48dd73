//! `GET /api/v1/tickets/{id}`

use contracts::{ErrorCode, canonical::canonical_sha256, ticket::Ticket};

use super::{Endpoint, Failure, ReadPermission, ReadRequest, Response, TicketPath, get, versioned};

async fn handler(TicketPath(id): TicketPath, request: ReadRequest) -> Result<Response, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let ticket = store::read::ticket(&mut tx, id).await?;
    tx.commit().await?;
    let ticket = ticket.ok_or_else(Failure::no_ticket)?;
    Ok(versioned(&request, &tag(&ticket)?, ticket))
}

/// The version, which `If-Match` takes; behind it, while approvals are open, what they stand at: that
/// changes without a new version, and a reader who asks only for news wants to hear of it.
fn tag(ticket: &Ticket) -> Result<String, Failure> {
    let version = ticket.version;
    if ticket.approvals.is_empty() {
        return Ok(version.to_string());
    }
    let hash = canonical_sha256(&ticket.approvals).map_err(Failure::internal)?;
    Ok(format!("{version}.{}", &hash[..8]))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<Ticket>("get_ticket", "/tickets/{id}", get(handler))
        .needs(ReadPermission::Tickets)
        .summary("Get a ticket")
        .etag()
        .problems(&[ErrorCode::NotFound])
}
