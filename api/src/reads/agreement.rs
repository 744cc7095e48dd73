//! `GET /api/v1/proposals/agreement`

use contracts::{
    ErrorCode, Role,
    proposal::{Agreement, AgreementFilter, ProposalKind},
};

use super::{Endpoint, Failure, Json, ReadRequest, get};

/// How good the advice is, is a matter of those who lead the work or look after the system.
const READERS: [Role; 5] = [
    Role::Dispatcher,
    Role::AccountManager,
    Role::Auditor,
    Role::TenantAdmin,
    Role::PlatformAdmin,
];

async fn handler(request: ReadRequest) -> Result<Json<Agreement>, Failure> {
    let query = request.query(&["kind", "from", "to"])?;
    let filter = AgreementFilter {
        kind: query.word("kind")?,
        from: query.get("from")?,
        to: query.get("to")?,
    };
    if !READERS
        .iter()
        .any(|role| request.actor().roles.contains(role))
    {
        return Err(Failure::new(
            ErrorCode::Forbidden,
            "Only dispatchers, account managers, auditors and administrators may read this.",
        ));
    }
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
    .summary("How far people did what software would have done")
    .description(
        "Counts per kind of proposal: how acts compared with it, apart for those whose actor had \
         read the proposal before. For dispatchers, account managers, auditors and administrators.",
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
    .problems(&[ErrorCode::Forbidden])
}
