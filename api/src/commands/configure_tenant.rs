//! `POST /api/v1/tenants/{id}/configure`

use contracts::command::ConfigureTenant;

use super::{CommandRequest, Endpoint, Failure, Response, TENANTS, post};

async fn handler(request: CommandRequest<ConfigureTenant>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ConfigureTenant>(post(handler))
        .summary("Set a tenant up")
        .description(
            "Time zone and calendar, currency, locale, quiet hours and templates, wholly: what \
             may be left out and is, is not set any more. For its administrators and those of the \
             platform.",
        )
        .problems(TENANTS)
}
