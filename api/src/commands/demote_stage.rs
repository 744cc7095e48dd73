//! `POST /api/v1/rollout/demote`

use contracts::command::DemoteStage;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<DemoteStage>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<DemoteStage>(post(handler))
        .creates()
        .summary("Let software do less by itself")
        .description(
            "At once. From its answer on nothing that software does rests on the stage before. \
             Changes to come of this stage are void; to the mode at which it stands it calls them \
             off, and is refused without any.",
        )
        .problems(FILINGS)
}
