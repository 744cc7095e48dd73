//! The extractor of all reads.

use std::{sync::Arc, time::Duration};

use axum::{RequestPartsExt, extract::FromRequestParts};
use chrono::{DateTime, Utc};
use contracts::{Actor, ActorKind, ErrorCode, Role, event::AutonomyMode};
use http::request::Parts;
use policy::Bundle;
use store::{
    TenantTx,
    bundles::Place,
    read::{Homes, Sees},
};

use super::{Caller, Query};
use crate::{App, bundles::NoBundle, problem::Failure};

/// An authenticated question; [`ReadRequest::open`] is the only way to rows, the caller's own.
#[derive(Debug)]
pub struct ReadRequest {
    app: App,
    caller: Caller,
    parts: Parts,
}

impl FromRequestParts<App> for ReadRequest {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let caller: Caller = parts.extract_with_state(app).await?;
        Ok(Self {
            app: app.clone(),
            caller,
            parts: parts.clone(),
        })
    }
}

impl ReadRequest {
    /// The query string; `known` are the operation's parameters.
    pub fn query(&self, known: &[&str]) -> Result<Query, Failure> {
        Query::read(&self.parts, known)
    }

    /// A header, when it is text.
    pub fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// Refuses everybody but the tenant's workflow, auditors and the platform's people: the answer
    /// is about how the system works rather than about the job.
    pub fn machinery_only(&self) -> Result<(), Failure> {
        let actor = &self.caller.actor;
        let allowed = actor.kind == ActorKind::Workflow
            || actor.roles.contains(&Role::Auditor)
            || actor.roles.contains(&Role::PlatformAdmin);
        match allowed {
            true => Ok(()),
            false => Err(Failure::new(
                ErrorCode::Forbidden,
                "Only the ticket's workflow, auditors and platform administrators may read this.",
            )),
        }
    }

    /// How much the caller sees of what is the same for all tenants.
    pub fn sees(&self) -> Sees {
        match self.caller.actor.roles.contains(&Role::PlatformAdmin) {
            true => Sees::Everybody,
            false => Sees::OwnTenant,
        }
    }

    /// Refuses everybody who has nothing to do with people: names, telephone numbers and addresses
    /// are for those who plan and do the work. Another system needs a role for it as a person does:
    /// what brings messages in need not know everybody.
    pub fn personal_data(&self) -> Result<(), Failure> {
        const MAY: [Role; 4] = [
            Role::Dispatcher,
            Role::AccountManager,
            Role::Technician,
            Role::TenantAdmin,
        ];
        let actor = &self.caller.actor;
        let allowed = match actor.kind {
            ActorKind::Person | ActorKind::Integration => {
                MAY.iter().any(|role| actor.roles.contains(role))
            }
            ActorKind::Agent | ActorKind::Workflow => false,
        };
        match allowed {
            true => Ok(()),
            false => Err(Failure::new(
                ErrorCode::Forbidden,
                "Personal data is for people and integrations with role dispatcher, \
                 account_manager, technician or tenant_admin.",
            )),
        }
    }

    /// Whose homes the caller sees: those who plan and those who keep the directory everybody's, a
    /// technician their own. Software that advises is given what it needs with its input.
    pub fn homes(&self) -> Homes {
        const MAY: [Role; 3] = [Role::Dispatcher, Role::TenantAdmin, Role::PlatformAdmin];
        let actor = &self.caller.actor;
        let plans = match actor.kind {
            ActorKind::Person | ActorKind::Integration => {
                MAY.iter().any(|role| actor.roles.contains(role))
            }
            ActorKind::Agent | ActorKind::Workflow => false,
        };
        match (plans, actor.technician_id) {
            (true, _) => Homes::All,
            (false, Some(own)) => Homes::Of(own),
            (false, None) => Homes::None,
        }
    }

    /// Refuses everybody who has no business with what customers write. Those who talk to customers
    /// and the tenant's administrators may read it, and who has a role of `also`; people and
    /// integrations alike, for bringing a message in is no reason to read the others.
    pub fn correspondence(&self, also: &[Role]) -> Result<(), Failure> {
        const MAY: [Role; 3] = [Role::Dispatcher, Role::AccountManager, Role::TenantAdmin];
        let actor = &self.caller.actor;
        let has = |role| actor.roles.contains(role);
        let allowed = match actor.kind {
            ActorKind::Person | ActorKind::Integration => MAY.iter().chain(also).any(has),
            ActorKind::Agent | ActorKind::Workflow => false,
        };
        match allowed {
            true => Ok(()),
            false => Err(Failure::new(
                ErrorCode::Forbidden,
                "Messages are for people and integrations with role dispatcher, account_manager or \
                 tenant_admin; for technicians those of tickets that they are sent to.",
            )),
        }
    }

    /// Who asks.
    pub fn actor(&self) -> &Actor {
        &self.caller.actor
    }

    /// When it came in.
    pub fn received_at(&self) -> DateTime<Utc> {
        self.caller.context.received_at
    }

    /// The bundle with this hash.
    pub async fn bundle(&self, sha256: &str) -> Result<Arc<Bundle>, NoBundle> {
        self.app
            .bundles()
            .load(Place::Pool(self.app.pool()), sha256)
            .await
    }

    /// The most that software may do by itself in this environment.
    pub fn ceiling(&self) -> AutonomyMode {
        self.app.pipeline().ceiling()
    }

    /// A transaction in which a read notes that somebody has read; nothing else may use it.
    pub async fn open_to_note(&self) -> Result<TenantTx, Failure> {
        const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
        let tenant_id = self.caller.actor.tenant_id;
        Ok(TenantTx::begin(self.app.pool(), tenant_id, LOCK_TIMEOUT).await?)
    }

    /// A read transaction of the caller's tenant.
    pub async fn open(&self) -> Result<TenantTx, Failure> {
        Ok(TenantTx::begin_read(self.app.pool(), self.caller.actor.tenant_id).await?)
    }
}
