//! From what the rules answered to a decision, strictly.

use std::collections::BTreeSet;

use contracts::{
    ErrorCode,
    approval::ApprovalNeed,
    policy::{BundleRef, DenyClass, PolicyDecision, PolicyResult, Reason},
};
use serde::Deserialize;

use crate::{approvals, error::EvaluationError};

/// The document at `data.dispatch.decision`. A set, so that reasons come sorted and once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    result: PolicyResult,
    reasons: BTreeSet<Reason>,
    obligations: Vec<String>,
    #[serde(default)]
    approval: Option<ApprovalNeed>,
}

pub(crate) fn decode(
    answer: &regorus::Value,
    bundle: &BundleRef,
) -> Result<PolicyDecision, EvaluationError> {
    if *answer == regorus::Value::Undefined {
        return Err(odd("`data.dispatch.decision` is undefined"));
    }
    let mut answer: Answer = serde_json::to_value(answer)
        .and_then(serde_json::from_value)
        .map_err(|error| odd(&error.to_string()))?;
    if (answer.result == PolicyResult::Allow) != answer.reasons.is_empty() {
        return Err(odd(match answer.result {
            PolicyResult::Allow => "it allows although conditions failed",
            PolicyResult::Deny | PolicyResult::RequireApproval => "it refuses without a reason",
        }));
    }
    for reason in &answer.reasons {
        check(reason)?;
    }
    check_approval(&mut answer)?;
    Ok(PolicyDecision {
        result: answer.result,
        reasons: answer.reasons.into_iter().collect(),
        obligations: answer.obligations,
        approval: answer.approval,
        bundle: bundle.clone(),
    })
}

/// People are asked exactly when there is nothing else in the way, and about each condition that
/// waits for them.
fn check_approval(answer: &mut Answer) -> Result<(), EvaluationError> {
    let waits = |reason: &Reason| reason.class == DenyClass::Approval;
    let Some(need) = &mut answer.approval else {
        return match answer.result {
            PolicyResult::RequireApproval => Err(odd("it asks for an approval of nobody")),
            PolicyResult::Deny if answer.reasons.iter().all(waits) => {
                Err(odd("it denies what it only holds for an approval"))
            }
            PolicyResult::Allow | PolicyResult::Deny => Ok(()),
        };
    };
    if answer.result != PolicyResult::RequireApproval || !answer.reasons.iter().all(waits) {
        return Err(odd("it asks for an approval of what it does not hold"));
    }
    need.demands.sort();
    let codes: BTreeSet<&str> = answer.reasons.iter().map(|r| r.code.as_str()).collect();
    if !need
        .demands
        .iter()
        .map(|demand| demand.code.as_str())
        .eq(codes)
    {
        return Err(odd("its demands are not those of its reasons"));
    }
    for demand in &mut need.demands {
        approvals::check_people(&demand.roles, demand.count)
            .map_err(|reason| odd(&format!("demand {}: {reason}", demand.code)))?;
        demand.roles.sort_unstable();
    }
    approvals::check_plan(&need.plan).map_err(|reason| odd(&format!("`plan`: {reason}")))
}

fn check(reason: &Reason) -> Result<(), EvaluationError> {
    let code = reason.code.as_bytes();
    let stable = (1..=64).contains(&code.len())
        && code[0].is_ascii_uppercase()
        && code
            .iter()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_');
    if !stable {
        return Err(odd(&format!(
            "reason code `{}` is not of the form UPPER_CASE",
            reason.code
        )));
    }
    if reason.message.trim().is_empty() || reason.to_pass.trim().is_empty() {
        return Err(odd(&format!(
            "reason {} lacks its message or `to_pass`",
            reason.code
        )));
    }
    if let Some(pointer) = &reason.pointer
        && !(pointer.is_empty() || pointer.starts_with('/'))
    {
        return Err(odd(&format!(
            "`{pointer}` of reason {} is not a JSON pointer",
            reason.code
        )));
    }
    Ok(())
}

fn odd(reason: &str) -> EvaluationError {
    EvaluationError::Output {
        reason: reason.to_owned(),
    }
}

/// The error code of a refusal: that of its gravest class. The kill switch outranks the stage, the
/// stage a missing right, and that a business rule, so that a caller learns first what no change of
/// the request could mend.
pub fn primary_code(decision: &PolicyDecision) -> ErrorCode {
    match decision.reasons.iter().map(|reason| reason.class).min() {
        Some(DenyClass::KillSwitch) => ErrorCode::KillSwitch,
        Some(DenyClass::Stage) => ErrorCode::Stage,
        Some(DenyClass::Forbidden) => ErrorCode::Forbidden,
        Some(DenyClass::PolicyDenied | DenyClass::Approval) | None => ErrorCode::PolicyDenied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::Role;
    use serde_json::{Value, json};

    fn decode_json(answer: Value) -> Result<PolicyDecision, EvaluationError> {
        let bundle = BundleRef {
            version: "1".into(),
            sha256: "0".repeat(64),
        };
        decode(&regorus::Value::from(answer), &bundle)
    }

    fn reason(class: &str) -> Value {
        json!({ "code": "NO", "class": class, "message": "No.", "to_pass": "Ask." })
    }

    #[test]
    fn only_a_well_formed_decision_is_one() {
        let ok = json!({ "result": "ALLOW", "reasons": [], "obligations": [] });
        assert_eq!(decode_json(ok).unwrap().result, PolicyResult::Allow);
        let mut pointer = reason("FORBIDDEN");
        pointer["pointer"] = json!("lines");
        let mut code = reason("FORBIDDEN");
        code["code"] = json!("no such thing");
        let mut blank = reason("FORBIDDEN");
        blank["to_pass"] = json!(" ");
        for bad in [
            json!(true),
            json!({}),
            json!({ "result": "MAYBE", "reasons": [], "obligations": [] }),
            json!({ "result": "ALLOW", "reasons": [], "obligations": [], "x": 1 }),
            json!({ "result": "ALLOW", "reasons": [reason("STAGE")], "obligations": [] }),
            json!({ "result": "DENY", "reasons": [], "obligations": [] }),
            json!({ "result": "DENY", "reasons": [reason("OTHER")], "obligations": [] }),
            json!({ "result": "DENY", "reasons": [pointer], "obligations": [] }),
            json!({ "result": "DENY", "reasons": [code], "obligations": [] }),
            json!({ "result": "DENY", "reasons": [blank], "obligations": [] }),
        ] {
            assert!(
                matches!(
                    decode_json(bad.clone()),
                    Err(EvaluationError::Output { .. })
                ),
                "{bad}"
            );
        }
    }

    fn need() -> Value {
        json!({
            "demands": [{ "code": "NO", "roles": ["qa", "dispatcher"], "count": 2 }],
            "plan": { "expire_after_minutes": 5, "on_expiry": "deny" },
        })
    }

    fn asks(reasons: &Value, approval: &Value) -> Value {
        json!({
            "result": "REQUIRE_APPROVAL",
            "reasons": reasons,
            "obligations": [],
            "approval": approval,
        })
    }

    #[test]
    fn who_is_to_release_it_is_said_exactly_when_it_is_held() {
        let held = reason("APPROVAL");
        let decision = decode_json(asks(&json!([held]), &need())).unwrap();
        assert_eq!(decision.result, PolicyResult::RequireApproval);
        let demands = decision.approval.unwrap().demands;
        assert_eq!(demands[0].roles, [Role::Dispatcher, Role::Qa]);

        let mut beside = asks(&json!([held, reason("FORBIDDEN")]), &need());
        beside["result"] = json!("DENY");
        assert!(decode_json(beside.clone()).is_err());
        beside.as_object_mut().unwrap().remove("approval");
        let denied = decode_json(beside.clone()).unwrap();
        assert_eq!(primary_code(&denied), ErrorCode::Forbidden);

        beside["reasons"] = json!([held]);
        assert!(decode_json(beside).is_err());
        let mut allowed = asks(&json!([]), &need());
        allowed["result"] = json!("ALLOW");
        assert!(decode_json(allowed).is_err());
        let mut nobody = asks(&json!([held]), &need());
        nobody.as_object_mut().unwrap().remove("approval");
        assert!(decode_json(nobody).is_err());
        assert!(decode_json(asks(&json!([held, reason("STAGE")]), &need())).is_err());
    }

    #[test]
    fn an_approval_is_one_that_people_can_give() {
        for (pointer, value) in [
            ("/demands", json!([])),
            ("/demands/0/code", json!("OTHER")),
            ("/demands/0/roles", json!([])),
            ("/demands/0/roles", json!(["qa", "qa"])),
            ("/demands/0/count", json!(0)),
            ("/plan/expire_after_minutes", json!(0)),
            ("/plan/remind_after_minutes", json!([5])),
            ("/plan/on_expiry", json!("approve")),
        ] {
            let mut bad = need();
            match bad.pointer_mut(pointer) {
                Some(place) => *place = value.clone(),
                None => bad["plan"]["remind_after_minutes"] = value.clone(),
            }
            let answer = asks(&json!([reason("APPROVAL")]), &bad);
            assert!(decode_json(answer).is_err(), "{pointer} {value}");
        }
        let mut twice = need();
        twice["demands"] = json!([need()["demands"][0], need()["demands"][0]]);
        assert!(decode_json(asks(&json!([reason("APPROVAL")]), &twice)).is_err());
    }

    #[test]
    fn the_gravest_class_names_the_refusal() {
        let code = |classes: &[&str]| {
            let reasons: Vec<_> = classes.iter().map(|class| reason(class)).collect();
            let answer = json!({ "result": "DENY", "reasons": reasons, "obligations": [] });
            primary_code(&decode_json(answer).unwrap())
        };
        assert_eq!(code(&["POLICY_DENIED"]), ErrorCode::PolicyDenied);
        assert_eq!(code(&["POLICY_DENIED", "FORBIDDEN"]), ErrorCode::Forbidden);
        assert_eq!(
            code(&["POLICY_DENIED", "FORBIDDEN", "STAGE"]),
            ErrorCode::Stage
        );
        assert_eq!(code(&["STAGE", "KILL_SWITCH"]), ErrorCode::KillSwitch);
    }
}
