//! `GET /api/v1/proposals/agreement`

use contracts::proposal::{Agreement, AgreementFilter, ProposalKind};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, get};

async fn handler(request: ReadRequest) -> Result<Json<Agreement>, Failure> {
    let query = request.query(&["kind", "from", "to"])?;
    let filter = AgreementFilter {
        kind: query.word("kind")?,
        from: query.get("from")?,
        to: query.get("to")?,
    };
    let mut tx = request.open().await?;
    let agreement = store::read::agreement(&mut tx, &filter).await?;
    tx.commit().await?;
    Ok(Json(agreement))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<Agreement>(
        "get_proposal_agreement",
        "/proposals/agreement",
        get(handler),
    )
    .needs(ReadPermission::Agreement)
    .summary("How far people did what software would have done")
    .description(
        "Counts per kind of proposal: how acts compared with it, apart for those whose actor had \
         read the proposal before.",
    )
    .query::<ProposalKind>("kind", false, "Only proposals about this.")
    .query::<chrono::DateTime<chrono::Utc>>(
        "from",
        false,
        "Only proposals recorded at this moment or later.",
    )
    .query::<chrono::DateTime<chrono::Utc>>(
        "to",
        false,
        "Only proposals recorded before this moment.",
    )
}
