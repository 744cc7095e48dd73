//! `POST /api/v1/approvals/{id}/decide`, and the same command at `/tickets/{id}/approval/decide`.

use contracts::{ErrorCode, command::DecideApproval};

use super::{CLAIMS, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<DecideApproval>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<DecideApproval>(post(handler))
        .summary("Decide an approval")
        .description(
            "One person's yes or no. One no, which has to say why, ends it; enough distinct people \
             with the roles that were asked for release it, and what it holds is carried out next. A \
             change order takes effect at once. Neither software nor the one who asked may decide.",
        )
        .problems(CLAIMS)
}

/// Where it was before approvals had a place of their own.
pub(super) fn of_ticket() -> Endpoint {
    endpoint()
        .at("/tickets/{id}/approval/decide", "decide_approval_of_ticket")
        .summary("Decide an approval of a ticket")
        .problems(&[ErrorCode::IllegalTransition])
}
