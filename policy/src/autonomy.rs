//! How far software may go by itself: `data.autonomy`.
//!
//! The rules read it, and so do dispatch-api and the reports of the rollout. What would let software
//! past its stage (a change that counts as bookkeeping, a promotion without a gate) refuses the
//! bundle.

use contracts::{
    ActorKind, Operation,
    autonomy::{AutonomyRules, LONGEST_REPORT_DAYS, StageGate, THROUGH_KILL_SWITCH},
    event::AutonomyMode,
};
use serde::Deserialize;
use serde_json::Value;
use strum::VariantArray;

use crate::{error::BundleError, templates::Templates};

/// What software may at most be let do at any stage: it changes no ticket, spends nothing and tells
/// customers nothing. What is carried out for an approval is judged by itself, when it is; a change of
/// a stage that comes to be was decided by people before, and so was the end of a kill switch, and that
/// of a tenant.
const BOOKKEEPING: [Operation; 12] = [
    Operation::AddEvidence,
    Operation::AddNote,
    Operation::ApplyStageChange,
    Operation::DemoteStage,
    Operation::EraseTenant,
    Operation::ExecuteApproval,
    Operation::RecordApprovalStep,
    Operation::RecordGateReport,
    Operation::RecordProposal,
    Operation::RecordSla,
    Operation::ReleaseKillSwitch,
    Operation::WithdrawApproval,
];
/// A month: the longest that a report is good for, and that guardrails look back.
const MONTH_MINUTES: u32 = 31 * 24 * 60;
const ALL_PERMILLE: u32 = 1000;

/// Reads the rules; ones that cannot be used refuse the bundle.
pub(crate) fn parse(data: &Value, templates: &Templates) -> Result<AutonomyRules, BundleError> {
    let refused = |reason: String| BundleError::Autonomy { reason };
    let rules = data
        .get("autonomy")
        .ok_or_else(|| refused("`data.autonomy` is missing".into()))?;
    let rules = AutonomyRules::deserialize(rules).map_err(|error| refused(error.to_string()))?;
    check(&rules, templates).map_err(refused)?;
    Ok(rules)
}

fn check(rules: &AutonomyRules, templates: &Templates) -> Result<(), String> {
    for kind in ActorKind::VARIANTS {
        if rules.kinds.contains(kind) != kind.is_autonomous() {
            return Err("`kinds` must be exactly `agent` and `workflow`".into());
        }
    }
    if let Some(change) = rules
        .bookkeeping
        .iter()
        .find(|op| !BOOKKEEPING.contains(op))
    {
        return Err(format!(
            "`bookkeeping`: {change} does more than keep the books"
        ));
    }
    let unkept = |op: &&Operation| !rules.bookkeeping.contains(op);
    if let Some(change) = rules.through_kill_switch.iter().find(unkept) {
        return Err(format!(
            "`through_kill_switch`: {change} is not in `bookkeeping`"
        ));
    }
    let stopped = |op: &&Operation| !THROUGH_KILL_SWITCH.contains(op);
    if let Some(change) = rules.through_kill_switch.iter().find(stopped) {
        return Err(format!(
            "`through_kill_switch`: {change} stops while a kill switch is engaged"
        ));
    }
    if rules.default_mode > AutonomyMode::Approve {
        return Err(format!(
            "`default_mode`: {} is reached by a promotion only",
            rules.default_mode
        ));
    }
    for (name, class) in &rules.risk_classes {
        if class.priorities.is_empty() && class.templates.is_empty() {
            return Err(format!("risk class `{name}` holds no ticket"));
        }
        let unknown = class
            .templates
            .iter()
            .find(|id| !templates.contains_key(*id));
        if let Some(template) = unknown {
            return Err(format!(
                "risk class `{name}`: there is no template `{template}`"
            ));
        }
    }
    if rules.caps.spend_cents_per_hour < 0 {
        return Err("`caps.spend_cents_per_hour` is negative".into());
    }
    for mode in AutonomyMode::VARIANTS {
        match rules.gates.get(mode) {
            Some(gate) if *mode > AutonomyMode::Shadow => {
                check_gate(gate).map_err(|reason| format!("gate {mode}: {reason}"))?;
            }
            None if *mode > AutonomyMode::Shadow => {
                return Err(format!("`gates`: {mode} could be reached without a report"));
            }
            Some(_) => return Err(format!("`gates`: {mode} needs none")),
            None => {}
        }
    }
    let guardrails = &rules.guardrails;
    if !(1..=MONTH_MINUTES / 60).contains(&guardrails.window_hours) {
        return Err(format!(
            "`guardrails.window_hours` must be 1 to {}",
            MONTH_MINUTES / 60
        ));
    }
    for share in [
        guardrails.max_overridden_permille,
        guardrails.max_denied_permille,
    ] {
        check_share(share).map_err(|reason| format!("`guardrails`: {reason}"))?;
    }
    Ok(())
}

fn check_gate(gate: &StageGate) -> Result<(), String> {
    if gate.min_sample == 0 {
        return Err("`min_sample` is 0: nothing would be shown".into());
    }
    if gate.min_window_days > LONGEST_REPORT_DAYS {
        return Err(format!(
            "`min_window_days` must be at most {LONGEST_REPORT_DAYS}: no report looks back further"
        ));
    }
    if !(1..=MONTH_MINUTES).contains(&gate.max_age_minutes) {
        return Err(format!("`max_age_minutes` must be 1 to {MONTH_MINUTES}"));
    }
    let shares = [
        gate.min_agreement_permille,
        gate.max_denied_permille,
        gate.max_overridden_permille,
    ];
    shares.into_iter().try_for_each(check_share)
}

fn check_share(permille: u32) -> Result<(), String> {
    match permille <= ALL_PERMILLE {
        true => Ok(()),
        false => Err(format!("a share of {permille} ‰ is more than all")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn starter() -> Value {
        serde_json::from_str(include_str!("../bundle/autonomy/data.json")).unwrap()
    }

    fn read(autonomy: Value) -> Result<AutonomyRules, BundleError> {
        parse(&json!({ "autonomy": autonomy }), &Templates::new())
    }

    #[test]
    fn the_starter_rules_are_read() {
        let rules = read(starter()).unwrap();
        assert_eq!(rules.default_mode, AutonomyMode::Shadow);
        assert_eq!(rules.default_risk.as_str(), "standard");
        assert!(
            rules.gates[&AutonomyMode::Auto].min_sample
                > rules.gates[&AutonomyMode::Canary].min_sample
        );
    }

    #[test]
    fn what_goes_on_under_a_kill_switch_is_within_what_may() {
        let rules = read(starter()).unwrap();
        for operation in &rules.through_kill_switch {
            assert!(THROUGH_KILL_SWITCH.contains(operation), "{operation}");
        }
        // Each that may can be listed, and none that keeps the books besides.
        for operation in BOOKKEEPING {
            let mut listed = starter();
            listed["bookkeeping"] = json!(BOOKKEEPING);
            listed["through_kill_switch"] = json!([operation]);
            let is_read = read(listed).is_ok();
            assert_eq!(
                is_read,
                THROUGH_KILL_SWITCH.contains(&operation),
                "{operation}"
            );
        }
    }

    #[test]
    fn what_would_let_software_past_its_stage_is_refused() {
        let edits: [(&str, Value); 19] = [
            ("/kinds", json!(["agent"])),
            ("/kinds", json!(["agent", "workflow", "person"])),
            ("/bookkeeping/0", json!("dispatch")),
            ("/bookkeeping/0", json!("comms_outbound")),
            ("/bookkeeping/0", json!("decide_approval")),
            ("/through_kill_switch/0", json!("add_evidence")),
            ("/through_kill_switch/0", json!("add_note")),
            ("/default_mode", json!("CANARY")),
            ("/default_mode", json!("AUTO")),
            ("/risk_classes/emergency", json!({})),
            ("/risk_classes/emergency/templates", json!(["nothing"])),
            ("/caps/spend_cents_per_hour", json!(-1)),
            ("/gates", json!({})),
            ("/gates/AUTO/min_sample", json!(0)),
            (
                "/gates/AUTO/min_window_days",
                json!(LONGEST_REPORT_DAYS + 1),
            ),
            ("/gates/AUTO/min_agreement_permille", json!(1001)),
            ("/gates/AUTO/max_age_minutes", json!(0)),
            ("/guardrails/window_hours", json!(0)),
            ("/guardrails/max_denied_permille", json!(1001)),
        ];
        for (pointer, value) in edits {
            let mut spoilt = starter();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let parent = spoilt.pointer_mut(parent).unwrap();
            match parent {
                Value::Array(items) => items[key.parse::<usize>().unwrap()] = value.clone(),
                _ => parent[key] = value.clone(),
            }
            assert!(
                matches!(read(spoilt), Err(BundleError::Autonomy { .. })),
                "{pointer} {value}"
            );
        }
        let mut early = starter();
        early["gates"]["SHADOW"] = early["gates"]["AUTO"].clone();
        assert!(read(early).is_err());
        assert!(parse(&json!({}), &Templates::new()).is_err());
    }
}
