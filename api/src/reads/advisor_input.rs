//! `GET /api/v1/tickets/{id}/advisor-input`

use contracts::{
    ErrorCode, Slug,
    proposal::{AdvisorInput, ProposalKind},
};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, TicketPath, get, missing};

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<AdvisorInput>, Failure> {
    let query = request.query(&["kind", "clock"])?;
    let kind: Option<ProposalKind> = query.word("kind")?;
    let kind = kind.ok_or_else(|| missing("kind"))?;
    let clock: Option<Slug> = query.get("clock")?;
    if kind == ProposalKind::Escalation && clock.is_none() {
        return Err(missing("clock"));
    }
    let at = request.received_at();
    let mut tx = request.open().await?;
    let facts = store::read::advisor_facts(&mut tx, id, kind, at).await?;
    tx.commit().await?;
    let facts = facts.ok_or_else(Failure::no_ticket)?;

    let sha256 = facts.bundle_sha256.as_deref().ok_or_else(no_policy)?;
    let bundle = request
        .bundle(sha256)
        .await
        .map_err(|error| no_policy().caused_by(error))?;
    let template = bundle
        .template(&facts.ticket.template)
        .ok_or_else(|| no_policy().caused_by(format!("no template `{}`", facts.ticket.template)))?;
    let input = facts.input(template, clock.as_ref(), at);
    input.map(Json).ok_or_else(|| {
        Failure::new(
            ErrorCode::IllegalTransition,
            format!("As the ticket is now, there is nothing to advise on: {kind}."),
        )
    })
}

/// What a job needs is data of the bundle.
fn no_policy() -> Failure {
    Failure::new(
        ErrorCode::PolicyUnavailable,
        "The active policy bundle does not say what this kind of job needs. Try again later; an \
         operator finds the reason in the log.",
    )
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<AdvisorInput>(
        "get_advisor_input",
        "/tickets/{id}/advisor-input",
        get(handler),
    )
    .needs(ReadPermission::Machinery)
    .summary("Everything that an advisor looks at")
    .query::<ProposalKind>("kind", true, "What the advice is about.")
    .query::<Slug>(
        "clock",
        false,
        "The promise that an escalation is about, and asked for where `kind` is `escalation`: its worst record counts.",
    )
    .problems(&[
        ErrorCode::IllegalTransition,
        ErrorCode::NotFound,
        ErrorCode::PolicyUnavailable,
    ])
}
