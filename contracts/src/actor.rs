//! Who acts. Kind, roles and tenant come from the verified token, never from a body.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{TechnicianId, TenantId};

/// What sort of actor a token stands for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ActorKind {
    /// A human being.
    Person,
    /// A software agent that talks to customers or plans work.
    Agent,
    /// The ticket's workflow: one actor per tenant.
    Workflow,
    /// Another system: intake webhooks, accounting.
    Integration,
}

impl ActorKind {
    /// Agents and workflows act by themselves: stage and kill switch apply to them.
    pub const fn is_autonomous(self) -> bool {
        matches!(self, Self::Agent | Self::Workflow)
    }
}

/// What an actor may be allowed to do; the policy bundle says which role may do what.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the field's own")]
pub enum Role {
    Dispatcher,
    Technician,
    Approver,
    AccountManager,
    Qa,
    Billing,
    Auditor,
    TenantAdmin,
    PlatformAdmin,
}

/// The authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// The tenant whose rows the caller may touch.
    pub tenant_id: TenantId,
    /// The token's subject: a stable opaque id, not a name ([`is_actor_id`]).
    pub id: String,
    /// Person, agent, workflow or integration.
    pub kind: ActorKind,
    /// The roles the token carries; empty for a workflow.
    pub roles: BTreeSet<Role>,
    /// For a technician's token: who they are, so that they act on their own visits only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technician_id: Option<TechnicianId>,
}

/// The claims of our bearer tokens (JWT, RFC 7519; HS256 today).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClaims {
    /// Issuer; must be the configured one.
    pub iss: String,
    /// Audience; must be the configured one.
    pub aud: String,
    /// Subject: [`Actor::id`].
    pub sub: String,
    /// Issued at, seconds since the epoch.
    pub iat: i64,
    /// Not before, seconds since the epoch.
    pub nbf: i64,
    /// Expiry, seconds since the epoch.
    pub exp: i64,
    /// The caller's tenant.
    pub tenant: TenantId,
    /// The caller's kind.
    pub kind: ActorKind,
    /// The caller's roles.
    #[serde(default)]
    pub roles: BTreeSet<Role>,
    /// For technicians.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technician_id: Option<TechnicianId>,
}

/// The header that names the tool an agent used; recorded in the audit row.
pub const TOOL_NAME_HEADER: &str = "x-tool-name";

/// Whether a token's subject may be an actor id: 1 to 128 characters of `A-Za-z0-9._:-`. Actor ids
/// are kept for ever, so what looks like a name or an e-mail address is none.
pub fn is_actor_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

/// The actor id of a tenant's workflows: one per tenant, so that a key survives runs.
pub fn workflow_actor_id(tenant: TenantId) -> String {
    format!("workflow:{tenant}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_id_is_no_name_and_no_address() {
        let workflow = workflow_actor_id(TenantId::from_uuid(uuid::Uuid::max()));
        for good in ["u", "usr_1", "idp:8f.2-a", &workflow] {
            assert!(is_actor_id(good), "{good}");
        }
        for bad in [
            "",
            "Anna Jansen",
            "anna@example.test",
            "é",
            &"x".repeat(129),
        ] {
            assert!(!is_actor_id(bad), "{bad}");
        }
    }
}
