//! `POST /api/v1/rollout/apply`

use contracts::{ErrorCode, command::ApplyStageChange};

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<ApplyStageChange>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ApplyStageChange>(post(handler))
        .creates()
        .summary("Apply a change of a stage whose time has come")
        .description(
            "Of a promotion with `effective_at`; sent by the tenant's control. Refused when the \
             stage has moved on from the version that it was decided on.",
        )
        .problems(FILINGS)
        .problems(&[ErrorCode::NotFound])
}
