//! `POST /api/v1/absences/cancel`

use contracts::command::CancelAbsence;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<CancelAbsence>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<CancelAbsence>(post(handler))
        .summary("A technician will be there after all")
        .description("Names the absence by its beginning. One that is over stays on record.")
        .problems(FILINGS)
}
