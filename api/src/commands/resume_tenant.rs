//! `POST /api/v1/tenants/{id}/resume`

use contracts::command::ResumeTenant;

use super::{CommandRequest, Endpoint, Failure, Response, TENANTS, post};

async fn handler(request: CommandRequest<ResumeTenant>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ResumeTenant>(post(handler))
        .summary("Resume a tenant")
        .description("Commands pass again; workflows are told, and record what came due meanwhile.")
        .problems(TENANTS)
}
