//! `POST /api/v1/tickets/{id}/tech/complete`

use contracts::command::Complete;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<Complete>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<Complete>(post(handler))
        .summary("The work is done")
        .description("From ON_SITE to WORK_COMPLETE, with the evidence that the template asks for.")
        .problems(CHANGES)
}
