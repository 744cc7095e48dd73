//! `POST /api/v1/tickets/{id}/sla/record`

use contracts::{ErrorCode, command::RecordSla};

use super::{CommandRequest, Endpoint, Failure, RECORDS, Response, post};

async fn handler(request: CommandRequest<RecordSla>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RecordSla>(post(handler))
        .summary("Record an SLA warning or breach")
        .description("For the ticket's workflow; recorded once per clock, kind and revision. The deadline is checked against the stored one.")
        .problems(RECORDS)
        .problems(&[ErrorCode::AheadOfDatabase])
}
