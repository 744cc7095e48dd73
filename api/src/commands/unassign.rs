//! `POST /api/v1/tickets/{id}/assignment/unassign`

use contracts::command::Unassign;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<Unassign>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<Unassign>(post(handler))
        .summary("Take the technician off the visit")
        .description("From DISPATCHED to SCHEDULED; the window stays.")
        .problems(CHANGES)
}
