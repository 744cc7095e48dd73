//! `POST /api/v1/tickets`

use contracts::{ErrorCode, command::CreateTicket};

use super::{CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<CreateTicket>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<CreateTicket>(post(handler))
        .summary("Open a ticket")
        .description("The ticket begins in NEW. A creation is never held for approval.")
        .creates()
        .problems(&[ErrorCode::QuotaExceeded])
}
