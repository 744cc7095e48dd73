//! `POST /api/v1/tickets/{id}/tech/no-access`

use contracts::command::NoAccess;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<NoAccess>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<NoAccess>(post(handler))
        .summary("Nobody could get in")
        .description("From DISPATCHED or ON_SITE to RETURN_PENDING; the next visit is opened.")
        .problems(CHANGES)
}
