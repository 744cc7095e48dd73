//! `GET /api/v1/tickets/{id}/proposals`
//!
//! The one read that writes. Agreement with advice that somebody had read proves less than
//! agreement with advice that they had not, so it has to be known who read what: for a person the
//! answer leaves a row per proposal, once, in a small transaction of its own. It is made before the
//! answer goes out: whoever has the answer counts as having read it, and a read that cannot note
//! that is refused rather than answered unseen. Software reads without leaving a trace, and so does
//! whoever reads in a tenant that is not active: nothing of it is written. They act on nothing there
//! either, and reading it again after the resume is noted.

use contracts::{ActorKind, ErrorCode, read::ProposalPage};
use store::read::Homes;

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, TicketPath, get};

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<ProposalPage>, Failure> {
    request.query(&[])?;
    let actor = request.actor();
    // A workflow reads what it had looked at itself.
    let homes = match actor.kind {
        ActorKind::Workflow => Homes::All,
        _ => request.homes(),
    };
    let mut tx = request.open().await?;
    let page = store::read::proposals(&mut tx, id, homes).await?;
    tx.commit().await?;
    let page = page.ok_or_else(Failure::no_ticket)?;
    if actor.kind == ActorKind::Person && !page.items.is_empty() {
        let read: Vec<_> = page.items.iter().map(|proposal| proposal.id).collect();
        if let Some(mut tx) = request.open_to_note().await? {
            store::read::viewed(&mut tx, &read, &actor.id).await?;
            tx.commit().await?;
        }
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
             proposal in mind. Where a technician starts from is for dispatchers, tenant \
             administrators, platform administrators and that technician: for others the input is \
             not the whole of what its hash is over.",
        )
        .problems(&[ErrorCode::NotFound])
}
