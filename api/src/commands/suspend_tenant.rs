//! `POST /api/v1/tenants/{id}/suspend`

use contracts::command::SuspendTenant;

use super::{CommandRequest, Endpoint, Failure, Response, TENANTS, post};

async fn handler(request: CommandRequest<SuspendTenant>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<SuspendTenant>(post(handler))
        .summary("Suspend a tenant")
        .description(
            "From its answer on no command of the tenant passes (TENANT_SUSPENDED) but those \
             about the tenant itself, and engaging a kill switch. Everything can be read; SLA \
             clocks run on; workflows and messages wait. It waits up to 25 seconds for commands \
             that are under way.",
        )
        .problems(TENANTS)
}
