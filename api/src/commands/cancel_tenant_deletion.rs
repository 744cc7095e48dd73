//! `POST /api/v1/tenants/{id}/undelete`

use contracts::command::CancelTenantDeletion;

use super::{CommandRequest, Endpoint, Failure, Response, TENANTS, post};

async fn handler(request: CommandRequest<CancelTenantDeletion>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<CancelTenantDeletion>(post(handler))
        .summary("Call the deletion of a tenant off")
        .description("It stays suspended until it is resumed.")
        .problems(TENANTS)
}
