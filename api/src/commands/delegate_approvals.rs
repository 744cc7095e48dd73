//! `POST /api/v1/delegations`

use contracts::command::DelegateApprovals;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<DelegateApprovals>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<DelegateApprovals>(post(handler))
        .summary("Lend one's right to decide approvals")
        .description(
            "Roles of one's own, to one other actor, for at most ninety days. It serves for \
             approvals only, and not for those that the lender has asked for.",
        )
        .creates()
        .problems(FILINGS)
}
