//! What is served is what is documented: each operation is asked for real, its answer fits the schema
//! of its status, and `api/examples.json` shows such an exchange for each.
//!
//! `UPDATE_EXAMPLES=1 cargo test -p dispatch-tests --test system -- examples` writes them anew, and
//! `UPDATE_OPENAPI=1 cargo test -p dispatch-api openapi` then the document that shows them.

use std::{collections::BTreeSet, fs, path::PathBuf};

use api::PREFIX;
use chrono::{TimeDelta, Utc};
use contracts::{Command, Operation, TicketState};
use dispatch_tests::{
    filing::{DIRECTORY, example as filing},
    http::Reply,
    job::{HELD_CENTS, Job, ROUTED, SECRET_WORDS, example},
    schema::faults,
    stack::{Stack, with_api},
    who::Who,
};
use reqwest::Method;
use serde_json::{Map, Value, json};

/// Operations that are still without an example: those that need a world of their own.
const BARE: &[&str] = &[
    "activate_bundle",
    "apply_stage_change",
    "promote_stage",
    "upload_bundle",
];

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../api/examples.json")
}

fn committed() -> Map<String, Value> {
    let text = fs::read_to_string(path()).expect("api/examples.json");
    serde_json::from_str(&text).expect("examples by operation")
}

fn document() -> Value {
    let path = path().with_file_name("openapi.json");
    serde_json::from_slice(&fs::read(path).expect("api/openapi.json")).expect("a document")
}

/// All operations of the document, by id.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let items = paths.values().filter_map(Value::as_object);
    items.flat_map(|item| {
        item.values()
            .map(|operation| (operation["operationId"].as_str().expect("an id"), operation))
    })
}

fn operation<'a>(document: &'a Value, id: &str) -> &'a Value {
    let mut all = operations(document);
    let found = all.find(|(known, _)| *known == id);
    found.unwrap_or_else(|| panic!("no operation {id}")).1
}

fn answer<'a>(document: &'a Value, id: &str, status: u64) -> &'a Value {
    let answer = &operation(document, id)["responses"][status.to_string()];
    assert!(answer.is_object(), "{id} does not document {status}");
    &answer["content"]["application/json"]["schema"]
}

/// Exchanges that were had.
struct Book {
    document: Value,
    had: Map<String, Value>,
}

impl Book {
    /// Looks whether the answer is as documented, and keeps it.
    fn keep(&mut self, id: &str, request: Option<&Value>, reply: &Reply) {
        assert!(reply.status.is_success(), "{id}: {}", reply.text());
        let (status, body) = (u64::from(reply.status.as_u16()), reply.json());
        let schema = answer(&self.document, id, status);
        let found = faults(&body, schema, &self.document);
        assert!(found.is_empty(), "{id} {status}: {found:#?}\n{body:#}");
        let mut exchange = json!({ "status": status, "response": body });
        if let Some(request) = request {
            exchange["request"] = request.clone();
        }
        let kept = match status {
            202 => format!("{id} 202"),
            _ => id.to_owned(),
        };
        self.had.insert(kept, exchange);
    }

    async fn read(&mut self, stack: &Stack, id: &str, who: Who, path: String) {
        let reply = stack.ask(who, Method::GET, &path).send().await;
        self.keep(id, None, &reply);
    }
}

async fn commands(stack: &Stack, book: &mut Book) {
    let tenant = stack.tenant();
    for operation in ROUTED {
        let job = Job::ready_for(stack, tenant, *operation).await;
        let body = job.body(*operation).await;
        let who = example(*operation).who;
        let ask = stack.command(who, *operation, job.target(*operation), &body);
        let reply = ask.send().await;
        book.keep(&operation.to_string(), Some(&body), &reply);
    }
    for operation in DIRECTORY {
        let example = filing(stack, *operation).await;
        let ask = stack.command(example.who, *operation, None, &example.body);
        let reply = ask.send().await;
        book.keep(&operation.to_string(), Some(&example.body), &reply);
    }
    let job = Job::at(stack, tenant, TicketState::OnSite).await;
    let body = json!({ "scope": "shopfront", "price_delta_cents": HELD_CENTS });
    let operation = Operation::RequestChange;
    let held = stack.command(Who::Technician, operation, job.id(), &body);
    book.keep(&operation.to_string(), Some(&body), &held.send().await);
    let job = Job::at(stack, tenant, TicketState::ChangeRequested).await;
    let body = json!({ "approval_id": job.approval(), "verdict": "approve" });
    let at = format!("/tickets/{}/approval/decide", job.id());
    let ask = stack
        .ask(Who::AccountManager, Method::POST, at)
        .key("k1")
        .json(&body);
    book.keep("decide_approval_of_ticket", Some(&body), &ask.send().await);
    let job = Job::at(stack, tenant, TicketState::ChangeRequested).await;
    let body = json!({ "decisions": [{ "approval_id": job.approval(), "verdict": "approve" }] });
    let ask = stack.ask(Who::AccountManager, Method::POST, "/approvals/decide");
    let reply = ask.key("k2").json(&body).send().await;
    book.keep("decide_approvals", Some(&body), &reply);
}

/// Filings whose world is soon made.
async fn others(stack: &Stack, book: &mut Book) {
    let now = Utc::now();
    let lent = json!({
        "to": "usr_helper", "roles": ["account_manager"], "from": now,
        "until": now + TimeDelta::days(7), "reason": "leave",
    });
    let demoted =
        json!({ "target": { "operation": "triage" }, "to": "OFF", "reason": "too_early" });
    let message = json!({
        "channel": "sms", "provider": "text_gateway", "provider_message_id": "SM1",
        "peer": "+31970000000001", "text": "The pane beside the door is cracked.",
    });
    for (operation, who, body) in [
        (Operation::CommsInbound, Who::Intake, message),
        (Operation::DelegateApprovals, Who::AccountManager, lent),
        (Operation::DemoteStage, Who::TenantAdmin, demoted),
    ] {
        let reply = stack.command(who, operation, None, &body).send().await;
        book.keep(&operation.to_string(), Some(&body), &reply);
    }
    let lent = &book.had[&Operation::DelegateApprovals.to_string()]["response"];
    let operation = Operation::RevokeDelegation;
    let body = json!({ "delegation_id": lent["filed"]["data"]["delegation_id"] });
    let ask = stack.command(Who::AccountManager, operation, None, &body);
    book.keep(&operation.to_string(), Some(&body), &ask.send().await);
}

async fn reads(stack: &Stack, book: &mut Book) {
    let tenant = stack.tenant();
    let mut job = Job::ready_for(stack, tenant, Operation::AddEvidence).await;
    job.does(Operation::AddEvidence).await;
    job.does(Operation::RecordProposal).await;
    let ticket = job.id();
    let asked = Job::at(stack, tenant, TicketState::ChangeRequested).await;
    let (dispatcher, auditor) = (Who::Dispatcher, Who::Auditor);
    let (site, asset, contact) = (tenant.site, tenant.asset, tenant.contact);
    let technician = tenant.technicians[0];
    let list = stack
        .ask(auditor, Method::GET, "/decisions?limit=1")
        .send()
        .await
        .json();
    let decision = list["items"][0]["id"]
        .as_str()
        .expect("a decision")
        .to_owned();
    let list = stack
        .ask(dispatcher, Method::GET, "/comms?limit=1")
        .send()
        .await
        .json();
    let message = list["items"][0]["id"]
        .as_str()
        .expect("a message")
        .to_owned();
    let report = &book.had[&Operation::RecordGateReport.to_string()]["response"];
    let report = report["filed"]["data"]["sha256"]
        .as_str()
        .expect("a report");
    let report = format!("/rollout/reports?sha256={report}");
    let since = "since=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z";
    for (id, who, path) in [
        (
            "list_tickets",
            dispatcher,
            "/tickets?limit=1&counts=true".into(),
        ),
        ("get_ticket", dispatcher, format!("/tickets/{ticket}")),
        (
            "get_ticket_status",
            dispatcher,
            format!("/tickets/{ticket}/status"),
        ),
        (
            "get_timeline",
            auditor,
            format!("/tickets/{ticket}/timeline?limit=1"),
        ),
        (
            "list_proposals",
            dispatcher,
            format!("/tickets/{ticket}/proposals"),
        ),
        (
            "get_proposal_agreement",
            auditor,
            "/proposals/agreement".into(),
        ),
        (
            "get_snapshot",
            Who::Workflow,
            format!("/tickets/{ticket}/snapshot"),
        ),
        (
            "get_advisor_input",
            Who::Workflow,
            format!("/tickets/{ticket}/advisor-input?kind=triage"),
        ),
        (
            "list_evidence",
            dispatcher,
            format!("/tickets/{ticket}/evidence"),
        ),
        (
            "list_approvals",
            Who::AccountManager,
            "/approvals?limit=1".into(),
        ),
        (
            "get_approval",
            Who::AccountManager,
            format!("/approvals/{}", asked.approval()),
        ),
        (
            "list_delegations",
            Who::AccountManager,
            "/delegations".into(),
        ),
        ("list_sites", dispatcher, "/sites?limit=1".into()),
        ("get_site", dispatcher, format!("/sites/{site}")),
        ("list_assets", dispatcher, "/assets?limit=1".into()),
        ("get_asset", dispatcher, format!("/assets/{asset}")),
        ("list_contacts", dispatcher, "/contacts?limit=1".into()),
        ("get_contact", dispatcher, format!("/contacts/{contact}")),
        (
            "list_technicians",
            dispatcher,
            "/technicians?limit=1".into(),
        ),
        (
            "get_technician",
            dispatcher,
            format!("/technicians/{technician}"),
        ),
        (
            "get_technician_calendar",
            dispatcher,
            format!("/technicians/{technician}/calendar?from=2026-11-23&to=2026-11-25"),
        ),
        ("list_comms", dispatcher, "/comms?limit=1".into()),
        (
            "list_ticket_comms",
            dispatcher,
            format!("/tickets/{ticket}/comms"),
        ),
        ("get_comms", dispatcher, format!("/comms/{message}")),
        ("list_decisions", auditor, "/decisions?limit=1".into()),
        ("get_decision", auditor, format!("/decisions/{decision}")),
        ("get_kill_switch", dispatcher, "/kill-switch".into()),
        ("list_drills", dispatcher, "/kill-switch/drills".into()),
        ("list_policy_bundles", auditor, "/policy/bundles".into()),
        (
            "list_policy_activations",
            auditor,
            "/policy/activations".into(),
        ),
        ("get_rollout", auditor, "/rollout".into()),
        ("get_rollout_report", auditor, report),
        ("get_rollout_history", auditor, "/rollout/history".into()),
        (
            "get_rollout_ledger",
            auditor,
            format!("/rollout/ledger?operation=triage&{since}"),
        ),
        ("get_control_due", Who::Workflow, "/control/due".into()),
        ("health", dispatcher, "/health".into()),
        ("health_live", dispatcher, "/health/live".into()),
        ("health_ready", dispatcher, "/health/ready".into()),
    ] {
        book.read(stack, id, who, path).await;
    }
}

#[test]
fn what_is_served_is_what_is_documented() {
    with_api(async |stack| {
        let mut book = Book {
            document: document(),
            had: Map::new(),
        };
        commands(&stack, &mut book).await;
        others(&stack, &mut book).await;
        reads(&stack, &mut book).await;
        assert!(book.had.len() >= 80, "{}", book.had.len());
        if std::env::var_os("UPDATE_EXAMPLES").is_some() {
            let mut all = committed();
            all.extend(book.had);
            all.sort_keys();
            let text = serde_json::to_string_pretty(&all).expect("JSON");
            // What a search for leaks looks for is no example.
            let text = text.replace(SECRET_WORDS, "The pane beside the door is cracked.");
            fs::write(path(), text + "\n").expect("api/examples.json is written");
        }
    });
}

/// Examples are read as the API reads a body, and shown as the document promises an answer.
#[test]
fn every_operation_has_an_example_that_fits() {
    let (document, examples) = (document(), committed());
    let mut unused: BTreeSet<_> = examples.keys().map(String::as_str).collect();
    let mut bare = Vec::new();
    for (id, described) in operations(&document) {
        let answers_json = described["responses"]["200"]["content"]["application/json"].is_object();
        let takes = &described["requestBody"]["content"]["application/json"];
        if !answers_json || id == "get_openapi" {
            continue;
        }
        let Some(example) = examples.get(id) else {
            bare.push(id);
            continue;
        };
        for (kept, example) in [(id.to_owned(), Some(example)), {
            let held = format!("{id} 202");
            let example = examples.get(&held);
            (held, example)
        }] {
            let Some(example) = example else { continue };
            unused.remove(kept.as_str());
            let status = example["status"].as_u64().expect("a status");
            let schema = answer(&document, id, status);
            let found = faults(&example["response"], schema, &document);
            assert!(found.is_empty(), "{kept}: {found:#?}");
            assert_eq!(takes.is_object(), !example["request"].is_null(), "{kept}");
            if takes.is_object() {
                let found = faults(&example["request"], &takes["schema"], &document);
                assert!(found.is_empty(), "{kept}: {found:#?}");
            }
            if let Ok(operation) = id.parse::<Operation>() {
                let mut body = example["request"].clone();
                if operation.path().starts_with("/approvals/{id}") {
                    body["approval_id"] = format!("apr_{}", "0".repeat(32)).into();
                }
                if operation.path().starts_with("/tenants/{id}") {
                    body["tenant_id"] = format!("ten_{}", "0".repeat(32)).into();
                }
                Command::from_parts(operation, body).unwrap_or_else(|e| panic!("{kept}: {e}"));
            }
        }
        // The document shows it.
        let shown = &described["responses"][example["status"].to_string()];
        let shown = &shown["content"]["application/json"]["example"];
        assert_eq!(*shown, example["response"], "{id} under {PREFIX}");
    }
    assert!(unused.is_empty(), "examples of nothing: {unused:?}");
    bare.sort_unstable();
    assert_eq!(
        bare, BARE,
        "operations without an example in api/examples.json"
    );
}
