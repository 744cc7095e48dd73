//! `POST /api/v1/assets`

use contracts::command::UpsertAsset;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<UpsertAsset>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<UpsertAsset>(post(handler))
        .summary("Write a thing at a site")
        .description("A new one, or the one with this `code`, wholly. Its site is for ever.")
        .creates()
        .problems(FILINGS)
}
