//! `POST /api/v1/tickets/{id}/tech/en-route`

use contracts::command::EnRoute;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<EnRoute>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<EnRoute>(post(handler))
        .summary("The technician is under way")
        .description("The ticket stays DISPATCHED, the visit is en route.")
        .problems(CHANGES)
}
