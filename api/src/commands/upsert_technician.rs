//! `POST /api/v1/technicians`

use contracts::command::UpsertTechnician;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<UpsertTechnician>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<UpsertTechnician>(post(handler))
        .summary("Write a technician")
        .description("A new one, or the one with this `code`, wholly.")
        .creates()
        .problems(FILINGS)
}
