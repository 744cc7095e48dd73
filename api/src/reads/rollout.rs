//! `GET /api/v1/rollout`, `/rollout/history` and `/rollout/reports`

use std::sync::Arc;

use contracts::{
    ErrorCode, Operation,
    autonomy::{StageSetting, StageTarget},
    rollout::{KeptReport, RolloutView, StageChange, StageHistory, StageView},
};
use domain::{Autonomy, autonomy::kind_of};
use policy::Bundle;
use store::{TenantTx, read::StageRow};
use strum::VariantArray;

use super::{Endpoint, Failure, Json, ReadPermission, ReadRequest, get, missing};

/// The most changes that are told.
const MOST: i64 = 200;

/// The rules that decide and the stages that are set, without the kill switches.
pub(super) async fn standing(
    request: &ReadRequest,
    tx: &mut TenantTx,
) -> Result<(Autonomy, Vec<StageRow>, Arc<Bundle>), Failure> {
    let no_policy = || {
        Failure::new(
            ErrorCode::PolicyUnavailable,
            "No policy bundle can be read, so it is not known which stages there are.",
        )
    };
    let sha256 = store::read::active_bundle(tx)
        .await?
        .ok_or_else(no_policy)?;
    let bundle = request
        .bundle(&sha256)
        .await
        .map_err(|error| no_policy().caused_by(error))?;
    let rows = store::read::stages(tx).await?;
    let autonomy = Autonomy {
        at: request.received_at(),
        stages: rows.iter().map(|row| row.setting.clone()).collect(),
        switches: Vec::new(),
        ceiling: request.ceiling(),
        rules: bundle.autonomy().clone(),
    };
    Ok((autonomy, rows, bundle))
}

async fn show(request: ReadRequest) -> Result<Json<RolloutView>, Failure> {
    request.query(&[])?;
    let mut tx = request.open().await?;
    let (autonomy, rows, _) = standing(&request, &mut tx).await?;
    let to_come = store::read::stage_changes_to_come(&mut tx).await?;
    tx.commit().await?;
    Ok(Json(view(&autonomy, &rows, &to_come)))
}

/// The commands that software can act with come first, in the order of a ticket's life; then what
/// is set for others, and for single risk classes.
fn view(autonomy: &Autonomy, rows: &[StageRow], to_come: &[StageChange]) -> RolloutView {
    let acting = Operation::VARIANTS
        .iter()
        .copied()
        .filter(|operation| kind_of(*operation).is_some() || *operation == Operation::CommsOutbound)
        .map(|operation| StageTarget {
            operation,
            risk: None,
        });
    let mut targets: Vec<StageTarget> = acting.collect();
    let told = rows.iter().map(|row| &row.setting.target);
    for target in told.chain(to_come.iter().map(|change| &change.target)) {
        if !targets.contains(target) {
            targets.push(target.clone());
        }
    }
    targets.sort();
    let stage = |target: StageTarget| {
        let StageSetting {
            mode,
            percent,
            version,
            ..
        } = autonomy.standing(&target);
        let row = rows.iter().find(|row| row.setting.target == target);
        let coming = to_come.iter().filter(|change| change.target == target);
        StageView {
            mode,
            percent,
            effective: mode.min(autonomy.ceiling),
            version,
            set_by: row.map(|row| row.set_by.clone()),
            set_at: row.map(|row| row.set_at),
            reason: row.map(|row| row.reason.clone()),
            to_come: coming.cloned().collect(),
            target,
        }
    };
    let rules = &autonomy.rules;
    let risks = rules.risk_classes.keys().chain([&rules.default_risk]);
    RolloutView {
        ceiling: autonomy.ceiling,
        default_mode: rules.default_mode,
        risks: risks.cloned().collect(),
        stages: targets.into_iter().map(stage).collect(),
    }
}

async fn history(request: ReadRequest) -> Result<Json<StageHistory>, Failure> {
    let operation = request.query(&["operation"])?.word("operation")?;
    let mut tx = request.open().await?;
    let items = store::read::stage_changes(&mut tx, operation, MOST).await?;
    tx.commit().await?;
    Ok(Json(StageHistory { items }))
}

async fn report(request: ReadRequest) -> Result<Json<KeptReport>, Failure> {
    let sha256: Option<String> = request.query(&["sha256"])?.get("sha256")?;
    let sha256 = sha256.ok_or_else(|| missing("sha256"))?;
    let mut tx = request.open().await?;
    let report = store::read::report(&mut tx, &sha256).await?;
    tx.commit().await?;
    report.map(Json).ok_or_else(|| Failure::no_such("report"))
}

pub(super) fn endpoints() -> [Endpoint; 3] {
    [
        Endpoint::read::<RolloutView>("get_rollout", "/rollout", get(show))
            .needs(ReadPermission::Rollout)
            .summary("How far software may go, kind of command by kind of command")
            .description(
                "What is set and what holds (no more than the environment allows), by whom and \
                 since when, and changes to come.",
            ),
        Endpoint::read::<StageHistory>("get_rollout_history", "/rollout/history", get(history))
            .needs(ReadPermission::Rollout)
            .summary("How the stages came where they are")
            .description("The newest changes first; at most 200.")
            .query::<Operation>("operation", false, "Only of this kind of command."),
        Endpoint::read::<KeptReport>("get_rollout_report", "/rollout/reports", get(report))
            .needs(ReadPermission::Rollout)
            .summary("A kept report")
            .description("Its document is what the hash is over, as canonical JSON.")
            .query::<String>("sha256", true, "The report's hash.")
            .problems(&[ErrorCode::NotFound]),
    ]
}
