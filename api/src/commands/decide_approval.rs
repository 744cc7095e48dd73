//! `POST /api/v1/tickets/{id}/approval/decide`

use contracts::{ErrorCode, command::DecideApproval};

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<DecideApproval>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<DecideApproval>(post(handler))
        .summary("Decide an approval")
        .description("From CHANGE_REQUESTED back to ON_SITE; an approval raises the NTE amount. Whoever asked may not decide.")
        .problems(CHANGES)
        .problems(&[ErrorCode::ApprovalStale, ErrorCode::AlreadyDecided, ErrorCode::Expired])
}
