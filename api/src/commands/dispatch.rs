//! `POST /api/v1/tickets/{id}/assignment/dispatch`

use contracts::command::Dispatch;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<Dispatch>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<Dispatch>(post(handler))
        .summary("Send a technician")
        .description("From SCHEDULED, or from TRIAGED where the template allows it at this priority, to DISPATCHED.")
        .problems(CHANGES)
}
