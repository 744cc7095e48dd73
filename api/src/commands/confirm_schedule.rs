//! `POST /api/v1/tickets/{id}/schedule/confirm`

use contracts::command::ConfirmSchedule;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<ConfirmSchedule>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ConfirmSchedule>(post(handler))
        .summary("Confirm the window")
        .description("From SCHEDULE_PROPOSED to SCHEDULED: the customer took it.")
        .problems(CHANGES)
}
