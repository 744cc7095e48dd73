//! `POST /api/v1/tenants/{id}/limit`

use contracts::command::LimitTenant;

use super::{CommandRequest, Endpoint, Failure, Response, TENANTS, post};

async fn handler(request: CommandRequest<LimitTenant>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<LimitTenant>(post(handler))
        .summary("Set how much a tenant may use")
        .description(
            "Rates of commands and reads, open tickets, bytes and waiting requests, wholly: what is \
             left out is as usual in the installation. It holds in every process within seconds. For \
             those who run the installation.",
        )
        .problems(TENANTS)
}
