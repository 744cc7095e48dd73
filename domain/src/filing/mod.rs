//! Filings: commands about something other than a ticket. Each thing has a version of its own.
//!
//! A refusal names the first thing that is wrong in a fixed order, as for tickets: the expected
//! version, then whether the command leads anywhere from here, then fields and facts. An upsert
//! that changes nothing raises the version like any other: it is on record as one.

mod about_approval;
mod activate_bundle;
mod apply_stage_change;
mod cancel_absence;
mod check;
mod delegate_approvals;
mod demote_stage;
mod engage_kill_switch;
mod kill_switch;
mod message;
mod promote_stage;
mod record_absence;
mod record_drill;
mod record_gate_report;
mod release_kill_switch;
mod revoke_delegation;
mod service_account;
mod stage;
mod tenant;
mod upload_bundle;
mod upsert_asset;
mod upsert_contact;
mod upsert_site;
mod upsert_technician;

#[cfg(test)]
mod notice_tests;
#[cfg(test)]
mod service_account_tests;
#[cfg(test)]
mod stage_tests;
#[cfg(test)]
mod tenant_tests;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use contracts::{
    Command, MessageId, Operation, Slug, TenantId,
    approval::Approval,
    comms::CommsRules,
    filing::Filed,
    policy::{BundleRef, PolicyReport},
    rollout::StageChange,
    schedule::TimeWindow,
    tenant::TenantState,
};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Autonomy, Effect, OutboundMessage, Rejection, Route,
    approval::{ApprovalFacts, not_asked_before},
    notices,
    rollout::{LedgerFacts, TurnedSwitch},
};

/// What a filing depends on besides the command.
#[derive(Debug, Clone, PartialEq)]
pub struct FilingFacts {
    /// The moment of the decision.
    pub now: DateTime<Utc>,
    /// For a thing that is new.
    pub fresh: Uuid,
    /// For a message that is taken in, or queued.
    pub message: MessageId,
    /// The version that the caller saw.
    pub expected_version: Option<u64>,
    /// The thing, when it is there. For an absence its technician, active or not: long leave is
    /// often why somebody is not active.
    pub known: Option<KnownThing>,
    /// Whether the site named in the body exists, active or not; `true` when none is named. So for
    /// the next one.
    pub site_known: bool,
    /// The contact.
    pub contact_known: bool,
    /// The technician's absences.
    pub absences: Vec<TimeWindow>,
    /// The kill switch.
    pub kill_switch: KillSwitch,
    /// The bundle's rules for messages.
    pub comms: CommsRules,
    /// Where an inbound message belongs.
    pub route: Option<Route>,
    /// Who acts, for what is about an approval.
    pub who: ApprovalFacts,
    /// The approval that the command is about, which has no ticket.
    pub approval: Option<Approval>,
    /// Approvals of the same proposer that hold the very command that is to be held.
    pub asked_before: Vec<Approval>,
    /// Stages and kill switches as they stand.
    pub autonomy: Autonomy,
    /// What the control plane has on record about what the body names.
    pub control: ControlFacts,
    /// The tenant in whose records the command is; for a creation the one that asks.
    pub tenant: Option<TenantFacts>,
    /// The service account that the command is about, when it is there.
    pub account: Option<AccountFacts>,
    /// Whether something of the installation has what the new thing was to have alone: a tenant its
    /// slug, a key its hash.
    pub taken: bool,
}

/// A tenant as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantFacts {
    /// Which.
    pub id: TenantId,
    /// Its name.
    pub slug: Slug,
    /// Where it stands.
    pub state: TenantState,
    /// Rises with each command about it.
    pub version: u64,
    /// From when on it may be erased.
    pub erase_after: Option<DateTime<Utc>>,
}

/// What the control plane has on record about what a filing names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ControlFacts {
    /// The report with the hash that the body names.
    pub report: Option<PolicyReport>,
    /// The bundle with the hash that the body names, or that came with it.
    pub bundle: Option<BundleRef>,
    /// The key that signed it, if it was verified.
    pub signed_by: Option<String>,
    /// SHA-256 of the bundle that decides.
    pub active_bundle: Option<String>,
    /// The delegation that the body names: who made it, and whether it was taken back.
    pub delegation: Option<(String, bool)>,
    /// The rows of a gate report, over the range that the body names.
    pub ledger: Option<LedgerFacts>,
    /// The change of a stage that the body names; for a demotion, the next that is to come of the
    /// stage.
    pub change: Option<StageChange>,
    /// The kill switches that were ever turned, when a change is to come now.
    pub turned: Vec<TurnedSwitch>,
}

/// A thing as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownThing {
    /// Its id.
    pub id: Uuid,
    /// Its version.
    pub version: u64,
    /// For an asset: its site.
    pub site: Option<Uuid>,
}

/// The tenant's kill switch as it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KillSwitch {
    /// Whether software is stopped.
    pub engaged: bool,
    /// Rises with each turn; 0 before the first.
    pub generation: u64,
    /// Nothing that it stops was ever seen.
    pub never_seen: bool,
}

/// An accepted filing.
#[derive(Debug, Clone, PartialEq)]
pub struct Filing {
    /// What it led to.
    pub filed: Filed,
    /// The thing that is written.
    pub id: Uuid,
    /// Its version before; 0 when it is new.
    pub applied_to_version: u64,
    /// Its version afterwards; the same when nothing is to be written.
    pub produced_version: u64,
    /// Whether anything is to be written.
    pub writes: bool,
    /// Messages that tell people of it.
    pub notices: Vec<OutboundMessage>,
    /// What is written of it, where that is not the command's body.
    pub row: Option<Value>,
    /// Approvals that are written with it.
    pub effects: Vec<Effect>,
    /// The command that wrote it, where that is not the one that was sent: an approval carried it
    /// out.
    pub operation: Option<Operation>,
}

impl Filing {
    /// A thing is written: its version rises.
    fn written(filed: Filed, id: Uuid, before: u64) -> Self {
        Self {
            filed,
            id,
            applied_to_version: before,
            produced_version: before + 1,
            writes: true,
            notices: Vec::new(),
            row: None,
            effects: Vec::new(),
            operation: None,
        }
    }

    /// With what people are told of the approvals that it writes.
    fn told(mut self, command: &Command, facts: &FilingFacts) -> Self {
        let notices = notices::of_filing(command, &self.effects, facts);
        self.notices.extend(notices);
        self
    }
}

pub use about_approval::ground;
pub use service_account::{AccountFacts, KeyFacts};
pub(crate) use stage::is_staged;

/// Holds a filing that could be carried out now, unless it is held already.
pub fn hold(
    command: &Command,
    approval: Approval,
    facts: &FilingFacts,
) -> Result<Filing, Rejection> {
    not_asked_before(&approval, &facts.asked_before, facts.now)?;
    Ok(about_approval::hold(command, approval, facts)?.told(command, facts))
}

/// What the last yes releases: carried out, or void with the reason why it cannot be.
pub fn release(
    command: &Command,
    inner: Result<Filing, Slug>,
    facts: &FilingFacts,
) -> Result<Filing, Rejection> {
    let filing = about_approval::release(command, inner, facts)?;
    Ok(filing.told(command, facts))
}

/// Decides a filing.
pub fn decide(command: &Command, facts: &FilingFacts) -> Result<Filing, Rejection> {
    Ok(plan(command, facts)?.told(command, facts))
}

fn plan(command: &Command, facts: &FilingFacts) -> Result<Filing, Rejection> {
    match command {
        Command::UpsertSite(body) => upsert_site::plan(body, facts),
        Command::UpsertAsset(body) => upsert_asset::plan(body, facts),
        Command::UpsertContact(body) => upsert_contact::plan(body, facts),
        Command::UpsertTechnician(body) => upsert_technician::plan(body, facts),
        Command::RecordAbsence(body) => record_absence::plan(body, facts),
        Command::CancelAbsence(body) => cancel_absence::plan(body, facts),
        Command::EngageKillSwitch(body) => engage_kill_switch::plan(body, facts),
        Command::ReleaseKillSwitch(body) => release_kill_switch::plan(body, facts),
        Command::RecordDrill(body) => record_drill::plan(body, facts),
        Command::RecordGateReport(body) => record_gate_report::plan(body, facts),
        Command::PromoteStage(body) => promote_stage::plan(body, facts),
        Command::DemoteStage(body) => demote_stage::plan(body, facts),
        Command::ApplyStageChange(body) => apply_stage_change::plan(body, facts),
        Command::CommsInbound(_) => message::plan(facts),
        Command::UploadBundle(body) => upload_bundle::plan(body, facts),
        Command::ActivateBundle(body) => activate_bundle::plan(body, facts),
        Command::CreateTenant(body) => tenant::create(body, facts),
        Command::ConfigureTenant(body) => tenant::configure(body, facts),
        Command::SuspendTenant(body) => tenant::suspend(body, facts),
        Command::ResumeTenant(_) => tenant::resume(facts),
        Command::RequestTenantDeletion(body) => tenant::request_deletion(body, facts),
        Command::CancelTenantDeletion(body) => tenant::cancel_deletion(body, facts),
        Command::EraseTenant(_) => tenant::erase(facts),
        Command::UpsertServiceAccount(body) => service_account::upsert(body, facts),
        Command::DisableServiceAccount(body) => service_account::disable(body, facts),
        Command::IssueApiKey(body) => service_account::issue(body, facts),
        Command::RotateApiKey(body) => service_account::rotate(body, facts),
        Command::RevokeApiKey(body) => service_account::revoke(body, facts),
        Command::LimitTenant(body) => tenant::limit(body, facts),
        Command::RecordTenantExport(body) => tenant::record_export(body, facts),
        Command::DelegateApprovals(body) => delegate_approvals::plan(body, facts),
        Command::RevokeDelegation(body) => revoke_delegation::plan(body, facts),
        command if command.approval_id().is_some() => about_approval::plan(command, facts),
        _ => Err(Rejection::Broken {
            what: "a rule for this filing",
        }),
    }
}
