//! What the policy is asked about in the tests: a ticket and a body for each operation that meet
//! every rule, so that a test spoils exactly one thing.

use std::collections::BTreeMap;

use contracts::{
    ActorKind, Command, Operation, Role, Slug, TemplateId, TicketState,
    approval::{ApprovalKind, StepKind, Verdict},
    autonomy::StageTarget,
    command::*,
    comms::Channel,
    event::AutonomyMode,
    ids::*,
    kill_switch::KillScope,
    masking::masked,
    policy::{PolicyActor, PolicyApproval, PolicyInput, PolicyReport, PolicyTicket},
    proposal::{Advice, AdvisorInput, TriageInput},
    schedule::{GeoPoint, TenantSettings, TimeWindow, WorkCalendar},
    sla::SlaRecordKind,
    tenant::{ExportStep, TenantLimits},
    ticket::{InvoiceLine, Priority},
    value::{
        AccountName, Currency, DetailValue, FreeText, KeyHash, KeyPrefix, Locale, MediaType,
        MessageText, PeerAddress, ProviderMessageId,
    },
};
use serde_json::Value;

pub fn id<T: std::str::FromStr>(prefix: &str, n: u8) -> T
where
    T::Err: std::fmt::Debug,
{
    format!("{prefix}_{n:032x}").parse().unwrap()
}

pub fn slug(text: &str) -> Slug {
    Slug::new(text).unwrap()
}

pub fn template(text: &str) -> TemplateId {
    TemplateId::new(text).unwrap()
}

pub fn line(quantity: u32, unit_cents: i64) -> InvoiceLine {
    InvoiceLine {
        item: slug("labour"),
        quantity,
        unit_cents,
    }
}

pub fn window() -> TimeWindow {
    TimeWindow {
        start: "2026-11-23T08:00:00Z".parse().unwrap(),
        end: "2026-11-23T10:00:00Z".parse().unwrap(),
    }
}

pub const PLACE: GeoPoint = GeoPoint {
    lat_e6: 52_370_000,
    lon_e6: 4_890_000,
};

pub fn calendar() -> WorkCalendar {
    WorkCalendar {
        time_zone: "Europe/Amsterdam".into(),
        week: vec![vec![(480, 1020)]; 5],
        days_off: vec![],
    }
}

pub fn details() -> BTreeMap<Slug, DetailValue> {
    BTreeMap::from([
        (slug("pane_count"), DetailValue::Number(2)),
        (slug("public_hazard"), DetailValue::Flag(false)),
    ])
}

/// Dispatch, for tickets of every risk class.
pub fn dispatch_stage() -> StageTarget {
    StageTarget {
        operation: Operation::Dispatch,
        risk: None,
    }
}

/// A gate report that is good enough for any stage above SHADOW.
pub fn gate_report() -> PolicyReport {
    PolicyReport {
        kind: "gate".into(),
        age_minutes: 10,
        subject: dispatch_stage().key(),
        figures: [
            ("from_mode", 1),
            ("window_minutes", 28 * 1440),
            ("sample", 500),
            ("agreement_permille", 950),
            ("denied_permille", 0),
            ("overridden_permille", 0),
            ("breaches", 0),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
    }
}

/// A command of each operation that meets every rule.
pub fn command(operation: Operation) -> Command {
    let reason = slug("customer_request");
    match operation {
        Operation::CreateTicket => CreateTicket {
            site_id: id("sit", 1),
            asset_id: None,
            contact_id: None,
            template: template("emergency_glass"),
            priority: None,
            details: BTreeMap::new(),
            description: None,
        }
        .into(),
        Operation::Triage => Triage {
            priority: Priority::P1,
            template: None,
            details: BTreeMap::new(),
        }
        .into(),
        Operation::ProposeSchedule => ProposeSchedule { window: window() }.into(),
        Operation::ConfirmSchedule => ConfirmSchedule {}.into(),
        Operation::Reschedule => Reschedule {
            window: window(),
            reason,
        }
        .into(),
        Operation::Dispatch => Dispatch {
            technician_id: id("tec", 1),
            eta: None,
        }
        .into(),
        Operation::Unassign => Unassign { reason }.into(),
        Operation::EnRoute => EnRoute { eta: None }.into(),
        Operation::CheckIn => CheckIn {}.into(),
        Operation::NoAccess => NoAccess { reason }.into(),
        Operation::RequestChange => RequestChange {
            scope: slug("second_pane"),
            price_delta_cents: 10_000,
            note: None,
        }
        .into(),
        Operation::DecideApproval => DecideApproval {
            approval_id: id("apr", 1),
            verdict: Verdict::Approve,
            reason: None,
            version: None,
        }
        .into(),
        Operation::ReturnVisit => ReturnVisit {
            reason,
            parts: vec![],
            evidence: vec![],
        }
        .into(),
        Operation::Complete => Complete { evidence: vec![] }.into(),
        Operation::QaVerify => QaVerify {}.into(),
        Operation::QaReject => QaReject {
            reasons: vec![reason],
        }
        .into(),
        Operation::GenerateInvoice => GenerateInvoice {
            lines: vec![line(1, 80_000)],
        }
        .into(),
        Operation::Close => Close {
            no_charge_reason: None,
        }
        .into(),
        Operation::Reopen => Reopen { reason }.into(),
        Operation::Cancel => Cancel { reason }.into(),
        Operation::Merge => Merge { into: id("tkt", 2) }.into(),
        Operation::CustomerAwait => CustomerAwait { reason }.into(),
        Operation::CustomerResume => CustomerResume {}.into(),
        Operation::AddNote => AddNote {
            text: FreeText::new("The shutter is down.").unwrap(),
        }
        .into(),
        Operation::RecordProposal => RecordProposal {
            based_on_version: 1,
            applied_seq: 1,
            input: AdvisorInput::Triage(TriageInput {
                version: 1,
                at: at(),
                template: template("emergency_glass"),
                default_priority: Priority::P1,
                priority: Priority::P1,
                details: details(),
                required_details: vec![],
            }),
            advice: Advice {
                advisor: slug("triage_v1"),
                ranked: vec![],
                excluded: vec![],
            },
        }
        .into(),
        Operation::AddEvidence => AddEvidence {
            kind: slug("photo_before"),
            sha256: "0".repeat(64),
            media_type: MediaType::new("image/jpeg").unwrap(),
            size_bytes: 1,
            taken_at: None,
        }
        .into(),
        Operation::CommsInbound => CommsInbound {
            channel: Channel::Sms,
            provider: slug("gateway"),
            provider_message_id: ProviderMessageId::new("1").unwrap(),
            peer: PeerAddress::new("+31201234567").unwrap(),
            provider_time: None,
            text: MessageText::new("The pane broke.").unwrap(),
            site_id: None,
            template: None,
            raw: None,
        }
        .into(),
        Operation::CommsOutbound => CommsOutbound {
            ticket_id: id("tkt", 1),
            contact_id: id("con", 1),
            channel: Channel::Sms,
            text: FreeText::new("We are on our way.").unwrap(),
            send_at: None,
            only_while: None,
        }
        .into(),
        Operation::AttachMessage => AttachMessage {
            message_id: id("msg", 1),
        }
        .into(),
        Operation::UpsertSite => UpsertSite {
            code: slug("bakery"),
            location: PLACE,
            active: true,
        }
        .into(),
        Operation::UpsertAsset => UpsertAsset {
            code: slug("bakery_door"),
            site_id: id("sit", 1),
            kind: slug("sliding_door"),
            active: true,
        }
        .into(),
        Operation::UpsertContact => UpsertContact {
            code: slug("bakery_owner"),
            site_id: None,
            name: None,
            phone: None,
            email: None,
            street: None,
        }
        .into(),
        Operation::UpsertTechnician => UpsertTechnician {
            code: slug("north_1"),
            contact_id: id("con", 1),
            skills: vec![],
            home_base: PLACE,
            calendar: calendar(),
            active: true,
        }
        .into(),
        Operation::RecordAbsence => RecordAbsence {
            technician_id: id("tec", 1),
            window: window(),
            reason,
        }
        .into(),
        Operation::CancelAbsence => CancelAbsence {
            technician_id: id("tec", 1),
            starts_at: window().start,
        }
        .into(),
        Operation::EngageKillSwitch => EngageKillSwitch {
            reason,
            scope: KillScope::Tenant,
            expires_at: None,
        }
        .into(),
        Operation::ReleaseKillSwitch => ReleaseKillSwitch {
            reason,
            scope: KillScope::Tenant,
        }
        .into(),
        Operation::SetTicketAutonomy => SetTicketAutonomy {
            opt_out: true,
            reason,
        }
        .into(),
        Operation::AmendApproval => AmendApproval {
            approval_id: id("apr", 1),
            body: serde_json::json!({}),
            reason,
        }
        .into(),
        Operation::WithdrawApproval => WithdrawApproval {
            approval_id: id("apr", 1),
            reason,
        }
        .into(),
        Operation::ChangeApprovalDue => ChangeApprovalDue {
            approval_id: id("apr", 1),
            expires_at: window().end,
            reason,
        }
        .into(),
        Operation::RecordApprovalStep => RecordApprovalStep {
            approval_id: id("apr", 1),
            version: 1,
            step: StepKind::Reminder,
            at: at(),
            applied_seq: 1,
        }
        .into(),
        Operation::ExecuteApproval => ExecuteApproval {
            approval_id: id("apr", 1),
            version: 1,
            applied_seq: 1,
            override_kill_switch: None,
        }
        .into(),
        Operation::ClaimApproval => ClaimApproval {
            approval_id: id("apr", 1),
            minutes: 15,
        }
        .into(),
        Operation::ReleaseApproval => ReleaseApproval {
            approval_id: id("apr", 1),
        }
        .into(),
        Operation::TakeOverApproval => TakeOverApproval {
            approval_id: id("apr", 1),
            reason,
            minutes: 15,
        }
        .into(),
        Operation::CommentApproval => CommentApproval {
            approval_id: id("apr", 1),
            text: FreeText::new("Wait for the glass.").unwrap(),
        }
        .into(),
        Operation::RecordDrill => RecordDrill {
            scope: KillScope::Tenant,
            clients: 4,
            engaged_at: at(),
            stop_millis: 40,
            attempts: 10,
            passed: 0,
        }
        .into(),
        Operation::DelegateApprovals => DelegateApprovals {
            to: "deputy".into(),
            roles: vec![Role::Approver],
            from: window().start,
            until: window().end,
            reason,
        }
        .into(),
        Operation::RevokeDelegation => RevokeDelegation {
            delegation_id: id("dlg", 1),
        }
        .into(),
        Operation::RecordGateReport => RecordGateReport {
            target: dispatch_stage(),
            since: at(),
            until: window().start,
        }
        .into(),
        Operation::PromoteStage => PromoteStage {
            target: dispatch_stage(),
            to: AutonomyMode::Approve,
            percent: None,
            report_sha256: Some("0".repeat(64)),
            effective_at: None,
            reason,
        }
        .into(),
        Operation::DemoteStage => DemoteStage {
            target: dispatch_stage(),
            to: AutonomyMode::Shadow,
            percent: None,
            reason,
        }
        .into(),
        Operation::ApplyStageChange => ApplyStageChange {
            change: id("cmd", 1),
        }
        .into(),
        Operation::UploadBundle => UploadBundle {
            archive: "AA==".into(),
        }
        .into(),
        Operation::ActivateBundle => ActivateBundle {
            sha256: "0".repeat(64),
            report: None,
            reason,
        }
        .into(),
        Operation::CreateTenant => CreateTenant {
            slug: slug("canal_glass"),
            calendar: Some(calendar()),
            currency: None,
            quiet_hours: None,
            locale: None,
            templates: None,
        }
        .into(),
        Operation::ConfigureTenant => ConfigureTenant {
            tenant_id: id("ten", 1),
            calendar: calendar(),
            currency: Currency::new("EUR").unwrap(),
            quiet_hours: None,
            locale: Locale::new("nl").unwrap(),
            templates: None,
        }
        .into(),
        Operation::SuspendTenant => SuspendTenant {
            tenant_id: id("ten", 1),
            reason,
        }
        .into(),
        Operation::ResumeTenant => ResumeTenant {
            tenant_id: id("ten", 1),
            reason,
        }
        .into(),
        Operation::RequestTenantDeletion => RequestTenantDeletion {
            tenant_id: id("ten", 1),
            reason,
            grace_days: 30,
        }
        .into(),
        Operation::CancelTenantDeletion => CancelTenantDeletion {
            tenant_id: id("ten", 1),
            reason,
        }
        .into(),
        Operation::UpsertServiceAccount => UpsertServiceAccount {
            code: slug("erp"),
            name: AccountName::new("Accounting").unwrap(),
            kind: ActorKind::Integration,
            roles: [Role::Dispatcher].into(),
            any_tenant: false,
            active: None,
        }
        .into(),
        Operation::DisableServiceAccount => DisableServiceAccount {
            service_account_id: id("sva", 1),
            reason,
        }
        .into(),
        Operation::IssueApiKey => IssueApiKey {
            service_account_id: id("sva", 1),
            prefix: KeyPrefix::new("Ab3dEf7h9J").unwrap(),
            key_hash: KeyHash::new("0".repeat(64)).unwrap(),
            scopes: ["command:create_ticket".parse().unwrap()].into(),
            expires_at: at(),
        }
        .into(),
        Operation::RotateApiKey => RotateApiKey {
            api_key_id: id("key", 1),
            prefix: KeyPrefix::new("Ab3dEf7h9J").unwrap(),
            key_hash: KeyHash::new("0".repeat(64)).unwrap(),
            expires_at: at(),
            overlap_seconds: 3_600,
        }
        .into(),
        Operation::RevokeApiKey => RevokeApiKey {
            api_key_id: id("key", 1),
            reason,
        }
        .into(),
        Operation::EraseTenant => EraseTenant {
            tenant_id: id("ten", 1),
        }
        .into(),
        Operation::LimitTenant => LimitTenant {
            tenant_id: id("ten", 1),
            limits: TenantLimits {
                open_tickets: Some(1_000),
                ..TenantLimits::default()
            },
            reason,
        }
        .into(),
        Operation::RecordTenantExport => RecordTenantExport {
            tenant_id: id("ten", 1),
            step: ExportStep::Begun,
            begun_by: None,
            rows: None,
        }
        .into(),
        Operation::RecordSla => RecordSla {
            clock: slug("response"),
            kind: SlaRecordKind::Warning,
            revision: 1,
            effective_at: at(),
            applied_seq: 1,
        }
        .into(),
    }
}

pub fn at() -> chrono::DateTime<chrono::Utc> {
    "2026-11-21T09:00:00Z".parse().unwrap()
}

pub fn ticket() -> PolicyTicket {
    PolicyTicket {
        id: id("tkt", 1),
        state: TicketState::OnSite,
        version: 7,
        template: template("emergency_glass"),
        priority: Priority::P1,
        details: details(),
        nte_cents: 80_000,
        technician_id: Some(id("tec", 1)),
        visit: 2,
        evidence: [
            "photo_before",
            "photo_made_safe",
            "photo_after",
            "signature",
        ]
        .map(slug)
        .into(),
        customer_awaited: false,
        held_by_software: 0,
    }
}

pub fn actor(kind: ActorKind, roles: &[Role]) -> PolicyActor {
    PolicyActor {
        id: "someone".into(),
        kind,
        roles: roles.iter().copied().collect(),
        technician_id: roles
            .contains(&Role::Technician)
            .then(|| id::<TechnicianId>("tec", 1)),
    }
}

pub fn person(role: Role) -> PolicyActor {
    actor(ActorKind::Person, &[role])
}

pub fn ask(actor: PolicyActor, command: Command) -> PolicyInput {
    let operation = command.operation();
    PolicyInput {
        v: 1,
        operation,
        at: at(),
        body: body(&command),
        ticket: operation.path().contains("{id}").then(ticket),
        approval: command.approval_id().map(|id| PolicyApproval {
            id,
            kind: ApprovalKind::ChangeOrder,
            requested_by: match operation {
                // The two that are for whoever asked.
                Operation::AmendApproval | Operation::WithdrawApproval => actor.id.clone(),
                _ => "technician-1".into(),
            },
            required_roles: vec![Role::Approver, Role::AccountManager],
            operation: Some(Operation::RequestChange),
            claimed_by: None,
        }),
        tenant: TenantSettings {
            calendar: calendar(),
            currency: "EUR".into(),
            quiet_hours: None,
        },
        autonomy: AutonomyMode::Shadow,
        kill_switch: false,
        kill_switches: Vec::new(),
        kill_switch_override: None,
        stage: None,
        release: None,
        hour: None,
        report: (operation == Operation::PromoteStage).then(gate_report),
        lent: Vec::new(),
        actor,
    }
}

/// The body as dispatch-api hands it over.
fn body(command: &Command) -> Value {
    let sent = serde_json::to_value(command).unwrap()["body"].take();
    masked(command.operation(), sent, |_| true)
}
