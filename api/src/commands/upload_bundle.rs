//! `POST /api/v1/policy/bundles`

use contracts::{ErrorCode, command::UploadBundle};

use super::{CommandRequest, Endpoint, FILINGS, Failure, Response, post};

async fn handler(request: CommandRequest<UploadBundle>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<UploadBundle>(post(handler))
        .creates()
        .summary("Upload a policy bundle")
        .description(
            "Checked as one that may decide (signature where a key is configured, schemas, its own tests, trial evaluations) and kept. It decides nothing until it is activated.",
        )
        .problems(FILINGS)
        .problems(&[ErrorCode::InvalidBundle, ErrorCode::QuotaExceeded])
}
