//! `POST /api/v1/tickets/{id}/close`

use contracts::command::Close;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<Close>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<Close>(post(handler))
        .summary("End the ticket")
        .description(
            "From INVOICED, or from VERIFIED with the reason why nothing is charged, to CLOSED.",
        )
        .problems(CHANGES)
}
