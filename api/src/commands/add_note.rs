//! `POST /api/v1/tickets/{id}/notes`

use contracts::command::AddNote;

use super::{CommandRequest, Endpoint, Failure, RECORDS, Response, post};

async fn handler(request: CommandRequest<AddNote>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<AddNote>(post(handler))
        .summary("Write a note")
        .description("Stored apart from the ticket; the version does not rise.")
        .problems(RECORDS)
}
