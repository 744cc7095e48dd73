//! `POST /api/v1/tickets/{id}/comms/attach`

use contracts::command::AttachMessage;

use super::{CommandRequest, Endpoint, Failure, RECORDS, Response, post};

async fn handler(request: CommandRequest<AttachMessage>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<AttachMessage>(post(handler))
        .summary("Say where a held message belongs")
        .description(
            "Only a message that is held, and once. Later messages of its sender find this ticket \
             by themselves. The version does not rise.",
        )
        .problems(RECORDS)
}
