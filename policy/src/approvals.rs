//! Who releases what the rules hold, and what happens while nobody does: `data.approvals`.
//!
//! Read here besides in Rego so that a rule which holds a command without anybody who may release
//! it, or a plan that lets silence mean yes, refuses the bundle instead of surprising somebody at
//! night.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    Operation, Role,
    approval::{ApprovalNeed, ApprovalPlan, Demand, OnExpiry},
};
use regorus::{Source, unstable::TokenKind};
use serde::Deserialize;
use serde_json::Value;

use crate::{error::BundleError, evaluator::rego, files::BundleFiles, schemas::tokens};

/// The rule that a change order is decided by.
const CHANGE_ORDER: &str = "CHANGE_ORDER";
/// The plan of what has none of its own.
const DEFAULT: &str = "default";
/// What rules call to hold a command: `held("A_CODE", …)`.
const HELD: &str = "held";
/// Thirty days: the longest that anybody is waited for.
const LONGEST_MINUTES: u32 = 30 * 24 * 60;
const MOST_STEPS: usize = 24;
const MOST_PEOPLE: u8 = 10;
/// Kinds of [`contracts::kill_switch::KillScope`].
const SCOPES: [&str; 6] = [
    "everything",
    "tenant",
    "operation",
    "channel",
    "agent",
    "ticket",
];

/// The table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approvals {
    rules: BTreeMap<String, Rule>,
    plans: BTreeMap<String, ApprovalPlan>,
    #[serde(default)]
    rearm_scopes: Vec<String>,
}

/// Who releases what one condition holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    roles: Vec<Role>,
    count: u8,
    /// Other roles, for some operations.
    #[serde(default)]
    operations: BTreeMap<Operation, Vec<Role>>,
}

impl Approvals {
    /// What a condition asks for; `None`: the bundle has no such rule.
    pub(crate) fn need(&self, code: &str, operation: Operation) -> Option<ApprovalNeed> {
        let rule = self.rules.get(code)?;
        let roles = rule.operations.get(&operation).unwrap_or(&rule.roles);
        let plan = self.plans.get(operation.to_string().as_str());
        Some(ApprovalNeed {
            demands: vec![Demand {
                code: code.to_owned(),
                roles: roles.clone(),
                count: rule.count,
            }],
            plan: plan.or_else(|| self.plans.get(DEFAULT))?.clone(),
        })
    }

    /// Who decides a change order.
    pub(crate) fn change_order(&self) -> Result<ApprovalNeed, BundleError> {
        let need = self.need(CHANGE_ORDER, Operation::RequestChange);
        need.ok_or_else(|| {
            refused(&format!(
                "rule {CHANGE_ORDER} is missing: nobody could decide change orders"
            ))
        })
    }
}

/// Reads the table; one that cannot be used refuses the bundle.
pub(crate) fn parse(data: &Value, files: &BundleFiles) -> Result<Approvals, BundleError> {
    let table = data
        .get("approvals")
        .ok_or_else(|| refused("`data.approvals` is missing"))?;
    let approvals = Approvals::deserialize(table).map_err(|error| refused(&error.to_string()))?;
    check(&approvals).map_err(|reason| refused(&reason))?;
    check_rules(&approvals, files)?;
    Ok(approvals)
}

fn check(approvals: &Approvals) -> Result<(), String> {
    for (code, rule) in &approvals.rules {
        let lists = [&rule.roles].into_iter().chain(rule.operations.values());
        for roles in lists {
            check_people(roles, rule.count).map_err(|reason| format!("rule {code}: {reason}"))?;
        }
    }
    if !approvals.plans.contains_key(DEFAULT) {
        return Err(format!("plan `{DEFAULT}` is missing"));
    }
    for (name, plan) in &approvals.plans {
        if name != DEFAULT && name.parse::<Operation>().is_err() {
            return Err(format!("plan `{name}`: there is no such operation"));
        }
        check_plan(plan).map_err(|reason| format!("plan `{name}`: {reason}"))?;
    }
    let odd = approvals
        .rearm_scopes
        .iter()
        .find(|scope| !SCOPES.contains(&scope.as_str()));
    odd.map_or(Ok(()), |scope| {
        Err(format!(
            "`rearm_scopes`: `{scope}` is none of {}",
            SCOPES.join(", ")
        ))
    })
}

/// Every condition that holds must be one that somebody may release.
fn check_rules(approvals: &Approvals, files: &BundleFiles) -> Result<(), BundleError> {
    for (path, text) in files.modules() {
        let source = Source::from_contents(path.to_owned(), text.to_owned())
            .map_err(|error| rego(&error))?;
        for window in tokens(&source)?.windows(3) {
            let [called, open, code] = window else {
                continue;
            };
            let holds = called.0 == TokenKind::Ident
                && called.1.text() == HELD
                && open.1.text() == "("
                && code.0 == TokenKind::String;
            let code = code.1.text();
            if holds && !approvals.rules.contains_key(code) {
                return Err(refused(&format!(
                    "{path} holds commands for {code}, and `rules` does not say who releases them"
                )));
            }
        }
    }
    Ok(())
}

/// Some number of people with some role.
pub(crate) fn check_people(roles: &[Role], count: u8) -> Result<(), String> {
    if !(1..=MOST_PEOPLE).contains(&count) {
        return Err(format!("`count` must be 1 to {MOST_PEOPLE}"));
    }
    if roles.is_empty() {
        return Err("`roles` is empty: nobody could release it".into());
    }
    if roles.iter().collect::<BTreeSet<_>>().len() < roles.len() {
        return Err("`roles` names one twice".into());
    }
    Ok(())
}

/// A plan ends, after everything else that it does.
pub(crate) fn check_plan(plan: &ApprovalPlan) -> Result<(), String> {
    if !(1..=LONGEST_MINUTES).contains(&plan.expire_after_minutes) {
        return Err(format!(
            "`expire_after_minutes` must be 1 to {LONGEST_MINUTES}"
        ));
    }
    if plan.remind_after_minutes.len() + plan.escalations.len() > MOST_STEPS {
        return Err(format!("more than {MOST_STEPS} reminders and escalations"));
    }
    let rungs: Vec<u32> = plan
        .escalations
        .iter()
        .map(|rung| rung.after_minutes)
        .collect();
    for (name, minutes) in [
        ("remind_after_minutes", &plan.remind_after_minutes),
        ("escalations", &rungs),
    ] {
        let rises = minutes.is_sorted_by(|earlier, later| earlier < later);
        let first = minutes.first().is_none_or(|first| *first > 0);
        let last = minutes
            .last()
            .is_none_or(|last| *last < plan.expire_after_minutes);
        if !(rises && first && last) {
            return Err(format!(
                "`{name}` must rise, begin after 0 and end before `expire_after_minutes`"
            ));
        }
    }
    for rung in &plan.escalations {
        check_people(&rung.roles, 1).map_err(|reason| format!("`escalations`: {reason}"))?;
    }
    if plan.on_expiry == OnExpiry::Escalate && plan.escalations.is_empty() {
        return Err("`on_expiry` is `escalate` and `escalations` names nobody".into());
    }
    Ok(())
}

fn refused(reason: &str) -> BundleError {
    BundleError::Approvals {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table() -> Value {
        json!({
            "rules": {
                "CHANGE_ORDER": { "roles": ["approver"], "count": 1 },
                "STAGE_APPROVE": {
                    "roles": ["dispatcher"], "count": 2, "operations": { "qa_verify": ["qa"] },
                },
            },
            "plans": {
                "default": {
                    "remind_after_minutes": [5, 10],
                    "escalations": [{ "after_minutes": 10, "roles": ["tenant_admin"] }],
                    "expire_after_minutes": 11,
                    "on_expiry": "escalate",
                },
                "dispatch": { "expire_after_minutes": 1, "on_expiry": "deny" },
            },
            "rearm_scopes": ["everything", "tenant"],
        })
    }

    fn parse_with(table: Value, module: &str) -> Result<Approvals, BundleError> {
        let files = BundleFiles::from_texts([("x.rego", module.to_owned())]).unwrap();
        parse(&json!({ "approvals": table }), &files)
    }

    #[test]
    fn a_need_is_made_of_its_rule_and_the_plan_of_the_operation() {
        let approvals = parse_with(table(), "package x\n").unwrap();
        let need = approvals
            .need("STAGE_APPROVE", Operation::QaVerify)
            .unwrap();
        assert_eq!(need.demands[0].roles, [Role::Qa]);
        assert_eq!(need.demands[0].count, 2);
        assert_eq!(need.plan.expire_after_minutes, 11);
        let need = approvals
            .need("STAGE_APPROVE", Operation::Dispatch)
            .unwrap();
        assert_eq!(need.demands[0].roles, [Role::Dispatcher]);
        assert_eq!(need.plan.expire_after_minutes, 1);
        assert!(approvals.need("OTHER", Operation::Dispatch).is_none());
    }

    #[test]
    fn silence_is_never_consent() {
        for consent in ["approve", "allow", "execute", ""] {
            let mut spoilt = table();
            spoilt["plans"]["dispatch"]["on_expiry"] = json!(consent);
            let error = parse_with(spoilt, "package x\n").unwrap_err().to_string();
            assert!(error.contains("expected `deny` or `escalate`"), "{error}");
        }
        let mut unsaid = table();
        unsaid["plans"]["dispatch"]
            .as_object_mut()
            .unwrap()
            .remove("on_expiry");
        assert!(parse_with(unsaid, "package x\n").is_err());
    }

    #[test]
    fn what_nobody_could_release_is_refused() {
        let module = "package x\n\nhold contains held(\"QUIET\", \"a\", \"b\")\n";
        let error = parse_with(table(), module).unwrap_err().to_string();
        assert!(
            error.contains("x.rego") && error.contains("QUIET"),
            "{error}"
        );
        let mut known = table();
        known["rules"]["QUIET"] = json!({ "roles": ["dispatcher"], "count": 1 });
        assert!(parse_with(known, module).is_ok());
    }

    #[test]
    fn tables_that_make_no_sense_are_refused() {
        let edits: [(&str, Value); 17] = [
            ("/rules/CHANGE_ORDER/roles", json!([])),
            ("/rules/CHANGE_ORDER/roles", json!(["approver", "approver"])),
            ("/rules/CHANGE_ORDER/roles", json!(["aprover"])),
            ("/rules/CHANGE_ORDER/count", json!(0)),
            ("/rules/CHANGE_ORDER/count", json!(11)),
            (
                "/rules/STAGE_APPROVE/operations",
                json!({ "qa_verify": [] }),
            ),
            ("/rules/STAGE_APPROVE/operations", json!({ "qa": ["qa"] })),
            ("/plans", json!({})),
            ("/plans/dispatch/expire_after_minutes", json!(0)),
            ("/plans/dispatch/expire_after_minutes", json!(43_201)),
            ("/plans/default/expire_after_minutes", json!(10)),
            ("/plans/default/remind_after_minutes", json!([10, 5])),
            ("/plans/default/remind_after_minutes", json!([0, 5])),
            ("/plans/default/escalations", json!([])),
            ("/plans/default/escalations/0/roles", json!([])),
            ("/plans/default/escalations/0/after_minutes", json!(11)),
            ("/rearm_scopes", json!(["all"])),
        ];
        assert!(parse_with(table(), "package x\n").is_ok());
        for (pointer, value) in edits {
            let mut spoilt = table();
            *spoilt.pointer_mut(pointer).unwrap() = value.clone();
            assert!(
                matches!(
                    parse_with(spoilt, "package x\n"),
                    Err(BundleError::Approvals { .. })
                ),
                "{pointer} {value}"
            );
        }
        let mut nobody = table();
        nobody["rules"]
            .as_object_mut()
            .unwrap()
            .remove(CHANGE_ORDER);
        assert!(
            parse_with(nobody, "package x\n")
                .unwrap()
                .change_order()
                .is_err()
        );
        let mut misspelt = table();
        misspelt["plans"]["dispach"] = misspelt["plans"]["dispatch"].clone();
        assert!(parse_with(misspelt, "package x\n").is_err());
        let many: Vec<u32> = (1..=24).collect();
        let mut much = table();
        much["plans"]["default"]["expire_after_minutes"] = json!(100);
        much["plans"]["default"]["remind_after_minutes"] = json!(many);
        assert!(parse_with(much, "package x\n").is_err());
    }
}
