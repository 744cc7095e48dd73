//! `POST /api/v1/rollout/reports`

use contracts::command::RecordGateReport;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<RecordGateReport>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RecordGateReport>(post(handler))
        .creates()
        .summary("Make a gate report")
        .description(
            "Computed from what is on record of the range, and kept under the hash of its canonical \
             document: a promotion names that hash. It serves for one change of the stage that it \
             was made at.",
        )
        .problems(FILINGS)
}
