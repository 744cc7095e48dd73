//! `POST /api/v1/approvals/{id}/withdraw`

use contracts::command::WithdrawApproval;

use super::{ABOUT, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<WithdrawApproval>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<WithdrawApproval>(post(handler))
        .summary("Take an approval back")
        .description(
            "The one who asked, a dispatcher or an administrator, as long as it was not \
             carried out.",
        )
        .problems(ABOUT)
}
