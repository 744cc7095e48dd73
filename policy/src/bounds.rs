//! What no bundle can let pass, whatever its rules say.
//!
//! The rules decide; a slip in them must not be the end of the kill switch or of the stages. So what
//! they let an agent or a workflow do is looked at once more, by the same data of the bundle
//! (`data.autonomy`) that the rules of the starter read.
//!
//! Nor of what a yes means: it releases what people were asked about, and enough of them. So what the
//! rules let pass as released they are asked about once more as if nobody had released it: what they hold
//! it for then must be among what was asked, and whom they want to agree by then must have said yes.
//!
//! Where the rules are the starter's nothing is changed here.

use std::collections::BTreeSet;

use contracts::{
    ActorKind, Operation, Role,
    approval::ApprovalNeed,
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

/// The question that remains when rules let pass what people released: the same without their release.
/// None where nothing was released, or where it is not on record what people were asked about.
pub(crate) fn unreleased(input: &Value, decision: &PolicyDecision) -> Option<Value> {
    let says = matches!(input["release"]["codes"], Value::Array(_));
    if decision.result != PolicyResult::Allow || !says {
        return None;
    }
    let mut bare = input.clone();
    bare.as_object_mut().ok()?.remove(&Value::from("release"));
    Some(bare)
}

/// The decision on what was released, or what stands against it: what the rules hold it for now, by
/// `bare`, and nobody was asked about, or too few of those have said yes to whom they want now. A stage
/// that they stop it at is such a thing too. What else they deny without a release and not with one (what
/// software may do by itself in an hour) is for them to say.
pub(crate) fn ask_for_the_rest(
    input: &Value,
    decision: PolicyDecision,
    bare: PolicyDecision,
) -> PolicyDecision {
    let release = &input["release"];
    let asked: BTreeSet<&str> = list(&release["codes"]).filter_map(text).collect();
    let need = bare.approval.as_ref();
    let rest: BTreeSet<String> = bare
        .reasons
        .iter()
        .filter(|reason| match reason.class {
            DenyClass::Approval => {
                let is_asked = asked.contains(&*reason.code);
                !is_asked || need.is_some_and(|need| is_short(need, &reason.code, release))
            }
            DenyClass::KillSwitch | DenyClass::Stage => true,
            DenyClass::Forbidden | DenyClass::PolicyDenied => false,
        })
        .map(|reason| reason.code.clone())
        .collect();
    if rest.is_empty() {
        return decision;
    }
    let mut left = bare;
    left.reasons.retain(|reason| rest.contains(&reason.code));
    if let Some(need) = &mut left.approval {
        need.demands.retain(|demand| rest.contains(&demand.code));
    }
    left.obligations.clear();
    left
}

/// Whether too few of those have said yes to what one rule holds it for. Who comes to decide by an
/// escalation decides as well as those who are asked first.
fn is_short(need: &ApprovalNeed, code: &str, release: &Value) -> bool {
    let escalated = need.plan.escalations.iter().flat_map(|rung| &rung.roles);
    let escalated: Vec<Role> = escalated.copied().collect();
    let mut demands = need.demands.iter().filter(|demand| demand.code == code);
    demands.any(|demand| {
        let counts = |vote: &&Value| {
            let mut roles = list(&vote["roles"]).filter_map(word::<Role>);
            roles.any(|role| demand.roles.contains(&role) || escalated.contains(&role))
        };
        let votes = list(&release["votes"]).filter(counts);
        let people: BTreeSet<&Value> = votes
            .map(|vote| &vote["actor_id"])
            .filter(|who| **who != release["proposer"]["id"])
            .collect();
        people.len() < usize::from(demand.count)
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().ok().into_iter().flat_map(|all| all.iter())
}

fn text(value: &Value) -> Option<&str> {
    value.as_string().ok().map(AsRef::as_ref)
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
