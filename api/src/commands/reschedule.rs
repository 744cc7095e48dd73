//! `POST /api/v1/tickets/{id}/schedule/reschedule`

use contracts::command::Reschedule;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<Reschedule>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<Reschedule>(post(handler))
        .summary("Offer another window")
        .description(
            "From SCHEDULED or DISPATCHED to SCHEDULE_PROPOSED; whoever was assigned is released.",
        )
        .problems(CHANGES)
}
