//! `POST /api/v1/approvals/{id}/due`

use contracts::command::ChangeApprovalDue;

use super::{ABOUT, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<ChangeApprovalDue>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ChangeApprovalDue>(post(handler))
        .summary("Move the end of an approval")
        .description(
            "Steps that would come after it do not come. An end that is over cannot be \
             moved.",
        )
        .problems(ABOUT)
}
