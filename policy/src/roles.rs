//! The roles table `data.roles`: operation → kind of actor → roles.
//!
//! The rules read the table as data; it is parsed here so that a misspelt role or operation stops
//! the bundle instead of silently locking somebody out.

use std::str::FromStr;

use contracts::{ActorKind, Operation, Role};
use serde_json::Value;

use crate::error::BundleError;

/// In place of a role: none is needed.
const ANY: &str = "any";

/// What only people may do, whatever a bundle says: to decide, and to let software do more.
const FOR_PEOPLE: [Operation; 9] = [
    Operation::ActivateBundle,
    Operation::AmendApproval,
    Operation::ChangeApprovalDue,
    Operation::DecideApproval,
    Operation::DelegateApprovals,
    Operation::PromoteStage,
    Operation::ReleaseKillSwitch,
    Operation::SetTicketAutonomy,
    Operation::UploadBundle,
];

/// The workflow releases a kill switch that has released itself, and no other: dispatch-api sees to
/// that.
fn is_for_people(operation: Operation, kind: ActorKind) -> bool {
    let ended = (Operation::ReleaseKillSwitch, ActorKind::Workflow);
    kind != ActorKind::Person && FOR_PEOPLE.contains(&operation) && (operation, kind) != ended
}

/// Checks the table; a bundle that does without one is free to.
pub(crate) fn check(data: &Value) -> Result<(), BundleError> {
    let Some(table) = data.get("roles") else {
        return Ok(());
    };
    let Some(table) = table.as_object() else {
        return Err(refused("*", "the table must be an object"));
    };
    for (operation, grants) in table {
        let Ok(known) = Operation::from_str(operation) else {
            return Err(refused(operation, "there is no such operation"));
        };
        let Some(grants) = grants.as_object() else {
            return Err(refused(operation, "must be an object of kinds"));
        };
        for (kind, roles) in grants {
            match ActorKind::from_str(kind) {
                Err(_) => {
                    return Err(refused(operation, &format!("`{kind}` is no kind of actor")));
                }
                Ok(software) if is_for_people(known, software) => {
                    return Err(refused(
                        operation,
                        &format!("it is for people, not for `{kind}`"),
                    ));
                }
                Ok(_) => {}
            }
            let Some(roles) = roles.as_array().filter(|roles| !roles.is_empty()) else {
                return Err(refused(
                    operation,
                    &format!("`{kind}` needs a list of roles, or [\"any\"]"),
                ));
            };
            for role in roles {
                let known = role
                    .as_str()
                    .is_some_and(|role| role == ANY || Role::from_str(role).is_ok());
                if !known {
                    return Err(refused(operation, &format!("{role} is no role")));
                }
            }
        }
    }
    Ok(())
}

fn refused(operation: &str, reason: &str) -> BundleError {
    BundleError::Roles {
        operation: operation.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn misspelt_names_are_refused() {
        let table = |roles: Value| check(&json!({ "roles": roles }));
        assert!(table(json!({ "close": { "person": ["billing"], "agent": ["any"] } })).is_ok());
        assert!(check(&json!({})).is_ok());
        for bad in [
            json!([]),
            json!({ "clsoe": {} }),
            json!({ "close": ["billing"] }),
            json!({ "close": { "persons": ["billing"] } }),
            json!({ "close": { "person": "billing" } }),
            json!({ "close": { "person": [] } }),
            json!({ "close": { "person": ["biling"] } }),
            json!({ "close": { "person": [1] } }),
            json!({ "decide_approval": { "agent": ["any"] } }),
            json!({ "promote_stage": { "workflow": ["any"] } }),
            json!({ "release_kill_switch": { "integration": ["tenant_admin"] } }),
        ] {
            assert!(table(bad.clone()).is_err(), "{bad}");
        }
    }
}
