//! `POST /api/v1/kill-switch/engage`

use contracts::{ErrorCode, command::EngageKillSwitch};

use super::{CommandRequest, Endpoint, Failure, Response, TURNS, post};

async fn handler(request: CommandRequest<EngageKillSwitch>) -> Result<Response, Failure> {
    request.execute().await
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::command::<EngageKillSwitch>(post(handler))
        .summary("Stop software")
        .description(
            "From its answer on, every command of an agent or workflow that the scope fits is \
             refused (KILL_SWITCH), but for the books that a workflow keeps. People go on, and so do \
             SLA clocks. It waits up to 25 seconds for commands that are under way; new ones wait \
             behind it. One that stands engaged can get another `expires_at` in this way. Over a \
             ticket that is not there none is engaged (NOT_FOUND); over software of an id, or a \
             channel, that was never seen it is, and `filed.data.warning` says so.",
        )
        .problems(TURNS)
        .problems(&[ErrorCode::NotFound])
}
