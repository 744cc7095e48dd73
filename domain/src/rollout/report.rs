//! The gate report.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    autonomy::{StageGate, StageTarget},
    event::AutonomyMode,
    rollout::{GateCheck, GateReport, LedgerFigures},
};
use strum::VariantArray;

use super::{LedgerFacts, ledger, ledger::sample};
use crate::{Autonomy, autonomy::kind_of};

/// The "now" of whoever asks for a report may be that much ahead of ours.
pub const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(1);

/// The shape of the document.
pub const GATE_V: u16 = 1;

/// The report on a stage, over the rows of a range of time.
pub fn gate_report(
    target: &StageTarget,
    (since, until): (DateTime<Utc>, DateTime<Utc>),
    facts: LedgerFacts,
    autonomy: &Autonomy,
) -> GateReport {
    let standing = autonomy.standing(target);
    let figures = ledger(target.operation, &facts.governed_by(target, autonomy));
    let window = window(since, until);
    let further = AutonomyMode::VARIANTS
        .iter()
        .filter(|mode| **mode >= standing.mode);
    let gates = further
        .filter_map(|mode| Some((*mode, autonomy.rules.gates.get(mode)?)))
        .map(|(mode, gate)| (mode, checks(gate, &figures, window)))
        .filter(|(mode, _)| *mode > standing.mode || *mode == AutonomyMode::Canary)
        .collect();
    GateReport {
        v: GATE_V,
        target: target.clone(),
        from: standing.mode,
        percent: standing.percent,
        stage_version: standing.version,
        since,
        until,
        figures,
        gates,
    }
}

/// What a gate wants of these figures; its report's age is looked at when it is used.
pub fn checks(gate: &StageGate, figures: &LedgerFigures, window: TimeDelta) -> Vec<GateCheck> {
    let check = |code: &str, figure: u64, needed: u64, met: bool| GateCheck {
        code: code.to_owned(),
        figure,
        needed,
        met,
    };
    let at_least = |code, figure: u64, needed: u32| {
        check(code, figure, needed.into(), figure >= needed.into())
    };
    let at_most = |code, figure: u64, needed: u32| {
        check(code, figure, needed.into(), figure <= needed.into())
    };
    let whole_days = u64::try_from(window.num_days()).unwrap_or(0);
    vec![
        at_least("GATE_WINDOW", whole_days, gate.min_window_days),
        at_least("GATE_SAMPLE", sample(&figures.unseen), gate.min_sample),
        at_least(
            "GATE_AGREEMENT",
            figures.agreement_permille.into(),
            gate.min_agreement_permille,
        ),
        at_most(
            "GATE_DENIED",
            figures.denied_permille.into(),
            gate.max_denied_permille,
        ),
        at_most(
            "GATE_OVERRIDDEN",
            figures.overridden_permille.into(),
            gate.max_overridden_permille,
        ),
        at_most("GATE_BREACHES", figures.breaches, gate.max_breaches),
    ]
}

/// How far back it looks. The end that was asked for may have been a minute ahead of our clock, and was
/// cut off: whoever asks for seven days gets them.
fn window(since: DateTime<Utc>, until: DateTime<Utc>) -> TimeDelta {
    until - since + CLOCKS_DIFFER
}

/// What rules see of a report.
pub fn policy_figures(report: &GateReport) -> BTreeMap<String, i64> {
    let figures = &report.figures;
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    [
        (
            "window_minutes",
            window(report.since, report.until).num_minutes(),
        ),
        ("sample", whole(sample(&figures.unseen))),
        ("agreement_permille", figures.agreement_permille.into()),
        ("denied_permille", figures.denied_permille.into()),
        ("overridden_permille", figures.overridden_permille.into()),
        ("breaches", whole(figures.breaches)),
        ("from_mode", rank(report.from)),
        ("stage_version", whole(report.stage_version)),
        // Without an advisor there is never a proposal, and no sample.
        (
            "advised",
            i64::from(kind_of(report.target.operation).is_some()),
        ),
    ]
    .into_iter()
    .map(|(name, figure)| (name.to_owned(), figure))
    .collect()
}

/// The place of a mode among all, from 0 for OFF.
pub fn rank(mode: AutonomyMode) -> i64 {
    let place = AutonomyMode::VARIANTS
        .iter()
        .position(|known| *known == mode);
    place
        .and_then(|place| i64::try_from(place).ok())
        .unwrap_or(0)
}
