//! Software may do more by itself.
//!
//! The report is good for the stage that it was made at and for one change: a promotion that is
//! approved after the stage has moved on leads nowhere, and its approval is stale.

use chrono::TimeDelta;
use contracts::{command::PromoteStage, event::AutonomyMode};

use super::{Filing, FilingFacts, check, stage};
use crate::{Rejection, rollout};

/// How far ahead a change may be decided: what it was decided on is old by then.
const FARTHEST: TimeDelta = TimeDelta::days(31);

pub(super) fn plan(body: &PromoteStage, facts: &FilingFacts) -> Result<Filing, Rejection> {
    let standing = stage::standing(&body.target, facts)?;
    let larger_share = body.to == AutonomyMode::Canary
        && standing.mode == AutonomyMode::Canary
        && body.percent > standing.percent;
    if body.to <= standing.mode && !larger_share {
        return Err(Rejection::invalid(
            "/to",
            format!(
                "must be more than {}, where the stage stands",
                standing.mode
            ),
        ));
    }
    stage::percent(body.to, body.percent)?;
    if body.to > facts.autonomy.ceiling {
        return Err(Rejection::invalid(
            "/to",
            format!(
                "must be at most {}: this environment allows no more",
                facts.autonomy.ceiling
            ),
        ));
    }
    let effective_at = body.effective_at.map(check::kept_instant);
    if effective_at.is_some_and(|at| at <= facts.now || at - facts.now > FARTHEST) {
        return Err(Rejection::invalid(
            "/effective_at",
            "must lie in the future, within 31 days; leave it out for at once",
        ));
    }
    if let Some(report) = &facts.control.report {
        let figure = |name: &str| report.figures.get(name).copied();
        let made_here = figure("from_mode") == Some(rollout::rank(standing.mode))
            && figure("stage_version") == i64::try_from(standing.version).ok();
        if !made_here {
            let version = figure("stage_version").map_or("another".to_owned(), |v| v.to_string());
            return Err(Rejection::invalid(
                "/report_sha256",
                format!(
                    "must be of a report on the stage as it stands, {} at version {}; this one was \
                     made at version {version}: make a new one with `dispatch rollout report`",
                    standing.mode, standing.version
                ),
            ));
        }
    }
    let turn = stage::Turn {
        target: &body.target,
        to: body.to,
        percent: body.percent,
        reason: &body.reason,
        report_sha256: body.report_sha256.as_deref(),
        effective_at,
        applies: None,
    };
    Ok(stage::set(&turn, &standing, facts))
}
