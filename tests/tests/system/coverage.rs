//! Nothing is served that no test knows: a new operation fails here until it is on a list, and the
//! lists are what the tests walk.

use std::collections::BTreeSet;

use api::{PLAIN_PREFIX, PREFIX, PREFIXES};
use contracts::{ErrorCode, Operation, filing::Filed};
use dispatch_tests::{
    filing::{done, example},
    job::{FILINGS, ROUTED},
    stack::with_api,
    who::Who,
};
use reqwest::Method;
use serde_json::{Value, json};

/// The reads that tests know, below `/api/v1`. `true`: served without a token.
pub const READS: &[(&str, bool)] = &[
    ("/health", true),
    ("/health/live", true),
    ("/health/ready", true),
    ("/openapi.json", true),
    ("/docs", true),
    ("/docs/{id}", true),
    ("/problems", true),
    ("/problems/{id}", true),
    ("/api-keys", false),
    ("/approvals", false),
    ("/approvals/{id}", false),
    ("/assets", false),
    ("/assets/{id}", false),
    ("/comms", false),
    ("/comms/{id}", false),
    ("/comms/{id}/raw", false),
    ("/contacts", false),
    ("/contacts/{id}", false),
    ("/control/due", false),
    ("/decisions", false),
    ("/decisions/export", false),
    ("/decisions/{id}", false),
    ("/delegations", false),
    ("/kill-switch", false),
    ("/kill-switch/drills", false),
    ("/policy/activations", false),
    ("/policy/bundles", false),
    ("/proposals/agreement", false),
    ("/rollout", false),
    ("/rollout/history", false),
    ("/rollout/ledger", false),
    ("/rollout/reports", false),
    ("/service-accounts", false),
    ("/service-accounts/{id}", false),
    ("/sites", false),
    ("/sites/{id}", false),
    ("/technicians", false),
    ("/technicians/{id}", false),
    ("/technicians/{id}/calendar", false),
    ("/tenants", false),
    ("/tenants/{id}", false),
    ("/tenants/{id}/export", false),
    ("/tickets", false),
    ("/tickets/{id}", false),
    ("/tickets/{id}/advisor-input", false),
    ("/tickets/{id}/comms", false),
    ("/tickets/{id}/evidence", false),
    ("/tickets/{id}/proposals", false),
    ("/tickets/{id}/snapshot", false),
    ("/tickets/{id}/status", false),
    ("/tickets/{id}/timeline", false),
];

/// Commands at another place, and many of them at once: see `approvals`.
pub const OTHERS: &[&str] = &["/approvals/decide", "/tickets/{id}/approval/decide"];

async fn document(stack: &dispatch_tests::stack::Stack) -> Value {
    document_under(stack, PREFIX).await
}

async fn document_under(stack: &dispatch_tests::stack::Stack, prefix: &str) -> Value {
    let path = format!("{prefix}/openapi.json");
    let reply = stack.http().bare(reqwest::Method::GET, path).send().await;
    assert_eq!(reply.status, 200);
    reply.json()
}

#[test]
fn every_operation_is_on_the_lists_under_both_prefixes() {
    with_api(async |stack| {
        for prefix in PREFIXES {
            let document = document_under(&stack, prefix).await;
            let mut served = BTreeSet::new();
            for (path, item) in document["paths"].as_object().unwrap() {
                for method in item.as_object().unwrap().keys() {
                    served.insert((method.to_uppercase(), path.clone()));
                }
            }
            let entry = |method: &str, path: &str| (method.to_owned(), format!("{prefix}{path}"));
            let commands = ROUTED
                .iter()
                .chain(FILINGS)
                .map(|operation| entry("POST", operation.path()));
            let reads = READS.iter().map(|(path, _)| entry("GET", path));
            let others = OTHERS.iter().map(|path| entry("POST", path));
            let known: BTreeSet<_> = commands.chain(reads).chain(others).collect();
            let untested: Vec<_> = served.difference(&known).collect();
            let gone: Vec<_> = known.difference(&served).collect();
            assert!(untested.is_empty(), "no test knows these: {untested:?}");
            assert!(
                gone.is_empty(),
                "the lists name what is not served: {gone:?}"
            );
        }
    });
}

#[test]
fn only_the_listed_reads_need_no_token() {
    with_api(async |stack| {
        let document = document(&stack).await;
        for (path, public) in READS {
            let operation = &document["paths"][format!("/api/v1{path}")]["get"];
            let documented = operation["security"] == serde_json::json!([]);
            assert_eq!(documented, *public, "{path}");
            let id = "tkt_00000000000000000000000000000000";
            let reply = stack.http().get(path.replace("{id}", id)).send().await;
            assert_eq!(reply.status == 401, !public, "{path}: {}", reply.text());
            let plain = format!("{PLAIN_PREFIX}{}", path.replace("{id}", id));
            let plain = stack.http().bare(reqwest::Method::GET, plain).send().await;
            assert_eq!(plain.status, reply.status, "{path}");
            if *public {
                // Probes look for them without the prefix.
                let bare = stack.http().bare(reqwest::Method::GET, path).send().await;
                assert_eq!(bare.status, reply.status, "{path}");
            }
        }
    });
}

#[test]
fn every_command_is_described_as_it_is() {
    with_api(async |stack| {
        let document = document(&stack).await;
        for operation in ROUTED.iter().chain(FILINGS) {
            let described = &document["paths"][format!("/api/v1{}", operation.path())]["post"];
            assert_eq!(described["operationId"], operation.to_string());
            let success = match operation {
                Operation::CreateTicket => "201",
                _ => "200",
            };
            for status in [
                success, "200", "400", "401", "403", "409", "413", "415", "422", "503",
            ] {
                assert!(
                    described["responses"][status].is_object(),
                    "{operation}: {status}"
                );
            }
            let members = &described["requestBody"]["content"]["application/json"]["schema"];
            for member in ["request_id", "expected_version"] {
                assert!(
                    members["properties"][member].is_object(),
                    "{operation}: {member}"
                );
            }
        }
    });
}

/// Whoever leads the work or decides about software.
const LEADING: &[Who] = &[
    Who::Dispatcher,
    Who::Approver,
    Who::AccountManager,
    Who::Auditor,
    Who::TenantAdmin,
];

/// Everybody else.
const OTHERS_OF_A_TENANT: &[Who] = &[
    Who::Technician,
    Who::Qa,
    Who::Billing,
    Who::Intake,
    Who::Workflow,
];

#[test]
fn what_is_read_of_the_control_plane_is_for_some_and_of_one_tenant() {
    with_api(async |stack| {
        let mut kept = String::new();
        for operation in [Operation::RecordDrill, Operation::RecordGateReport] {
            let example = example(&stack, operation).await;
            let filed = done(&stack, operation, example.who, &example.body).await;
            if let Filed::Report { sha256 } = filed.filed {
                kept = sha256;
            }
        }
        let body = json!({
            "target": { "operation": "triage" }, "to": "OFF", "reason": "too_early",
        });
        done(&stack, Operation::DemoteStage, Who::TenantAdmin, &body).await;
        let report = format!("/rollout/reports?sha256={kept}");

        let anybody: Vec<_> = LEADING.iter().chain(OTHERS_OF_A_TENANT).copied().collect();
        let leading_are_refused = &[
            Who::Dispatcher,
            Who::Approver,
            Who::TenantAdmin,
            Who::Intake,
        ];
        // What the other tenant sees in place of it; `None`: the same.
        for (path, may, may_not, others) in [
            (
                "/control/due",
                &[Who::Workflow, Who::Auditor][..],
                &leading_are_refused[..],
                None,
            ),
            (
                "/kill-switch/drills",
                &anybody[..],
                &[][..],
                Some(json!({ "items": [] })),
            ),
            ("/policy/activations", &anybody, &[], None),
            ("/policy/bundles", &anybody, &[], None),
            ("/rollout", LEADING, OTHERS_OF_A_TENANT, Some(Value::Null)),
            (
                "/rollout/history",
                LEADING,
                OTHERS_OF_A_TENANT,
                Some(json!({ "items": [] })),
            ),
            (&report, LEADING, OTHERS_OF_A_TENANT, Some(Value::Null)),
        ] {
            let mut told = Vec::new();
            for who in may {
                let reply = stack.ask(*who, Method::GET, path).send().await;
                assert_eq!(reply.status, 200, "{path} to {who:?}: {}", reply.text());
                told.push(reply.json());
            }
            told.dedup();
            assert_eq!(told.len(), 1, "{path}: {told:?}");
            for who in may_not {
                let reply = stack.ask(*who, Method::GET, path).send().await;
                reply.no_attempt(ErrorCode::Forbidden);
            }
            let stranger = may[0].token(stack.other());
            let reply = stack.http().get(path).token(&stranger).send().await;
            match others {
                None => assert_eq!(reply.json(), told[0], "{path}"),
                // Not what was made here, whatever else it is.
                Some(Value::Null) => {
                    assert_ne!(reply.json(), told[0], "{path}");
                    assert!(!reply.text().contains("too_early"), "{path}");
                }
                Some(nothing) => {
                    assert_eq!(reply.json(), nothing, "{path}");
                    assert_ne!(told[0], nothing, "{path}");
                }
            }
        }
        let stranger = Who::Auditor.token(stack.other());
        let theirs = stack.http().get(&report).token(&stranger).send().await;
        theirs.no_attempt(ErrorCode::NotFound);

        let range = "operation=triage&since=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z";
        let ledger = format!("/rollout/ledger?{range}");
        for who in LEADING {
            let reply = stack.ask(*who, Method::GET, &ledger).send().await;
            assert_eq!(reply.json()["figures"]["acts"], 0, "{}", reply.text());
        }
        for who in OTHERS_OF_A_TENANT {
            let reply = stack.ask(*who, Method::GET, &ledger).send().await;
            reply.no_attempt(ErrorCode::Forbidden);
        }
        for (path, parameter) in [
            ("/rollout/ledger", "operation"),
            ("/rollout/ledger?operation=lunch", "operation"),
            (
                "/rollout/ledger?operation=triage&since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z",
                "since",
            ),
            ("/rollout/reports", "sha256"),
            ("/rollout/history?operation=lunch", "operation"),
            ("/rollout?colour=red", "colour"),
        ] {
            let reply = stack.ask(Who::Auditor, Method::GET, path).send().await;
            let problem = reply.no_attempt(ErrorCode::InvalidParameter);
            assert_eq!(problem.meta["parameter"], parameter, "{path}");
        }
    });
}
