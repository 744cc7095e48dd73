//! `POST /api/v1/absences`

use contracts::command::RecordAbsence;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<RecordAbsence>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RecordAbsence>(post(handler))
        .summary("A technician will be away")
        .description(
            "It may have begun, must not be over, and overlaps no other absence of theirs. The \
             technician need not be active.",
        )
        .creates()
        .problems(FILINGS)
}
