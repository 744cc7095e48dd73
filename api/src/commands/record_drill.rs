//! `POST /api/v1/kill-switch/drills`

use contracts::command::RecordDrill;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<RecordDrill>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RecordDrill>(post(handler))
        .creates()
        .summary("Keep the report of a drill")
        .description(
            "A drill engages a switch without real effect while software tries to act, and measures \
             how soon nothing passes any more. `dispatch killswitch drill` makes one.",
        )
        .problems(FILINGS)
}
