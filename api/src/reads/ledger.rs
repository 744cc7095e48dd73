//! `GET /api/v1/rollout/ledger`

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{Operation, Slug, autonomy::StageTarget, rollout::LedgerView};
use domain::rollout;

use super::{
    Endpoint, Failure, Json, ReadPermission, ReadRequest, get, missing, rollout::standing,
};

/// The most rows of a kind that are told.
const MOST: usize = 200;
/// What is looked at unless something else is asked for, and the most.
const DEFAULT: TimeDelta = TimeDelta::days(28);
const LONGEST: TimeDelta = TimeDelta::days(366);

async fn handler(request: ReadRequest) -> Result<Json<LedgerView>, Failure> {
    let query = request.query(&["operation", "risk", "since", "until"])?;
    let operation: Option<Operation> = query.word("operation")?;
    let target = StageTarget {
        operation: operation.ok_or_else(|| missing("operation"))?,
        risk: query.get("risk")?,
    };
    let until: DateTime<Utc> = query.get("until")?.unwrap_or(request.received_at());
    let since: DateTime<Utc> = query.get("since")?.unwrap_or(until - DEFAULT);
    if since >= until || until - since > LONGEST {
        return Err(Failure::parameter(
            "since",
            "`since` must be before `until`, at most 366 days.",
        ));
    }
    let mut tx = request.open().await?;
    let (autonomy, ..) = standing(&request, &mut tx).await?;
    let facts = store::read::ledger(&mut tx, target.operation, (since, until)).await?;
    tx.commit().await?;
    let facts = facts.governed_by(&target, &autonomy);
    let mut acts = facts.acts(target.operation);
    acts.reverse();
    acts.truncate(MOST);
    let figures = rollout::ledger(target.operation, &facts);
    let pairs = facts.pairs.into_iter().map(|facts| facts.pair);
    Ok(Json(LedgerView {
        figures,
        pairs: pairs.rev().take(MOST).collect(),
        acts,
        since,
        until,
        target,
    }))
}

pub(super) fn endpoint() -> Endpoint {
    Endpoint::read::<LedgerView>("get_rollout_ledger", "/rollout/ledger", get(handler))
        .needs(ReadPermission::Rollout)
        .summary("How good software's advice and acts were")
        .description(
            "Of what the stage governed when it happened: proposals beside what people did, what software \
             attempted, did and had undone, and promises; with the figures that a gate report \
             would have.",
        )
        .query::<Operation>("operation", true, "The kind of command.")
        .query::<Slug>("risk", false, "Of this risk class; without it of those without a stage of their own.")
        .query::<DateTime<Utc>>("since", false, "From when on; 28 days before `until` without it.")
        .query::<DateTime<Utc>>("until", false, "Until when; now without it.")
}
