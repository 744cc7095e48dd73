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

/// Checks the table; a bundle that does without one is free to.
pub(crate) fn check(data: &Value) -> Result<(), BundleError> {
    let Some(table) = data.get("roles") else {
        return Ok(());
    };
    let Some(table) = table.as_object() else {
        return Err(refused("*", "the table must be an object"));
    };
    for (operation, grants) in table {
        if Operation::from_str(operation).is_err() {
            return Err(refused(operation, "there is no such operation"));
        }
        let Some(grants) = grants.as_object() else {
            return Err(refused(operation, "must be an object of kinds"));
        };
        for (kind, roles) in grants {
            if ActorKind::from_str(kind).is_err() {
                return Err(refused(operation, &format!("`{kind}` is no kind of actor")));
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
        ] {
            assert!(table(bad.clone()).is_err(), "{bad}");
        }
    }
}
