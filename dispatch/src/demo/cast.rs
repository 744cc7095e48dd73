//! Who takes part.

use std::collections::BTreeSet;

use chrono::{TimeDelta, Utc};
use client::Client;
use contracts::{ActorKind, AssetId, ContactId, Role, SiteId, TechnicianId, TenantId};
use store::seed;

use crate::{
    exit::Failure,
    token::{Caller, Minter},
};

/// The demo plays within this time.
const TOKEN_TTL: TimeDelta = TimeDelta::minutes(30);

/// Ids of the seeded tenant that the job is about.
#[derive(Debug, Clone)]
pub struct World {
    /// Whose job.
    pub tenant: TenantId,
    /// Where.
    pub site: SiteId,
    /// What broke.
    pub asset: AssetId,
    /// Who called.
    pub contact: ContactId,
    /// Everybody who could be sent, with what to call them on screen.
    pub technicians: Vec<(TechnicianId, String)>,
    /// Every seeded place: what is there, and who is to be called.
    pub places: Vec<(SiteId, Vec<AssetId>, ContactId)>,
}

/// One caller: a client with a token of their own.
#[derive(Debug, Clone)]
pub struct Member {
    /// On screen.
    pub name: String,
    /// What sort.
    pub kind: ActorKind,
    /// With their token.
    pub client: Client,
}

/// Everybody.
#[derive(Debug)]
pub struct Cast {
    pub intake: Member,
    pub dispatcher: Member,
    pub account_manager: Member,
    pub qa: Member,
    pub billing: Member,
    pub auditor: Member,
    technicians: Vec<(TechnicianId, Member)>,
}

impl Cast {
    /// Mints everybody's token.
    pub fn new(api: &Client, minter: &Minter, world: &World) -> Result<Self, Failure> {
        let member = |name: &str, kind, roles: BTreeSet<Role>, technician| {
            let caller = Caller {
                tenant: world.tenant,
                sub: format!("demo_{}", name.replace(' ', "_")),
                kind,
                roles,
                technician,
            };
            let token = minter.mint(&caller, Utc::now(), TOKEN_TTL)?;
            Ok::<_, Failure>(Member {
                name: name.to_owned(),
                kind,
                client: api.with_token(token),
            })
        };
        let person = |name: &str, role| member(name, ActorKind::Person, [role].into(), None);
        Ok(Self {
            intake: member("intake", ActorKind::Integration, BTreeSet::new(), None)?,
            dispatcher: person("dispatcher", Role::Dispatcher)?,
            account_manager: person("account manager", Role::AccountManager)?,
            qa: person("qa", Role::Qa)?,
            billing: person("billing", Role::Billing)?,
            auditor: person("auditor", Role::Auditor)?,
            technicians: world
                .technicians
                .iter()
                .map(|(id, name)| {
                    let roles = [Role::Technician].into();
                    Ok((*id, member(name, ActorKind::Person, roles, Some(*id))?))
                })
                .collect::<Result<_, Failure>>()?,
        })
    }

    /// The technician with this id.
    pub fn technician(&self, id: TechnicianId) -> Result<&Member, Failure> {
        self.technicians
            .iter()
            .find(|(known, _)| *known == id)
            .map(|(_, member)| member)
            .ok_or_else(|| Failure::failed(format!("{id} is no technician of the demo tenant")))
    }

    /// The one who is called when nobody else is there.
    pub fn first_technician(&self) -> Result<TechnicianId, Failure> {
        let first = self.technicians.first().map(|(id, _)| *id);
        first.ok_or_else(|| Failure::failed("the demo tenant has no technicians"))
    }

    /// What to call a technician on screen.
    pub fn name(&self, id: TechnicianId) -> String {
        self.technician(id)
            .map_or_else(|_| id.to_string(), |member| member.name.clone())
    }
}

impl World {
    /// What `dispatch migrate --seed-demo` and `dispatch dev` put there.
    pub fn seeded() -> Self {
        let [slug, _] = seed::DEMO_TENANTS;
        let seeded = seed::SeededTenant::of(seed::demo_tenant_id(slug), slug);
        let titles = seed::technician_titles().map(str::to_owned);
        let assets = seeded
            .assets
            .chunks(seeded.assets.len() / seeded.sites.len());
        let places = seeded.sites.iter().zip(assets).zip(&seeded.contacts);
        let places = places
            .map(|((site, assets), contact)| (*site, assets.to_vec(), *contact))
            .collect();
        Self {
            tenant: seeded.tenant_id,
            site: seeded.sites[0],
            // Of a site's two things, the pane.
            asset: seeded.assets[1],
            contact: seeded.contacts[0],
            technicians: seeded.technicians.into_iter().zip(titles).collect(),
            places,
        }
    }
}
