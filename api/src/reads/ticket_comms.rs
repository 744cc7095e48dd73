//! `GET /api/v1/tickets/{id}/comms`

use contracts::{ErrorCode, Role, comms::CommsPage, ticket::Ticket};

use super::{Endpoint, Failure, Json, ReadRequest, TicketPath, get};

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<CommsPage>, Failure> {
    request.correspondence(&[Role::Technician])?;
    let cursor = request.query(&["cursor"])?.get("cursor")?;
    let mut tx = request.open().await?;
    if request.correspondence(&[]).is_err() {
        let ticket = store::read::ticket(&mut tx, id).await?;
        is_sent(&request, &ticket.ok_or_else(Failure::no_ticket)?)?;
    }
    let page = store::read::ticket_messages(&mut tx, id, cursor).await?;
    tx.commit().await?;
    page.map(Json).ok_or_else(Failure::no_ticket)
}

/// Technicians read what was written about the jobs that they are sent to.
fn is_sent(request: &ReadRequest, ticket: &Ticket) -> Result<(), Failure> {
    let technician = request.actor().technician_id;
    let mut visits = ticket.visits.iter();
    match technician.is_some() && visits.any(|visit| visit.technician_id == technician) {
        true => Ok(()),
        false => Err(Failure::new(
            ErrorCode::Forbidden,
            "Technicians may read the messages of tickets that they are sent to.",
        )),
    }
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<CommsPage>("list_ticket_comms", "/tickets/{id}/comms", get(handler))
        .summary("A ticket's messages")
        .description("In and out, oldest first.")
        .query::<String>("cursor", false, "`next_cursor` of the page before.")
        .problems(&[ErrorCode::NotFound, ErrorCode::Forbidden])
}
