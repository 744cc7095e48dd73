//! What the caller may read, by the bundle that is active in the very transaction that reads.

use std::sync::Arc;

use contracts::{Actor, ApiPermission, ErrorCode, ReadPermission};
use policy::Reads;

use crate::{
    identity::{Scopes, lacks},
    problem::Failure,
};

/// The permission that the matched route needs; the router puts it into each guarded request.
#[derive(Debug, Clone, Copy)]
pub struct Needed(pub Option<ApiPermission>);

/// The rights of one caller at one moment.
#[derive(Debug)]
pub struct Rights {
    reads: Arc<Reads>,
    actor: Arc<Actor>,
    scopes: Scopes,
}

impl Rights {
    pub(super) fn new(reads: Arc<Reads>, actor: Arc<Actor>, scopes: Scopes) -> Self {
        Self {
            reads,
            actor,
            scopes,
        }
    }

    /// Who asks.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Whether the caller may read this.
    pub fn may(&self, permission: ReadPermission) -> bool {
        let in_scope = self.scopes.include(ApiPermission::Read(permission));
        in_scope && self.reads.allow(permission, &self.actor)
    }

    /// Refuses whoever may not.
    pub fn demand(&self, permission: ReadPermission) -> Result<(), Failure> {
        match self.may(permission) {
            true => Ok(()),
            false => Err(self.lack(permission)),
        }
    }

    /// How somebody is refused who may not: the permission is named, and who has it. Software that
    /// can never have it is not told that there is anything to read.
    pub fn lack(&self, permission: ReadPermission) -> Failure {
        if permission.is_barred(self.actor.kind) {
            return Failure::new(
                ErrorCode::NotFound,
                "There is no such thing, or it is not yours.",
            );
        }
        let needed = ApiPermission::Read(permission);
        let name = needed.to_string();
        if !self.scopes.include(needed) {
            return Failure::new(ErrorCode::OutOfScope, lacks(needed)).fact("permission", name);
        }
        let holders = self.reads.holders(permission);
        Failure::new(
            ErrorCode::Forbidden,
            format!("This needs the permission `{name}`. Who has it: {holders}."),
        )
        .fact("permission", name)
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, response::IntoResponse};
    use contracts::{ActorKind, Problem, Role, TenantId};
    use uuid::Uuid;

    use super::*;

    fn rights(kind: ActorKind, role: Role) -> Rights {
        let actor = Actor {
            tenant_id: TenantId::from_uuid(Uuid::nil()),
            id: "usr_1".to_owned(),
            kind,
            roles: [role].into(),
            technician_id: None,
        };
        Rights::new(Reads::of_program(), Arc::new(actor), Scopes::ALL)
    }

    async fn problem(refused: Result<(), Failure>) -> Problem {
        let body = refused.unwrap_err().into_response().into_body();
        serde_json::from_slice(&to_bytes(body, usize::MAX).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn who_may_not_is_told_what_is_missing_and_who_has_it() {
        let person = rights(ActorKind::Person, Role::Qa);
        assert!(person.demand(ReadPermission::Tickets).is_ok());
        let refused = problem(person.demand(ReadPermission::RawMessages)).await;
        assert_eq!(refused.code, ErrorCode::Forbidden);
        assert_eq!(refused.meta["permission"], "read:raw_messages");
        assert!(
            refused
                .detail
                .contains("person or integration with role tenant_admin"),
            "{}",
            refused.detail
        );
    }

    #[tokio::test]
    async fn software_is_not_told_that_there_are_people_to_read_about() {
        for kind in [ActorKind::Agent, ActorKind::Workflow] {
            let software = rights(kind, Role::TenantAdmin);
            let refused = problem(software.demand(ReadPermission::Contacts)).await;
            assert_eq!(refused.code, ErrorCode::NotFound, "{kind}");
            assert!(refused.meta.is_empty(), "{kind}");
        }
        let agent = rights(ActorKind::Agent, Role::Dispatcher);
        let refused = problem(agent.demand(ReadPermission::Decisions)).await;
        assert_eq!(refused.code, ErrorCode::Forbidden);
        let system = rights(ActorKind::Integration, Role::Dispatcher);
        assert!(system.demand(ReadPermission::Contacts).is_ok());
    }
}
