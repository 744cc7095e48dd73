//! `GET /api/v1/tickets/{id}/advisor-input`

use contracts::{
    ErrorCode,
    proposal::{AdvisorInput, ProposalKind},
};

use super::{Endpoint, Failure, Json, ReadRequest, TicketPath, get, missing};

async fn handler(
    TicketPath(id): TicketPath,
    request: ReadRequest,
) -> Result<Json<AdvisorInput>, Failure> {
    request.machinery_only()?;
    let kind: Option<ProposalKind> = request.query(&["kind"])?.word("kind")?;
    let kind = kind.ok_or_else(|| missing("kind"))?;
    let at = request.received_at();
    let mut tx = request.open().await?;
    let facts = store::read::advisor_facts(&mut tx, id, at).await?;
    tx.commit().await?;
    let facts = facts.ok_or_else(Failure::no_ticket)?;

    let sha256 = facts.bundle_sha256.as_deref().ok_or_else(no_policy)?;
    let bundle = request
        .bundles()
        .load(sha256)
        .map_err(|error| no_policy().caused_by(error))?;
    let template = bundle
        .template(&facts.ticket.template)
        .ok_or_else(|| no_policy().caused_by(format!("no template `{}`", facts.ticket.template)))?;
    let input = facts.input(kind, template, at);
    Ok(Json(input))
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
    .summary("Everything that an advisor looks at")
    .description("For the ticket's workflow, auditors and platform administrators.")
    .query::<ProposalKind>("kind", true, "What the advice is about.")
    .problems(&[
        ErrorCode::NotFound,
        ErrorCode::Forbidden,
        ErrorCode::PolicyUnavailable,
    ])
}
