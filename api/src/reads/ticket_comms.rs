//! `GET /api/v1/tickets/{id}/comms`

use contracts::{ErrorCode, comms::CommsPage, ticket::Ticket};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, TicketPath, get};
use crate::request::Rights;

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<CommsPage>, Failure> {
    let cursor = request.cursor(&request.query(&["cursor"])?)?;
    let (mut tx, rights) = request.open_with_rights().await?;
    if !rights.may(ReadPermission::Messages) {
        let ticket = store::read::ticket(&mut tx, id).await?;
        is_sent(&rights, &ticket.ok_or_else(Failure::no_ticket)?)?;
    }
    let page = store::read::ticket_messages(&mut tx, id, cursor).await?;
    tx.commit().await?;
    let mut page = page.ok_or_else(Failure::no_ticket)?;
    page.next_cursor = request.next_cursor(page.next_cursor);
    Ok(Json(page))
}

/// Who may not read all messages reads what was written about the jobs that they are sent to. That
/// there is another one is no news to who may see it.
fn is_sent(rights: &Rights, ticket: &Ticket) -> Result<(), Failure> {
    let technician = rights.actor().technician_id;
    let mut visits = ticket.visits.iter();
    let is_sent = technician.is_some() && visits.any(|visit| visit.technician_id == technician);
    match (is_sent, rights.may(ReadPermission::Tickets)) {
        (true, _) => Ok(()),
        (false, true) => Err(rights.lack(ReadPermission::Messages)),
        (false, false) => Err(Failure::no_ticket()),
    }
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<CommsPage>("list_ticket_comms", "/tickets/{id}/comms", get(handler))
        .needs(ReadPermission::TicketMessages)
        .summary("A ticket's messages")
        .description(
            "In and out, oldest first. Whoever lacks `read:messages` reads those of tickets that they \
             are sent to as a technician.",
        )
        .query::<String>("cursor", false, "`next_cursor` of the page before.")
        .problems(&[ErrorCode::NotFound])
}
