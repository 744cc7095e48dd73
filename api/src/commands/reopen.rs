//! `POST /api/v1/tickets/{id}/reopen`

use contracts::command::Reopen;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<Reopen>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<Reopen>(post(handler))
        .summary("Open an ended ticket again")
        .description(
            "From VERIFIED, INVOICED or CLOSED to RETURN_PENDING, within the template's window since verification; an invoice that stands is taken back by a credit note.",
        )
        .problems(CHANGES)
}
