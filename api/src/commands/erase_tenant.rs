//! `POST /api/v1/tenants/{id}/erase`

use contracts::command::EraseTenant;

use super::{CommandRequest, Endpoint, Failure, Response, TENANTS, post};

async fn handler(request: CommandRequest<EraseTenant>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<EraseTenant>(post(handler))
        .summary("Erase a tenant")
        .description(
            "Names, numbers, addresses, messages, notes and texts of held commands are erased for \
             good; ids, states, times, amounts and the chains of the audit log stay. Refused \
             before the time of grace is over; the tenant's control sends it then by itself.",
        )
        .problems(TENANTS)
}
