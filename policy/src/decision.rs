//! From what the rules answered to a decision, strictly.

use std::collections::BTreeSet;

use contracts::{
    ErrorCode,
    policy::{BundleRef, DenyClass, PolicyDecision, PolicyResult, Reason},
};
use serde::Deserialize;

use crate::error::EvaluationError;

/// The document at `data.dispatch.decision`. A set, so that reasons come sorted and once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    result: PolicyResult,
    reasons: BTreeSet<Reason>,
    obligations: Vec<String>,
}

pub(crate) fn decode(
    answer: &regorus::Value,
    bundle: &BundleRef,
) -> Result<PolicyDecision, EvaluationError> {
    if *answer == regorus::Value::Undefined {
        return Err(odd("`data.dispatch.decision` is undefined"));
    }
    let answer: Answer = serde_json::to_value(answer)
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
    Ok(PolicyDecision {
        result: answer.result,
        reasons: answer.reasons.into_iter().collect(),
        obligations: answer.obligations,
        bundle: bundle.clone(),
    })
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
        Some(DenyClass::PolicyDenied) | None => ErrorCode::PolicyDenied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
