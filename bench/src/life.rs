//! What tickets go through here: the short life that throughput is measured with, and the whole
//! one, an emergency-glass job with two visits.

use std::{collections::BTreeSet, sync::LazyLock};

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Actor, ActorKind, Command, FreeText, Operation, Priority, Role, Slug, TechnicianId, TemplateId,
    command::*,
    schedule::TimeWindow,
    ticket::{EvidenceRef, InvoiceLine, Part},
    value::DetailValue,
};
use store::seed::{DEMO_TENANTS, SeededTenant, demo_tenant_id};

use crate::service::token;

/// The tenant that everything happens to: places, things and people.
pub static TENANT: LazyLock<SeededTenant> = LazyLock::new(|| {
    let [slug, ..] = DEMO_TENANTS;
    SeededTenant::of(demo_tenant_id(slug), slug)
});

/// Who does a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Plans and sends.
    Dispatcher,
    /// The one who is sent.
    Technician,
    /// Checks the work.
    Qa,
    /// Charges for it.
    Billing,
}

impl Who {
    /// The actor that this is.
    pub fn actor(self) -> Actor {
        self.actor_of(&TENANT)
    }

    fn actor_of(self, tenant: &SeededTenant) -> Actor {
        let (id, role) = match self {
            Self::Dispatcher => ("usr_dispatcher", Role::Dispatcher),
            Self::Technician => ("usr_technician", Role::Technician),
            Self::Qa => ("usr_qa", Role::Qa),
            Self::Billing => ("usr_billing", Role::Billing),
        };
        Actor {
            tenant_id: tenant.tenant_id,
            id: id.to_owned(),
            kind: ActorKind::Person,
            roles: BTreeSet::from([role]),
            technician_id: (self == Self::Technician).then(|| tenant.technicians[0]),
        }
    }
}

/// One command of a life.
#[derive(Debug, Clone)]
pub struct Step {
    /// Who sends it.
    pub who: Who,
    /// What is asked for.
    pub command: Command,
    /// Which operation that is.
    pub operation: Operation,
    /// The body as it goes over the wire.
    pub body: String,
    /// The sender's token.
    pub token: String,
}

/// Five commands of a dispatcher: a creation, three changes, a note.
pub fn short(now: DateTime<Utc>) -> Result<Vec<Step>> {
    short_of(&TENANT, now)
}

/// The same in this tenant.
pub fn short_of(tenant: &SeededTenant, now: DateTime<Utc>) -> Result<Vec<Step>> {
    let who = Who::Dispatcher;
    [
        (who, create_in(tenant)?),
        (who, triage()?),
        (
            who,
            ProposeSchedule {
                window: window(now),
            }
            .into(),
        ),
        (who, ConfirmSchedule {}.into()),
        (who, note()?),
    ]
    .into_iter()
    .map(|step| step_of(tenant, step))
    .collect()
}

/// A creation.
pub fn creation() -> Result<Step> {
    step((Who::Dispatcher, create()?))
}

/// A note that can be written as often as one likes.
pub fn remark() -> Result<Step> {
    step((Who::Dispatcher, note()?))
}

/// A change that can be repeated as often as one likes.
pub fn retriage() -> Result<Step> {
    step((Who::Dispatcher, triage()?))
}

/// Intake, two visits, quality, invoice, end.
pub fn whole(now: DateTime<Utc>) -> Result<Vec<Step>> {
    use Who::*;
    let mut steps = vec![(Dispatcher, create()?), (Dispatcher, triage()?)];
    for visit in [1, 2] {
        let window = window(now + TimeDelta::hours(24 * (visit - 1)));
        let eta = Some(window.start);
        let technician_id = technician();
        steps.extend([
            (Dispatcher, ProposeSchedule { window }.into()),
            (Dispatcher, ConfirmSchedule {}.into()),
            (Dispatcher, Dispatch { technician_id, eta }.into()),
            (Technician, EnRoute { eta }.into()),
            (Technician, CheckIn {}.into()),
        ]);
        if visit == 1 {
            steps.push((Technician, return_visit()?));
        }
    }
    let evidence = evidence(&["photo_before", "photo_after", "signature"])?;
    let lines = vec![InvoiceLine {
        item: slug("call_out")?,
        quantity: 1,
        unit_cents: 9_500,
    }];
    steps.extend([
        (Technician, Complete { evidence }.into()),
        (Qa, QaVerify {}.into()),
        (Billing, GenerateInvoice { lines }.into()),
        (
            Billing,
            Close {
                no_charge_reason: None,
            }
            .into(),
        ),
    ]);
    steps.into_iter().map(step).collect()
}

fn step(step: (Who, Command)) -> Result<Step> {
    step_of(&TENANT, step)
}

fn step_of(tenant: &SeededTenant, (who, command): (Who, Command)) -> Result<Step> {
    let wire = serde_json::to_value(&command)?;
    Ok(Step {
        who,
        operation: command.operation(),
        body: wire
            .get("body")
            .context("a command has a body")?
            .to_string(),
        token: token(&who.actor_of(tenant))?,
        command,
    })
}

fn create() -> Result<Command> {
    create_in(&TENANT)
}

fn create_in(tenant: &SeededTenant) -> Result<Command> {
    let details = [
        (slug("pane_count")?, DetailValue::Number(1)),
        (slug("public_hazard")?, DetailValue::Flag(true)),
    ];
    Ok(CreateTicket {
        site_id: tenant.sites[0],
        // The pane; the one before it is a door.
        asset_id: Some(tenant.assets[1]),
        contact_id: Some(tenant.contacts[0]),
        template: TemplateId::new("emergency_glass")?,
        priority: None,
        details: details.into(),
        description: Some(FreeText::new(
            "Shopfront pane smashed, glass on the pavement.",
        )?),
    }
    .into())
}

fn triage() -> Result<Command> {
    Ok(Triage {
        priority: Priority::P1,
        template: None,
        details: [(slug("pane_count")?, DetailValue::Number(2))].into(),
    }
    .into())
}

fn note() -> Result<Command> {
    let text = FreeText::new("The caller waits in front of the shop.")?;
    Ok(AddNote { text }.into())
}

fn return_visit() -> Result<Command> {
    Ok(ReturnVisit {
        reason: slug("pane_to_be_ordered")?,
        parts: vec![Part {
            sku: slug("laminated_pane_8mm")?,
            quantity: 1,
        }],
        evidence: evidence(&["photo_before", "photo_made_safe"])?,
    }
    .into())
}

fn window(now: DateTime<Utc>) -> TimeWindow {
    TimeWindow {
        start: now + TimeDelta::hours(12),
        end: now + TimeDelta::hours(15),
    }
}

fn technician() -> TechnicianId {
    TENANT.technicians[0]
}

fn evidence(kinds: &[&str]) -> Result<Vec<EvidenceRef>> {
    kinds
        .iter()
        .map(|kind| {
            Ok(EvidenceRef {
                kind: slug(kind)?,
                sha256: "0d".repeat(32),
            })
        })
        .collect()
}

fn slug(text: &str) -> Result<Slug> {
    Ok(Slug::new(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_life_has_seventeen_commands() {
        let steps = whole(Utc::now()).unwrap();
        assert_eq!(steps.len(), 17);
        assert!(
            steps
                .iter()
                .all(|s| s.operation.class() == CommandClass::Change)
        );
        assert_eq!(steps.last().unwrap().operation, Operation::Close);
    }
}
