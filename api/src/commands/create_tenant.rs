//! `POST /api/v1/tenants`

use contracts::{ErrorCode, command::CreateTenant};

use super::{CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<CreateTenant>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<CreateTenant>(post(handler))
        .summary("Make a tenant")
        .description(
            "Its slug is its name for ever. What is left out gets the usual value: Monday to \
             Friday, nine to five UTC, EUR, `en`. For platform administrators; on record in their \
             own tenant.",
        )
        .creates()
        .problems(&[ErrorCode::VersionConflict, ErrorCode::AlreadyExists])
}
