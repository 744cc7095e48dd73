//! `POST /api/v1/tickets/{id}/proposals`

use contracts::{ErrorCode, command::RecordProposal};

use super::{CommandRequest, Endpoint, Failure, RECORDS, Response, post};

async fn handler(request: CommandRequest<RecordProposal>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RecordProposal>(post(handler))
        .summary("Record what software would have done")
        .description("For the ticket's workflow and for agents; nothing is done. 409 AHEAD_OF_DATABASE asks the workflow to take a snapshot.")
        .problems(RECORDS)
        .problems(&[ErrorCode::AheadOfDatabase])
}
