//! `POST /api/v1/tickets/{id}/qa/reject`

use contracts::command::QaReject;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<QaReject>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<QaReject>(post(handler))
        .summary("Quality is not good")
        .description(
            "From WORK_COMPLETE to RETURN_PENDING; the next visit is opened and the clocks go on.",
        )
        .problems(CHANGES)
}
