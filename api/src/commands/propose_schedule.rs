//! `POST /api/v1/tickets/{id}/schedule/propose`

use contracts::command::ProposeSchedule;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<ProposeSchedule>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ProposeSchedule>(post(handler))
        .summary("Offer a window")
        .description("From TRIAGED, SCHEDULE_PROPOSED or RETURN_PENDING to SCHEDULE_PROPOSED, for the current visit.")
        .problems(CHANGES)
}
