//! The roles table `data.roles`: operation → kind of actor → roles.
//!
//! The rules read the table as data; it is parsed here so that a misspelt role or operation stops
//! the bundle instead of silently locking somebody out.

use std::collections::BTreeMap;

use contracts::{ActorKind, Operation};
use serde_json::Value;

use crate::{
    error::BundleError,
    holders::{Holders, table},
};

/// What only people may do, whatever a bundle says: to decide, to let software do more, and to say which
/// software calls with what.
const FOR_PEOPLE: [Operation; 22] = [
    Operation::ActivateBundle,
    Operation::AmendApproval,
    Operation::CancelTenantDeletion,
    Operation::ChangeApprovalDue,
    Operation::ConfigureTenant,
    Operation::CreateTenant,
    Operation::DecideApproval,
    Operation::DelegateApprovals,
    Operation::DisableServiceAccount,
    Operation::IssueApiKey,
    Operation::LimitTenant,
    Operation::PromoteStage,
    Operation::RecordTenantExport,
    Operation::ReleaseKillSwitch,
    Operation::RequestTenantDeletion,
    Operation::ResumeTenant,
    Operation::RevokeApiKey,
    Operation::RotateApiKey,
    Operation::SetTicketAutonomy,
    Operation::SuspendTenant,
    Operation::UploadBundle,
    Operation::UpsertServiceAccount,
];

/// Whether no bundle can give the command to callers of this kind. The workflow releases a kill switch
/// that has released itself, and no other: dispatch-api sees to that.
pub fn is_barred(operation: Operation, kind: ActorKind) -> bool {
    let ended = (Operation::ReleaseKillSwitch, ActorKind::Workflow);
    kind != ActorKind::Person && FOR_PEOPLE.contains(&operation) && (operation, kind) != ended
}

/// Reads the table; a bundle that does without one is free to.
pub(crate) fn parse(data: &Value) -> Result<BTreeMap<Operation, Holders>, BundleError> {
    let Some(rows) = data.get("roles") else {
        return Ok(BTreeMap::new());
    };
    let bound = |operation, kind| is_barred(operation, kind).then_some("it is for people");
    table(rows, "operation", bound).map_err(|wrong| BundleError::Roles {
        operation: wrong.row,
        reason: wrong.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn misspelt_names_are_refused() {
        let table = |roles: Value| parse(&json!({ "roles": roles }));
        assert!(table(json!({ "close": { "person": ["billing"], "agent": ["any"] } })).is_ok());
        assert!(parse(&json!({})).is_ok());
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
