//! `POST /api/v1/tickets/{id}/merge`

use contracts::command::Merge;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<Merge>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<Merge>(post(handler))
        .summary("End the ticket in favour of another one")
        .description("From NEW or TRIAGED to CANCELLED; the other ticket must be open.")
        .problems(CHANGES)
}
