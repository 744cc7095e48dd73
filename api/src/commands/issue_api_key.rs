//! `POST /api/v1/api-keys`

use contracts::command::IssueApiKey;

use super::{CommandRequest, Endpoint, Failure, KEYS, Response, post};

async fn handler(request: CommandRequest<IssueApiKey>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<IssueApiKey>(post(handler))
        .creates()
        .summary("Issue an API key")
        .description(
            "The caller makes the key and sends its prefix and its SHA-256: dispatch-api \
             sees a key only when it is used. `scopes` are permissions such as \
             `command:create_ticket` or `read:tickets`, of what the account may do.",
        )
        .problems(KEYS)
}
