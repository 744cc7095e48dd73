//! `POST /api/v1/approvals/{id}/comments`

use contracts::command::CommentApproval;

use super::{CommandRequest, Endpoint, Failure, RECORDS, Response, post};

async fn handler(request: CommandRequest<CommentApproval>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<CommentApproval>(post(handler))
        .summary("Say something about an approval")
        .description(
            "At any time, also when it was decided. The text is kept with the approval and \
             nowhere else.",
        )
        .problems(RECORDS)
}
