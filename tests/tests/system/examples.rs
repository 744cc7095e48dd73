//! What is served is what is documented: each operation is asked for real, its answer fits the schema
//! of its status, and `api/examples.json` shows such an exchange for each.
//!
//! `UPDATE_EXAMPLES=1 cargo test -p dispatch-tests --test system -- examples` writes them anew, and
//! `UPDATE_OPENAPI=1 cargo test -p dispatch-api openapi` then the document that shows them.

use std::{collections::BTreeSet, fs, path::PathBuf};

use api::PREFIX;
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{TimeDelta, Utc};
use contracts::{Command, Operation, Role, TicketState, autonomy::ControlDue, filing::Filed};
use dispatch_tests::{
    filing::{DIRECTORY, done, example as filing},
    http::{Reply, key, patiently},
    job::{HELD_CENTS, Job, ROUTED, SECRET_WORDS, example},
    schema::faults,
    stack::{Stack, with_api},
    wait::{self, BOUND},
    who::{Who, mint},
};
use policy::{Bundle, BundleFiles};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::rollout::{easy, rules, triaged};

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

/// What programs read.
const READ: [&str; 3] = ["application/json", "application/x-ndjson", "text/plain"];

/// Whose answer is not shown, and why.
const UNSHOWN: [(&str, &str); 5] = [
    ("get_openapi", "it is the document that shows all others"),
    ("get_docs", "a page for people"),
    ("get_docs_file", "what that page is made of"),
    ("get_problem", "a page for people"),
    ("list_problems", "a page for people"),
];

/// What the document says of an answer's body, if it is one that programs read.
fn content<'a>(described: &'a Value, status: &str) -> Option<&'a Value> {
    let content = &described["responses"][status]["content"];
    READ.iter().find_map(|kind| content.get(*kind))
}

fn answer<'a>(document: &'a Value, id: &str, status: u64) -> &'a Value {
    let content = content(operation(document, id), &status.to_string());
    let content = content.unwrap_or_else(|| panic!("{id} does not document {status}"));
    &content["schema"]
}

/// A body as its schema describes it: of many lines the first.
fn body(reply: &Reply) -> Value {
    let text = reply.text();
    match reply.header("content-type").unwrap_or_default() {
        kind if kind.starts_with("text/plain") => text.into(),
        kind if kind.starts_with("application/x-ndjson") => {
            let line = text.lines().next().expect("a line");
            serde_json::from_str(line).expect("a line is JSON")
        }
        _ => reply.json(),
    }
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
        let (status, body) = (u64::from(reply.status.as_u16()), body(reply));
        let schema = answer(&self.document, id, status);
        let found = faults(&body, schema, &self.document);
        assert!(found.is_empty(), "{id} {status}: {found:#?}\n{body:#}");
        let mut exchange = json!({ "status": status, "response": body });
        if let Some(request) = request {
            exchange["request"] = request.clone();
        }
        // What is always held has no other answer.
        let kept = match status {
            202 if self.had.contains_key(id) => format!("{id} 202"),
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

/// Somebody of the platform.
fn platform(stack: &Stack) -> String {
    let mut claims = Who::TenantAdmin.claims(stack.tenant(), Utc::now());
    claims.sub = "usr_platform".to_owned();
    claims.roles = [Role::PlatformAdmin].into();
    mint(&claims)
}

/// Service accounts with their keys, and what the platform and an administrator do about a tenant.
async fn machines(stack: &Stack, book: &mut Book) {
    let kept = |book: &Book, operation: Operation, member: &str| {
        book.had[&operation.to_string()]["response"]["filed"]["data"][member].clone()
    };
    let ends = Utc::now() + TimeDelta::days(30);
    let mut file = async |operation: Operation, token: &str, body: Value| {
        let path = operation
            .path()
            .replace("{id}", &stack.tenant().id.to_string());
        let ask = stack.http().post(path).token(token).key(key());
        book.keep(
            &operation.to_string(),
            Some(&body),
            &ask.json(&body).send().await,
        );
        kept(book, operation, "service_account_id")
    };
    let token = Who::TenantAdmin.token(stack.tenant());
    let account = json!({
        "code": "text_gateway", "name": "Text gateway", "kind": "integration",
    });
    let account = file(Operation::UpsertServiceAccount, &token, account).await;
    let drawn = [client::draw_api_key(), client::draw_api_key()];
    let issue = json!({
        "service_account_id": account, "prefix": drawn[0].prefix(), "key_hash": drawn[0].hash(),
        "scopes": ["command:comms_inbound"], "expires_at": ends,
    });
    file(Operation::IssueApiKey, &token, issue).await;
    let issued = kept(book, Operation::IssueApiKey, "api_key_id");
    let mut file = async |operation: Operation, token: &str, body: Value| {
        let path = operation
            .path()
            .replace("{id}", &stack.tenant().id.to_string());
        let ask = stack.http().post(path).token(token).key(key());
        book.keep(
            &operation.to_string(),
            Some(&body),
            &ask.json(&body).send().await,
        );
    };
    let rotate = json!({
        "api_key_id": issued, "prefix": drawn[1].prefix(), "key_hash": drawn[1].hash(),
        "expires_at": ends, "overlap_seconds": 3_600,
    });
    file(Operation::RotateApiKey, &token, rotate).await;
    let revoke = json!({ "api_key_id": issued, "reason": "replaced" });
    file(Operation::RevokeApiKey, &token, revoke).await;
    let disable = json!({ "service_account_id": account, "reason": "another_gateway" });
    file(Operation::DisableServiceAccount, &token, disable).await;
    let copied = json!({ "step": "begun" });
    file(Operation::RecordTenantExport, &token, copied).await;
    let limits = json!({ "limits": { "open_tickets": 500 }, "reason": "small_contract" });
    file(Operation::LimitTenant, &platform(stack), limits).await;
    let admin = Who::TenantAdmin;
    let account = account.as_str().expect("an account");
    for (id, path) in [
        ("list_service_accounts", "/service-accounts".to_owned()),
        (
            "get_service_account",
            format!("/service-accounts/{account}"),
        ),
        ("list_api_keys", "/api-keys".to_owned()),
    ] {
        book.read(stack, id, admin, path).await;
    }
}

/// How far software may go is changed later, by two people.
async fn a_stage(stack: &Stack, book: &mut Book) {
    rules(stack, easy).await;
    triaged(stack, true).await;
    let now = Utc::now();
    let target = json!({ "operation": "triage" });
    let looked = json!({ "target": target, "since": now - TimeDelta::days(7), "until": now });
    let report = done(
        stack,
        Operation::RecordGateReport,
        Who::TenantAdmin,
        &looked,
    )
    .await;
    let Filed::Report { sha256 } = report.filed else {
        panic!("{report:?}");
    };
    let body = json!({
        "target": target, "to": "APPROVE", "reason": "good_figures", "report_sha256": sha256,
        "effective_at": Utc::now() + TimeDelta::milliseconds(500),
    });
    let operation = Operation::PromoteStage;
    let ask = stack.command(Who::TenantAdmin, operation, None, &body);
    let reply = ask.send().await;
    book.keep(&operation.to_string(), Some(&body), &reply);
    let approval = reply.json()["approval"]["id"].clone();
    let yes = json!({ "approval_id": approval, "verdict": "approve" });
    let said = stack.command(Who::AccountManager, Operation::DecideApproval, None, &yes);
    let said = said.send().await;
    assert_eq!(said.status, 200, "{}", said.text());
    let due = wait::until("the change is due", BOUND, async || {
        let due = stack
            .ask(Who::Workflow, Method::GET, "/control/due")
            .send()
            .await;
        let due: ControlDue = serde_json::from_value(due.json()).expect("what is due");
        due.commands.into_iter().next().ok_or("nothing is due")
    })
    .await;
    assert_eq!(due.operation, Operation::ApplyStageChange);
    let ask = stack.command(Who::Workflow, due.operation, None, &due.body);
    book.keep(
        &due.operation.to_string(),
        Some(&due.body),
        &ask.send().await,
    );
}

/// Other rules are brought, and decide from then on.
async fn a_bundle(stack: &Stack, book: &mut Book) {
    let starter = Bundle::starter().expect("the starter bundle is valid");
    // The starter's own tests are long.
    let kept = starter
        .files()
        .iter()
        .filter(|(path, _)| !path.ends_with("_test.rego"));
    let test =
        "package dispatch_test.gates\n\ntest_there_are_gates if count(data.autonomy.gates) == 3\n";
    let files = kept.chain([("dispatch/gates_test.rego", test)]);
    let files = BundleFiles::from_texts(files).expect("a bundle");
    let archive = BASE64_STANDARD.encode(files.to_archive().expect("an archive"));
    let upload = json!({ "archive": archive });
    let activate = json!({ "sha256": files.sha256(), "reason": "shorter_notes" });
    let token = platform(stack);
    for (operation, body) in [
        (Operation::UploadBundle, upload),
        (Operation::ActivateBundle, activate),
    ] {
        let key = key();
        // A trial evaluation may take too long in a debug build on a busy machine.
        let reply = patiently(|| {
            let ask = stack.http().command(operation, None, &body);
            ask.token(&token).key(&key)
        });
        book.keep(&operation.to_string(), Some(&body), &reply.await);
    }
}

async fn reads(stack: &Stack, book: &mut Book) {
    let tenant = stack.tenant();
    let raw = json!({
        "channel": "sms", "provider": "text_gateway", "provider_message_id": "SM2",
        "peer": "+31970000000001", "text": "The pane is cracked.", "raw": "Body=The+pane+is+cracked.",
    });
    let came = done(stack, Operation::CommsInbound, Who::Intake, &raw).await;
    let came = serde_json::to_value(&came.filed).expect("JSON");
    let came = came["data"]["message_id"].as_str().expect("a message");
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
        (
            "get_comms_raw",
            Who::TenantAdmin,
            format!("/comms/{came}/raw"),
        ),
        ("export_decisions", auditor, "/decisions/export".into()),
        (
            "export_tenant",
            Who::TenantAdmin,
            format!("/tenants/{}/export", tenant.id),
        ),
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
        a_stage(&stack, &mut book).await;
        others(&stack, &mut book).await;
        reads(&stack, &mut book).await;
        machines(&stack, &mut book).await;
        a_bundle(&stack, &mut book).await;
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
        let takes = &described["requestBody"]["content"]["application/json"];
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
            assert!((200..300).contains(&status), "{kept}: {status}");
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
        let shown = content(described, &example["status"].to_string());
        let shown = shown.map(|content| &content["example"]);
        assert_eq!(shown, Some(&example["response"]), "{id} under {PREFIX}");
    }
    assert!(unused.is_empty(), "examples of nothing: {unused:?}");
    bare.sort_unstable();
    let mut unshown = UNSHOWN.map(|(id, _)| id);
    unshown.sort_unstable();
    assert_eq!(
        bare, unshown,
        "operations without an example in api/examples.json"
    );
}
