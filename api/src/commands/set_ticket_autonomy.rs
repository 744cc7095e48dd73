//! `POST /api/v1/tickets/{id}/autonomy`

use contracts::command::SetTicketAutonomy;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<SetTicketAutonomy>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<SetTicketAutonomy>(post(handler))
        .summary("Keep software from acting on a ticket, or let it again")
        .description("Until the ticket ends, whatever the stages say.")
        .problems(CHANGES)
}
