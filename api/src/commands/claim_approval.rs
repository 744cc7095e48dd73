//! `POST /api/v1/approvals/{id}/claim`

use contracts::command::ClaimApproval;

use super::{CLAIMS, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<ClaimApproval>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ClaimApproval>(post(handler))
        .summary("Work on an approval")
        .description(
            "For so many minutes others are refused (APPROVAL_CLAIMED, with who and until \
             when). A claim decides nothing; when its time is over it is as if it had not \
             been. Claiming again prolongs it.",
        )
        .problems(CLAIMS)
}
