//! `POST /api/v1/tickets/{id}/billing/generate-invoice`

use contracts::command::GenerateInvoice;

use super::{CHANGES, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<GenerateInvoice>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<GenerateInvoice>(post(handler))
        .summary("Charge for the work")
        .description("From VERIFIED to INVOICED; the sum may not exceed the NTE amount.")
        .problems(CHANGES)
}
