//! `POST /api/v1/service-accounts/disable`

use contracts::command::DisableServiceAccount;

use super::{ACCOUNTS, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<DisableServiceAccount>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<DisableServiceAccount>(post(handler))
        .summary("Disable a service account")
        .description("None of its keys is good any more, within five seconds in every process.")
        .problems(ACCOUNTS)
}
