//! `POST /api/v1/approvals/{id}/release`

use contracts::{ErrorCode, command::ReleaseApproval};

use super::{CLAIMS, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<ReleaseApproval>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ReleaseApproval>(post(handler))
        .summary("Work on an approval no longer")
        .description("Only the one who claimed it.")
        .problems(CLAIMS)
        .problems(&[ErrorCode::IllegalTransition])
}
