//! The schemas as the code has them.

use std::collections::{BTreeMap, BTreeSet};

use dispatch_contracts::{
    Operation, Problem,
    command::*,
    comms::WebhookMessage,
    event::{EventType, TicketEvent},
    filing::FilingReceipt,
    policy::{PolicyDecision, PolicyInput},
    signal::{SignalEnvelope, TicketSnapshot, TicketWorkflowStart},
    template::IncidentTemplate,
};
use schemars::{JsonSchema, schema_for};
use serde_json::{Map, Value};
use strum::VariantArray;

pub fn event_file(name: &str, version: u64) -> String {
    format!("events/{name}.v{version}.json")
}

/// All schemas by file.
pub fn all() -> BTreeMap<String, Value> {
    let mut documents = events();
    for operation in Operation::VARIANTS {
        let file = format!("commands/{operation}.json");
        documents.insert(file.clone(), named(&file, body(*operation)));
    }
    for (file, schema) in [
        ("command_receipt.json", of::<CommandReceipt>()),
        ("filing_receipt.json", of::<FilingReceipt>()),
        ("problem.json", of::<Problem>()),
        ("policy/input.json", of::<PolicyInput>()),
        ("policy/decision.json", of::<PolicyDecision>()),
        ("policy/incident_template.json", of::<IncidentTemplate>()),
        ("webhook_message.json", of::<WebhookMessage>()),
        ("workflow/signal.json", of::<SignalEnvelope>()),
        ("workflow/snapshot.json", of::<TicketSnapshot>()),
        ("workflow/start.json", of::<TicketWorkflowStart>()),
    ] {
        documents.insert(file.to_owned(), named(file, schema));
    }
    documents
}

/// One schema per event: its variant of [`TicketEvent`] with the definitions that it uses.
pub fn events() -> BTreeMap<String, Value> {
    let whole = of::<TicketEvent>();
    let variants = whole["oneOf"].as_array().expect("a tagged enum is a oneOf");
    EventType::VARIANTS
        .iter()
        .map(|event| {
            let variant = variants
                .iter()
                .find(|variant| variant["properties"]["type"]["const"] == event.name())
                .unwrap_or_else(|| panic!("{} has a schema", event.name()));
            let mut schema = Map::new();
            schema.insert("$schema".into(), whole["$schema"].clone());
            schema.insert("title".into(), event.name().into());
            schema.extend(variant.as_object().expect("a schema is an object").clone());
            let mut used = BTreeMap::new();
            collect_definitions(variant, &whole["$defs"], &mut used);
            if !used.is_empty() {
                schema.insert("$defs".into(), used.into_iter().collect());
            }
            let file = event_file(event.name(), event.version().into());
            (file.clone(), named(&file, Value::Object(schema)))
        })
        .collect()
}

fn of<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

fn named(file: &str, mut schema: Value) -> Value {
    let name = file.strip_suffix(".json").unwrap_or(file);
    schema["$id"] = format!("urn:real-dispatch:schema:{name}").into();
    schema
}

fn collect_definitions(schema: &Value, all: &Value, used: &mut BTreeMap<String, Value>) {
    let mut names = BTreeSet::new();
    references(schema, &mut names);
    for name in names {
        if !used.contains_key(&name) {
            used.insert(name.clone(), all[&name].clone());
            collect_definitions(&all[&name], all, used);
        }
    }
}

fn references(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(name) = map
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|target| target.strip_prefix("#/$defs/"))
            {
                found.insert(name.to_owned());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn body(operation: Operation) -> Value {
    match operation {
        Operation::CreateTicket => of::<CreateTicket>(),
        Operation::Triage => of::<Triage>(),
        Operation::ProposeSchedule => of::<ProposeSchedule>(),
        Operation::ConfirmSchedule => of::<ConfirmSchedule>(),
        Operation::Reschedule => of::<Reschedule>(),
        Operation::Dispatch => of::<Dispatch>(),
        Operation::Unassign => of::<Unassign>(),
        Operation::EnRoute => of::<EnRoute>(),
        Operation::CheckIn => of::<CheckIn>(),
        Operation::NoAccess => of::<NoAccess>(),
        Operation::RequestChange => of::<RequestChange>(),
        Operation::DecideApproval => of::<DecideApproval>(),
        Operation::ReturnVisit => of::<ReturnVisit>(),
        Operation::Complete => of::<Complete>(),
        Operation::QaVerify => of::<QaVerify>(),
        Operation::QaReject => of::<QaReject>(),
        Operation::GenerateInvoice => of::<GenerateInvoice>(),
        Operation::Close => of::<Close>(),
        Operation::Reopen => of::<Reopen>(),
        Operation::Cancel => of::<Cancel>(),
        Operation::Merge => of::<Merge>(),
        Operation::CustomerAwait => of::<CustomerAwait>(),
        Operation::CustomerResume => of::<CustomerResume>(),
        Operation::AddNote => of::<AddNote>(),
        Operation::RecordProposal => of::<RecordProposal>(),
        Operation::RecordSla => of::<RecordSla>(),
        Operation::AddEvidence => of::<AddEvidence>(),
        Operation::CommsInbound => of::<CommsInbound>(),
        Operation::CommsOutbound => of::<CommsOutbound>(),
        Operation::AttachMessage => of::<AttachMessage>(),
        Operation::UpsertSite => of::<UpsertSite>(),
        Operation::UpsertAsset => of::<UpsertAsset>(),
        Operation::UpsertContact => of::<UpsertContact>(),
        Operation::UpsertTechnician => of::<UpsertTechnician>(),
        Operation::RecordAbsence => of::<RecordAbsence>(),
        Operation::CancelAbsence => of::<CancelAbsence>(),
        Operation::EngageKillSwitch => of::<EngageKillSwitch>(),
        Operation::ReleaseKillSwitch => of::<ReleaseKillSwitch>(),
        Operation::SetTicketAutonomy => of::<SetTicketAutonomy>(),
        Operation::AmendApproval => of::<AmendApproval>(),
        Operation::WithdrawApproval => of::<WithdrawApproval>(),
        Operation::ChangeApprovalDue => of::<ChangeApprovalDue>(),
        Operation::RecordApprovalStep => of::<RecordApprovalStep>(),
        Operation::ExecuteApproval => of::<ExecuteApproval>(),
        Operation::ClaimApproval => of::<ClaimApproval>(),
        Operation::ReleaseApproval => of::<ReleaseApproval>(),
        Operation::TakeOverApproval => of::<TakeOverApproval>(),
        Operation::CommentApproval => of::<CommentApproval>(),
        Operation::RecordDrill => of::<RecordDrill>(),
        Operation::DelegateApprovals => of::<DelegateApprovals>(),
        Operation::RevokeDelegation => of::<RevokeDelegation>(),
        Operation::RecordGateReport => of::<RecordGateReport>(),
        Operation::PromoteStage => of::<PromoteStage>(),
        Operation::DemoteStage => of::<DemoteStage>(),
        Operation::ApplyStageChange => of::<ApplyStageChange>(),
        Operation::UploadBundle => of::<UploadBundle>(),
        Operation::ActivateBundle => of::<ActivateBundle>(),
        Operation::CreateTenant => of::<CreateTenant>(),
        Operation::ConfigureTenant => of::<ConfigureTenant>(),
        Operation::SuspendTenant => of::<SuspendTenant>(),
        Operation::ResumeTenant => of::<ResumeTenant>(),
        Operation::RequestTenantDeletion => of::<RequestTenantDeletion>(),
        Operation::CancelTenantDeletion => of::<CancelTenantDeletion>(),
        Operation::EraseTenant => of::<EraseTenant>(),
        Operation::LimitTenant => of::<LimitTenant>(),
        Operation::RecordTenantExport => of::<RecordTenantExport>(),
        Operation::UpsertServiceAccount => of::<UpsertServiceAccount>(),
        Operation::DisableServiceAccount => of::<DisableServiceAccount>(),
        Operation::IssueApiKey => of::<IssueApiKey>(),
        Operation::RotateApiKey => of::<RotateApiKey>(),
        Operation::RevokeApiKey => of::<RevokeApiKey>(),
    }
}
