//! `POST /api/v1/tickets/{id}/triage`

use contracts::command::Triage;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<Triage>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<Triage>(post(handler))
        .summary("Set priority, template and details")
        .description("From NEW or TRIAGED to TRIAGED; given details are added to those known.")
        .problems(CHANGES)
}
