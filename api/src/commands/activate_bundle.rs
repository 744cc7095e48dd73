//! `POST /api/v1/policy/activate`

use contracts::{ErrorCode, command::ActivateBundle};

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<ActivateBundle>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ActivateBundle>(post(handler))
        .summary("Activate a policy bundle")
        .description(
            "From the next transaction on it decides, in every process. The bundle before it stays and can be activated again. The figures of `report` are the caller's own word, on record with the attempt.",
        )
        .problems(FILINGS)
        .problems(&[ErrorCode::InvalidBundle])
}
