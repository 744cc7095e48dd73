//! `POST /api/v1/tickets/{id}/customer/resume`

use contracts::command::CustomerResume;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<CustomerResume>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<CustomerResume>(post(handler))
        .summary("The customer did it")
        .description("The state stays, the SLA clocks run again.")
        .problems(CHANGES)
}
