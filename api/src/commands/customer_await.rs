//! `POST /api/v1/tickets/{id}/customer/await`

use contracts::command::CustomerAwait;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<CustomerAwait>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<CustomerAwait>(post(handler))
        .summary("The customer has to do something first")
        .description("The state stays, the SLA clocks pause.")
        .problems(CHANGES)
}
