//! `POST /api/v1/approvals/{id}/step`

use contracts::{ErrorCode, command::RecordApprovalStep};

use super::{ABOUT, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<RecordApprovalStep>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RecordApprovalStep>(post(handler))
        .summary("Remind, escalate or end an approval")
        .description(
            "For the workflow, when the moment has come that the approval's plan names. The \
             last step denies, or asks others once more before it does.",
        )
        .problems(ABOUT)
        .problems(&[ErrorCode::AheadOfDatabase])
}
