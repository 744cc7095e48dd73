//! `POST /api/v1/api-keys/revoke`

use contracts::command::RevokeApiKey;

use super::{ACCOUNTS, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<RevokeApiKey>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RevokeApiKey>(post(handler))
        .summary("Revoke an API key")
        .description("It is refused within five seconds in every process.")
        .problems(ACCOUNTS)
}
