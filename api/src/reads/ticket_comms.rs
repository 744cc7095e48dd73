//! `GET /api/v1/tickets/{id}/comms`

use contracts::{ErrorCode, TicketId, comms::CommsPage, ticket::Ticket};
use store::TenantTx;

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
        reads_of(&rights, &ticket.ok_or_else(Failure::no_ticket)?)?;
    }
    let page = store::read::ticket_messages(&mut tx, id, cursor).await?;
    tx.commit().await?;
    let mut page = page.ok_or_else(Failure::no_ticket)?;
    page.next_cursor = request.next_cursor(page.next_cursor);
    Ok(Json(page))
}

/// Who may not read all messages reads what was written about the jobs that they are sent to. That
/// there is another one is no news to who may see it.
fn reads_of(rights: &Rights, ticket: &Ticket) -> Result<(), Failure> {
    match (is_sent(rights, ticket), rights.may(ReadPermission::Tickets)) {
        (true, _) => Ok(()),
        (false, true) => Err(rights.lack(ReadPermission::Messages)),
        (false, false) => Err(Failure::no_ticket()),
    }
}

/// Whether the caller is sent to the job.
fn is_sent(rights: &Rights, ticket: &Ticket) -> bool {
    let technician = rights.actor().technician_id;
    let mut visits = ticket.visits.iter();
    technician.is_some() && visits.any(|visit| visit.technician_id == technician)
}

/// Whether the caller may read what people wrote about the job.
pub(super) async fn may_read(
    tx: &mut TenantTx,
    rights: &Rights,
    id: TicketId,
) -> Result<bool, Failure> {
    if rights.may(ReadPermission::Messages) {
        return Ok(true);
    }
    if !rights.may(ReadPermission::TicketMessages) {
        return Ok(false);
    }
    let ticket = store::read::ticket(tx, id).await?;
    Ok(ticket.is_some_and(|ticket| is_sent(rights, &ticket)))
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
