//! `GET /api/v1/kill-switch` and `/kill-switch/drills`

use contracts::{directory::KillSwitchView, kill_switch::DrillPage};

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, get};

async fn switches(request: ReadRequest) -> Result<Json<KillSwitchView>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    // Who may read this was looked up in the same bundle, so it is at hand.
    let bundle = match store::read::active_bundle(&mut tx).await? {
        Some(sha256) => request.bundle(&sha256).await.ok(),
        None => None,
    };
    let rules = bundle.as_ref().map(|bundle| bundle.autonomy());
    let switch = store::read::kill_switch(&mut tx, request.sees(), rules).await?;
    tx.commit().await?;
    Ok(Json(switch))
}

async fn drills(request: ReadRequest) -> Result<Json<DrillPage>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let items = store::read::drills(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(DrillPage { items }))
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::read::<KillSwitchView>("get_kill_switch", "/kill-switch", get(switches))
            .needs(ReadPermission::KillSwitch)
            .summary("Whether software is stopped")
            .description(
                "Every switch that was ever turned. `generation` is the version that a turn expects; \
                 `phase` says whether something from before a stop is still under way (STOPPING) or \
                 not (STOPPED, with the time from the engagement to the last effect of software); \
                 `workflows_pass` that it stops only agents, because workflows keep these books whatever a \
                 switch says. Of \
                 the one over everything only a platform administrator is told who turned it and how \
                 many workflows were told.",
            ),
        Endpoint::read::<DrillPage>("list_drills", "/kill-switch/drills", get(drills))
            .needs(ReadPermission::KillSwitch)
            .summary("Drills of the kill switch")
            .description("The newest first."),
    ]
}
