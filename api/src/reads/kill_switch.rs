//! `GET /api/v1/kill-switch`

use contracts::directory::KillSwitchView;

use super::{Endpoint, Failure, Json, ReadRequest, get};

async fn handler(request: ReadRequest) -> Result<Json<KillSwitchView>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let switch = store::read::kill_switch(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(switch))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<KillSwitchView>("get_kill_switch", "/kill-switch", get(handler))
        .summary("Whether software is stopped")
        .description("`generation` is the version that a turn expects.")
}
