//! Filings: commands about something other than a ticket, and what they lead to.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    approval::ApprovalState,
    autonomy::StageTarget,
    command::Operation,
    comms::Routing,
    event::AutonomyMode,
    ids::*,
    kill_switch::KillScope,
    policy::BundleRef,
    schedule::TimeWindow,
    service_account::AccountState,
    tenant::{ExportStep, TenantState},
    ticket::Ticket,
    value::KeyPrefix,
    value::Slug,
};

/// What a filing led to: the change in its audit row, and the answer to its caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data")]
pub enum Filed {
    /// A site was written.
    #[serde(rename = "site.upserted")]
    Site {
        /// Which.
        site_id: SiteId,
        /// Its name in files and filters.
        code: Slug,
    },
    /// A thing at a site was written.
    #[serde(rename = "asset.upserted")]
    Asset {
        /// Which.
        asset_id: AssetId,
        /// Its name in files and filters.
        code: Slug,
    },
    /// A person at the customer's was written.
    #[serde(rename = "contact.upserted")]
    Contact {
        /// Which.
        contact_id: ContactId,
        /// Their name in files and filters: no name of a person.
        code: Slug,
    },
    /// A technician was written.
    #[serde(rename = "technician.upserted")]
    Technician {
        /// Which.
        technician_id: TechnicianId,
        /// Their name in files and filters: no name of a person.
        code: Slug,
    },
    /// A technician will be away.
    #[serde(rename = "absence.recorded")]
    AbsenceRecorded {
        /// Who.
        technician_id: TechnicianId,
        /// When.
        window: TimeWindow,
    },
    /// A technician will be there after all.
    #[serde(rename = "absence.cancelled")]
    AbsenceCancelled {
        /// Who.
        technician_id: TechnicianId,
        /// When they would have been away.
        window: TimeWindow,
    },
    /// Software stops acting for this tenant.
    #[serde(rename = "kill_switch.engaged")]
    KillSwitchEngaged {
        /// Rises with each turn.
        generation: u64,
        /// Why.
        reason: Slug,
        /// Where.
        #[serde(default)]
        scope: KillScope,
        /// When it releases itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<DateTime<Utc>>,
        /// What whoever engaged it should look at: it stops less than it may seem to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    /// Software may act again.
    #[serde(rename = "kill_switch.released")]
    KillSwitchReleased {
        /// Rises with each turn.
        generation: u64,
        /// Why.
        reason: Slug,
        /// Where.
        #[serde(default)]
        scope: KillScope,
    },
    /// A message came in.
    #[serde(rename = "message.received")]
    Message {
        /// Which; for a duplicate the first one.
        message_id: MessageId,
        /// Where it belongs.
        routing: Routing,
    },
    /// A drill of the kill switch was kept.
    #[serde(rename = "kill_switch.drilled")]
    Drilled {
        /// From the engaging to the last effect of software, in milliseconds.
        stop_millis: u64,
        /// Whether nothing passed.
        passed: bool,
    },
    /// A right to decide was lent.
    #[serde(rename = "delegation.made")]
    Delegated {
        /// Under which id.
        delegation_id: DelegationId,
    },
    /// It was taken back.
    #[serde(rename = "delegation.revoked")]
    DelegationRevoked {
        /// Which.
        delegation_id: DelegationId,
    },
    /// A report was kept.
    #[serde(rename = "report.kept")]
    Report {
        /// Over its canonical content.
        sha256: String,
    },
    /// A stage was set.
    #[serde(rename = "stage.set")]
    StageSet {
        /// What.
        target: StageTarget,
        /// From how far.
        from: AutonomyMode,
        /// How far.
        to: AutonomyMode,
        /// The share of tickets, for CANARY.
        percent: Option<u8>,
        /// From when on, when it is not at once.
        effective_at: Option<DateTime<Utc>>,
    },
    /// A bundle was kept.
    #[serde(rename = "bundle.uploaded")]
    BundleUploaded {
        /// Which.
        bundle: BundleRef,
    },
    /// Another bundle decides.
    #[serde(rename = "bundle.activated")]
    BundleActivated {
        /// Which.
        bundle: BundleRef,
        /// The one before it.
        previous: Option<String>,
    },
    /// A tenant was made, set up, or stands elsewhere in its life.
    #[serde(rename = "tenant.written")]
    Tenant {
        /// Which.
        tenant_id: TenantId,
        /// Its name.
        slug: Slug,
        /// Where it stands now.
        state: TenantState,
        /// From when on it may be erased, while it is being deleted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        erase_after: Option<DateTime<Utc>>,
    },
    /// A service account was written.
    #[serde(rename = "service_account.written")]
    ServiceAccount {
        /// Which.
        service_account_id: ServiceAccountId,
        /// Its name in files and records.
        code: Slug,
        /// Whether its keys are good.
        state: AccountState,
    },
    /// A service account has another key.
    #[serde(rename = "api_key.issued")]
    ApiKeyIssued {
        /// Whose.
        service_account_id: ServiceAccountId,
        /// Which.
        api_key_id: ApiKeyId,
        /// The part of it that may be shown.
        prefix: KeyPrefix,
        /// When it ends.
        expires_at: DateTime<Utc>,
    },
    /// A service account has a key in the place of another.
    #[serde(rename = "api_key.rotated")]
    ApiKeyRotated {
        /// Whose.
        service_account_id: ServiceAccountId,
        /// The new one.
        api_key_id: ApiKeyId,
        /// The part of it that may be shown.
        prefix: KeyPrefix,
        /// When the new one ends.
        expires_at: DateTime<Utc>,
        /// The one before.
        replaces: ApiKeyId,
        /// When that one ends.
        replaced_ends_at: DateTime<Utc>,
    },
    /// A key was taken back.
    #[serde(rename = "api_key.revoked")]
    ApiKeyRevoked {
        /// Whose.
        service_account_id: ServiceAccountId,
        /// Which.
        api_key_id: ApiKeyId,
    },
    /// A copy of all that is kept of a tenant is made, or ended.
    #[serde(rename = "tenant.exported")]
    TenantExport {
        /// Which.
        tenant_id: TenantId,
        /// How far it came.
        step: ExportStep,
        /// The command that put its beginning on record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begun_by: Option<CommandId>,
        /// Rows that were handed over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rows: Option<u64>,
    },
    /// A filing is held until people decide.
    #[serde(rename = "approval.requested")]
    Held {
        /// The approval.
        approval_id: ApprovalId,
        /// What is to be carried out.
        operation: Operation,
        /// Of the facts it was asked on; lowercase hex.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        facts_sha256: Option<String>,
        /// When it ends, where that is before the end of its plan: with the report that it rests on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_at: Option<DateTime<Utc>>,
    },
    /// Something became of an approval that has no ticket.
    #[serde(rename = "approval.changed")]
    ApprovalChanged {
        /// Which.
        approval_id: ApprovalId,
        /// Where it stands now.
        state: ApprovalState,
        /// What was carried out with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        executed: Option<Box<Filed>>,
    },
}

/// The answer to a filing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilingReceipt {
    /// This attempt.
    pub command_id: CommandId,
    /// The policy decision that let it pass.
    pub decision_id: DecisionId,
    /// The version of the thing before; 0 when it is new. For a message that of its ticket.
    pub applied_to_version: u64,
    /// Its version afterwards.
    pub produced_version: u64,
    /// `true`: nothing was changed, this is what would have happened.
    #[serde(default)]
    pub dry_run: bool,
    /// What it led to.
    pub filed: Filed,
    /// The ticket that the message belongs to, afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}
