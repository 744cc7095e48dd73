//! `POST /api/v1/service-accounts`

use contracts::command::UpsertServiceAccount;

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<UpsertServiceAccount>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<UpsertServiceAccount>(post(handler))
        .creates()
        .summary("Write a service account")
        .description(
            "A new one, or the one with this `code`. Kind and `any_tenant` are what it was \
             made with, for ever. Roles are judged as a person's would be for that kind; \
             whoever runs the installation alone writes accounts of kind `workflow` or with \
             role `platform_admin`.",
        )
        .problems(FILINGS)
}
