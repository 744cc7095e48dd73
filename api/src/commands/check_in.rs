//! `POST /api/v1/tickets/{id}/tech/check-in`

use contracts::command::CheckIn;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<CheckIn>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<CheckIn>(post(handler))
        .summary("The technician is on site")
        .description("From DISPATCHED to ON_SITE.")
        .problems(CHANGES)
}
