//! `POST /api/v1/contacts`

use contracts::command::UpsertContact;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<UpsertContact>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<UpsertContact>(post(handler))
        .summary("Write a person")
        .description(
            "A new one, or the one with this `code`, wholly: a member that is left out is erased. \
             What is personal is kept in this row and nowhere else.",
        )
        .creates()
        .problems(FILINGS)
}
