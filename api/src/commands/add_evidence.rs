//! `POST /api/v1/tickets/{id}/evidence`

use contracts::command::AddEvidence;

use super::{CommandRequest, Endpoint, Failure, RECORDS, Response, post};

async fn handler(request: CommandRequest<AddEvidence>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<AddEvidence>(post(handler))
        .summary("Put a documented fact on record")
        .description(
            "What is known of a file: its kind, hash and size. Until the file itself was checked \
             against the hash it is unverified, and does not count where the template wants it \
             verified. The version does not rise.",
        )
        .problems(RECORDS)
}
