//! `POST /api/v1/approvals/{id}/amend`

use contracts::{ErrorCode, command::AmendApproval};

use super::{CLAIMS, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<AmendApproval>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<AmendApproval>(post(handler))
        .summary("Change what an approval asks for")
        .description(
            "Only the one who asked. It gets a new version, its votes are void and its time \
             begins anew; policy is asked about what it holds now.",
        )
        .problems(CLAIMS)
        .problems(&[ErrorCode::IllegalTransition, ErrorCode::AlreadyHeld])
}
