//! Who calls in a day: a token for each, good for as long as the day takes.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use client::Client;
use contracts::{ActorKind, Role, TechnicianId, TenantId};
use store::seed;

use super::plan::{By, Crew};
use crate::{
    demo::World,
    exit::Failure,
    token::{Caller, Minter},
};

/// Everybody who calls.
#[derive(Debug)]
pub struct People {
    tenant: TenantId,
    ttl: TimeDelta,
    minter: Minter,
    anonymous: Client,
    intake: Client,
    dispatcher: Client,
    account_manager: Client,
    approver: Client,
    qa: Client,
    billing: Client,
    tenant_admin: Client,
    auditor: Client,
    agent: Client,
    foreigner: Client,
    technicians: Vec<Client>,
}

impl People {
    /// Mints everybody's token, good for `ttl`.
    pub fn new(
        api: &Client,
        minter: &Minter,
        world: &World,
        ttl: TimeDelta,
    ) -> Result<Self, Failure> {
        let call = |tenant, name: &str, kind, roles: BTreeSet<Role>, technician| {
            let caller = Caller {
                tenant,
                sub: format!("day_{name}"),
                kind,
                roles,
                technician,
            };
            Ok::<_, Failure>(api.with_token(minter.mint(&caller, Utc::now(), ttl)?))
        };
        let person = |role: Role| {
            let name = role.to_string();
            call(world.tenant, &name, ActorKind::Person, [role].into(), None)
        };
        let system = |name, kind| call(world.tenant, name, kind, BTreeSet::new(), None);
        let [_, other] = seed::DEMO_TENANTS;
        Ok(Self {
            tenant: world.tenant,
            ttl,
            minter: minter.clone(),
            anonymous: api.clone(),
            intake: system("intake", ActorKind::Integration)?,
            dispatcher: person(Role::Dispatcher)?,
            account_manager: person(Role::AccountManager)?,
            approver: person(Role::Approver)?,
            qa: person(Role::Qa)?,
            billing: person(Role::Billing)?,
            tenant_admin: person(Role::TenantAdmin)?,
            auditor: person(Role::Auditor)?,
            agent: system("agent", ActorKind::Agent)?,
            foreigner: call(
                seed::demo_tenant_id(other),
                "foreigner",
                ActorKind::Person,
                [Role::Dispatcher].into(),
                None,
            )?,
            technicians: world
                .technicians
                .iter()
                .enumerate()
                .map(|(number, (id, _))| {
                    let name = format!("technician_{}", number + 1);
                    let roles = [Role::Technician].into();
                    call(world.tenant, &name, ActorKind::Person, roles, Some(*id))
                })
                .collect::<Result<_, _>>()?,
        })
    }

    /// The client of a caller; `own` is the story's own technician.
    pub fn client(&self, by: By, own: Option<TechnicianId>) -> Result<Client, Failure> {
        Ok(match by {
            By::Intake => self.intake.clone(),
            By::Dispatcher => self.dispatcher.clone(),
            By::AccountManager => self.account_manager.clone(),
            By::Approver => self.approver.clone(),
            By::Qa => self.qa.clone(),
            By::Billing => self.billing.clone(),
            By::TenantAdmin => self.tenant_admin.clone(),
            By::Auditor => self.auditor.clone(),
            By::Agent => self.agent.clone(),
            By::Foreigner => self.foreigner.clone(),
            By::Nobody => self.anonymous.clone(),
            By::Technician(Crew::Seeded(number)) => {
                let found = self.technicians.get(number);
                let missing = || Failure::failed("the demo tenant has too few technicians");
                found.ok_or_else(missing)?.clone()
            }
            By::Technician(Crew::Own) => {
                let missing = || Failure::failed("the story has no technician of its own");
                self.technician(own.ok_or_else(missing)?)?
            }
        })
    }

    /// For reading everything at the end.
    pub fn auditor(&self) -> &Client {
        &self.auditor
    }

    fn technician(&self, id: TechnicianId) -> Result<Client, Failure> {
        let caller = Caller {
            tenant: self.tenant,
            sub: format!("day_{id}"),
            kind: ActorKind::Person,
            roles: [Role::Technician].into(),
            technician: Some(id),
        };
        let token = self.minter.mint(&caller, Utc::now(), self.ttl)?;
        Ok(self.anonymous.with_token(token))
    }
}
