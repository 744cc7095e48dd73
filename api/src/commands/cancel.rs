//! `POST /api/v1/tickets/{id}/cancel`

use contracts::command::Cancel;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<Cancel>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<Cancel>(post(handler))
        .summary("Call the job off")
        .description("From any state before WORK_COMPLETE to CANCELLED.")
        .problems(CHANGES)
}
