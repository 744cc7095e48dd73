//! `POST /api/v1/rollout/promote`

use contracts::command::PromoteStage;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<PromoteStage>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<PromoteStage>(post(handler))
        .creates()
        .summary("Let software do more by itself")
        .description(
            "On a gate report whose figures are good enough (POLICY_DENIED names each that is not, \
             and what it must be), and with the word of a second person: 202 with an approval of \
             kind `promotion`, and the stage is set with the last yes. With `effective_at` it is \
             set then.",
        )
        .problems(FILINGS)
}
