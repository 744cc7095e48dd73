//! What no bundle can let software do, whatever its rules say.
//!
//! The rules decide; a slip in them must not be the end of the kill switch or of the stages. So what
//! they let an agent or a workflow do is looked at once more, by the same data of the bundle
//! (`data.autonomy`) that the rules of the starter read. Where the rules are the starter's nothing
//! is changed here.

use contracts::{
    ActorKind, Operation,
    autonomy::AutonomyRules,
    event::AutonomyMode,
    policy::{DenyClass, PolicyDecision, PolicyResult, Reason},
};
use regorus::Value;

/// The decision, or a refusal where it lets software do more than it may.
pub(crate) fn keep(
    input: &Value,
    rules: &AutonomyRules,
    decision: PolicyDecision,
) -> PolicyDecision {
    let reason = match decision.result {
        PolicyResult::Deny => None,
        result => beyond(input, rules, result == PolicyResult::Allow),
    };
    match reason {
        None => decision,
        Some(reason) => PolicyDecision {
            result: PolicyResult::Deny,
            reasons: vec![reason],
            obligations: Vec::new(),
            approval: None,
            bundle: decision.bundle,
        },
    }
}

/// Why not. `now`: it would be carried out now, and not be held.
fn beyond(input: &Value, rules: &AutonomyRules, now: bool) -> Option<Reason> {
    let kind: ActorKind = word(&input["actor"]["kind"])?;
    if !kind.is_autonomous() {
        return None;
    }
    let operation: Option<Operation> = word(&input["operation"]);
    let is_in = |list: &[Operation]| operation.is_some_and(|it| list.contains(&it));
    let stopped = input["kill_switch"] == Value::from(true)
        && !matches!(input["kill_switch_override"], Value::String(_));
    let keeps_the_books = kind == ActorKind::Workflow && is_in(&rules.through_kill_switch);
    if stopped && !keeps_the_books {
        return Some(reason(
            "KILL_SWITCH_ENGAGED",
            DenyClass::KillSwitch,
            "The kill switch is engaged, and the rules of this bundle do not obey it.",
        ));
    }
    if is_in(&rules.bookkeeping) {
        return None;
    }
    let may = match word(&input["autonomy"]).unwrap_or(AutonomyMode::Off) {
        AutonomyMode::Auto => true,
        AutonomyMode::Approve => !now || matches!(input["release"], Value::Object(_)),
        AutonomyMode::Off | AutonomyMode::Shadow | AutonomyMode::Canary => false,
    };
    (!may).then(|| {
        reason(
            "STAGE_EXCEEDED",
            DenyClass::Stage,
            "It is more than software may do at this stage, and the rules of this bundle let it.",
        )
    })
}

fn word<T: std::str::FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn reason(code: &str, class: DenyClass, message: &str) -> Reason {
    Reason {
        code: code.to_owned(),
        class,
        message: message.to_owned(),
        to_pass: "A person does it, or activates a bundle whose rules hold software back."
            .to_owned(),
        pointer: None,
    }
}
