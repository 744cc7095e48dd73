//! `POST /api/v1/comms/outbound`

use contracts::{ErrorCode, command::CommsOutbound};

use super::{CommandRequest, Endpoint, Failure, RECORDS, Response, post};

async fn handler(request: CommandRequest<CommsOutbound>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<CommsOutbound>(post(handler))
        .summary("Queue a message to a customer")
        .description(
            "Sent when it is due, to the contact's address on record then, if what `only_while` \
             says is still so; otherwise it is withdrawn. The version does not rise.",
        )
        .problems(RECORDS)
        .problems(&[ErrorCode::QuotaExceeded])
}
