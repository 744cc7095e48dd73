//! `POST /api/v1/delegations/revoke`

use contracts::{ErrorCode, command::RevokeDelegation};

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<RevokeDelegation>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<RevokeDelegation>(post(handler))
        .summary("Take a lent right back")
        .description(
            "The one who lent it, or an administrator of the tenant. Votes that were given stand.",
        )
        .problems(FILINGS)
        .problems(&[ErrorCode::NotFound, ErrorCode::AlreadyDecided])
}
