//! `POST /api/v1/comms/inbound`

use contracts::{ErrorCode, command::CommsInbound};

use super::{CommandRequest, Endpoint, Failure, Response, post};

async fn handler(request: CommandRequest<CommsInbound>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<CommsInbound>(post(handler))
        .summary("Take a message in")
        .description(
            "The rules of the policy bundle place it: it is attached to an open ticket of the same \
             peer and site, opens one (201), or is held for a person. A message that the provider \
             delivers again is answered 200 with the route `duplicate` and taken no second time, \
             whatever its request id. The address is kept in one spelling.",
        )
        .creates()
        .problems(&[ErrorCode::VersionConflict, ErrorCode::QuotaExceeded])
}
