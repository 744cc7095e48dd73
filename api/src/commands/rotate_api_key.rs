//! `POST /api/v1/api-keys/rotate`

use contracts::command::RotateApiKey;

use super::{CommandRequest, Endpoint, Failure, KEYS, Response, post};

async fn handler(request: CommandRequest<RotateApiKey>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RotateApiKey>(post(handler))
        .creates()
        .summary("Replace an API key")
        .description(
            "A new key with the same scopes; the old one is good for `overlap_seconds` \
             more, and no longer than it was.",
        )
        .problems(KEYS)
}
