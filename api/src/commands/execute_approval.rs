//! `POST /api/v1/approvals/{id}/execute`

use contracts::{ErrorCode, command::ExecuteApproval};

use super::{ABOUT, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<ExecuteApproval>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ExecuteApproval>(post(handler))
        .summary("Carry out what was approved")
        .description(
            "For the workflow, on behalf of those who approved. The held command is judged \
             again, with its votes: what has changed, or would be judged more strictly now, \
             makes the approval stale, and that is an outcome.",
        )
        .problems(ABOUT)
        .problems(&[ErrorCode::AheadOfDatabase, ErrorCode::IllegalTransition])
}
