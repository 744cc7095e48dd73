//! `POST /api/v1/sites`

use contracts::command::UpsertSite;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<UpsertSite>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<UpsertSite>(post(handler))
        .summary("Write a site")
        .description("A new one, or the one with this `code`, wholly.")
        .creates()
        .problems(FILINGS)
}
