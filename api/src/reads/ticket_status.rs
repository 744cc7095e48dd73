//! `GET /api/v1/tickets/{id}/status`

use contracts::{ErrorCode, read::TicketStatus};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, TicketPath, get};

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<TicketStatus>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let facts = store::read::ticket_facts(&mut tx, id).await?;
    tx.commit().await?;
    let facts = facts.ok_or_else(Failure::no_ticket)?;

    // Without a bundle no command passes, but where the ticket stands can still be told.
    let bundle = match facts.bundle_sha256.as_deref() {
        Some(sha256) => request.bundle(sha256).await.ok(),
        None => None,
    };
    let template = bundle
        .as_ref()
        .and_then(|bundle| bundle.template(&facts.ticket.template));
    let recorded: Vec<_> = facts.sla_records.iter().map(|r| r.key.clone()).collect();
    Ok(Json(TicketStatus {
        waiting_for: domain::waiting_for(&facts.ticket),
        next_deadline: domain::next_deadline(&facts.ticket, &recorded),
        possible: domain::ticket::table::legal_operations(&facts.ticket, template),
        open_approvals: facts.open_approvals,
        sla_records: facts.sla_records,
        event_seq: facts.event_seq,
        ticket: facts.ticket,
    }))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<TicketStatus>("get_ticket_status", "/tickets/{id}/status", get(handler))
        .needs(ReadPermission::Tickets)
        .summary("Where a ticket stands and what can be done now")
        .description(
            "What it waits for, which deadline comes next, which decisions are owed, which \
             commands lead somewhere from here. Whether the caller may give them is the policy's \
             to say: a dry run asks it.",
        )
        .problems(&[ErrorCode::NotFound])
}
