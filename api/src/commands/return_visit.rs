//! `POST /api/v1/tickets/{id}/tech/return-visit`

use contracts::command::ReturnVisit;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<ReturnVisit>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ReturnVisit>(post(handler))
        .summary("Another visit is needed")
        .description("From ON_SITE to RETURN_PENDING; opens the next visit.")
        .problems(CHANGES)
}
