//! `POST /api/v1/tickets/{id}/tech/request-change`

use contracts::command::RequestChange;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<RequestChange>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RequestChange>(post(handler))
        .summary("Ask for more work than agreed")
        .description("From ON_SITE to CHANGE_REQUESTED; opens an approval of kind change_order.")
        .problems(CHANGES)
}
