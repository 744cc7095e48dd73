//! `POST /api/v1/approvals/{id}/take-over`

use contracts::command::TakeOverApproval;

use super::{ABOUT, CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<TakeOverApproval>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<TakeOverApproval>(post(handler))
        .summary("Work on an approval in somebody's place")
        .description("Whoever has claimed it; the reason is on record.")
        .problems(ABOUT)
}
