//! `POST /api/v1/tenants/{id}/delete`

use contracts::command::RequestTenantDeletion;

use super::{CommandRequest, Endpoint, Failure, Response, TENANTS, post};

async fn handler(request: CommandRequest<RequestTenantDeletion>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RequestTenantDeletion>(post(handler))
        .summary("Delete a tenant")
        .description(
            "It is suspended at once. When the time of grace is over, what is personal of it is \
             erased; until then the deletion can be called off.",
        )
        .problems(TENANTS)
}
