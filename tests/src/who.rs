//! Who calls: one actor per role and kind, each with a token of their own.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Actor, ActorKind, Role,
    actor::{TokenClaims, workflow_actor_id},
};

use crate::world::Tenant;

/// The secret that the test's tokens are signed with.
pub const SECRET: &str = "tests-only-0123456789abcdef0123456789abcdef";
/// What `iss` must be.
pub const ISSUER: &str = "https://issuer.test";
/// What `aud` must be.
pub const AUDIENCE: &str = "dispatch-api-test";

/// A caller of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of the roles")]
pub enum Who {
    Dispatcher,
    /// The technician that the samples send.
    Technician,
    /// One who is not sent.
    OtherTechnician,
    Approver,
    AccountManager,
    Qa,
    Billing,
    Auditor,
    TenantAdmin,
    /// An integration that brings tickets and messages in: without roles.
    Intake,
    /// An integration that keeps the directory: a tenant administrator's role.
    Registry,
    /// The tenant's workflow.
    Workflow,
    /// An agent that was given a dispatcher's role: the stage, not the role, must stop it.
    Agent,
}

impl Who {
    /// The actor that this is in a tenant.
    pub fn actor(self, tenant: &Tenant) -> Actor {
        let kind = match self {
            Self::Intake | Self::Registry => ActorKind::Integration,
            Self::Workflow => ActorKind::Workflow,
            Self::Agent => ActorKind::Agent,
            _ => ActorKind::Person,
        };
        let role = match self {
            Self::Dispatcher | Self::Agent => Some(Role::Dispatcher),
            Self::Technician | Self::OtherTechnician => Some(Role::Technician),
            Self::Approver => Some(Role::Approver),
            Self::AccountManager => Some(Role::AccountManager),
            Self::Qa => Some(Role::Qa),
            Self::Billing => Some(Role::Billing),
            Self::Auditor => Some(Role::Auditor),
            Self::TenantAdmin | Self::Registry => Some(Role::TenantAdmin),
            Self::Intake | Self::Workflow => None,
        };
        let id = match self {
            Self::Workflow => workflow_actor_id(tenant.id),
            who => format!("usr_{who:?}").to_ascii_lowercase(),
        };
        let technician_id = match self {
            Self::Technician => Some(tenant.technicians[0]),
            Self::OtherTechnician => Some(tenant.technicians[1]),
            _ => None,
        };
        Actor {
            tenant_id: tenant.id,
            id,
            kind,
            roles: role.into_iter().collect(),
            technician_id,
        }
    }

    /// What the caller's token says, valid from `now` for an hour.
    pub fn claims(self, tenant: &Tenant, now: DateTime<Utc>) -> TokenClaims {
        let actor = self.actor(tenant);
        TokenClaims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: actor.id,
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: (now + TimeDelta::hours(1)).timestamp(),
            tenant: actor.tenant_id,
            kind: actor.kind,
            roles: actor.roles,
            technician_id: actor.technician_id,
        }
    }

    /// A token that is valid now.
    pub fn token(self, tenant: &Tenant) -> String {
        mint(&self.claims(tenant, Utc::now()))
    }
}

/// Signs claims as dispatch-api expects.
pub fn mint(claims: &TokenClaims) -> String {
    api::identity::mint(SECRET, claims).expect("the secret is long enough")
}
