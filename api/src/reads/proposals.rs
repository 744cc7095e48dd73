//! `GET /api/v1/tickets/{id}/proposals`
//!
//! The one read that writes. Agreement with advice that somebody had read proves less than
//! agreement with advice that they had not, so it has to be known who read what: for a person the
//! answer leaves a row per proposal, once, in a small transaction of its own. It is made before the
//! answer goes out: whoever has the answer counts as having read it, and a read that cannot note
//! that is refused rather than answered unseen. Software reads without leaving a trace.

use contracts::{ActorKind, ErrorCode, read::ProposalPage};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, TicketPath, get};

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<ProposalPage>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let page = store::read::proposals(&mut tx, id).await?;
    tx.commit().await?;
    let page = page.ok_or_else(Failure::no_ticket)?;
    let actor = request.actor();
    if actor.kind == ActorKind::Person && !page.items.is_empty() {
        let read: Vec<_> = page.items.iter().map(|proposal| proposal.id).collect();
        let mut tx = request.open_to_note().await?;
        store::read::viewed(&mut tx, &read, &actor.id).await?;
        tx.commit().await?;
    }
    Ok(Json(page))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<ProposalPage>("list_proposals", "/tickets/{id}/proposals", get(handler))
        .needs(ReadPermission::Proposals)
        .summary("What software would have done")
        .description(
            "Oldest first, with what a person did instead or likewise, and whether they had read \
             the proposal before. Reading counts: a person who acts afterwards acts with the \
             proposal in mind.",
        )
        .problems(&[ErrorCode::NotFound])
}
