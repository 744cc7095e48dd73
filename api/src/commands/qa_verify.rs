//! `POST /api/v1/tickets/{id}/qa/verify`

use contracts::command::QaVerify;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<QaVerify>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<QaVerify>(post(handler))
        .summary("Quality is good")
        .description("From WORK_COMPLETE to VERIFIED.")
        .problems(CHANGES)
}
