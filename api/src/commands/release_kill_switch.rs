//! `POST /api/v1/kill-switch/release`

use contracts::command::ReleaseKillSwitch;

use super::{CommandRequest, Endpoint, Failure, Response, TURNS, post};

async fn handler(request: CommandRequest<ReleaseKillSwitch>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<ReleaseKillSwitch>(post(handler))
        .summary("Let software act again")
        .description(
            "As far as its stage lets it. Policy may want a second person (202, an approval of kind \
             `rearm`): the switch is released with the last yes.",
        )
        .problems(TURNS)
}
