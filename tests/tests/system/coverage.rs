//! Nothing is served that no test knows: a new operation fails here until it is on a list, and the
//! lists are what the tests walk.

use std::collections::BTreeSet;

use api::{PLAIN_PREFIX, PREFIX, PREFIXES};
use contracts::Operation;
use dispatch_tests::{
    job::{FILINGS, ROUTED},
    stack::with_api,
};
use serde_json::Value;

/// The reads that tests know, below `/api/v1`. `true`: served without a token.
pub const READS: &[(&str, bool)] = &[
    ("/health", true),
    ("/health/live", true),
    ("/health/ready", true),
    ("/openapi.json", true),
    ("/approvals", false),
    ("/approvals/{id}", false),
    ("/assets", false),
    ("/assets/{id}", false),
    ("/comms", false),
    ("/comms/{id}", false),
    ("/comms/{id}/raw", false),
    ("/contacts", false),
    ("/contacts/{id}", false),
    ("/decisions", false),
    ("/decisions/export", false),
    ("/decisions/{id}", false),
    ("/delegations", false),
    ("/kill-switch", false),
    ("/proposals/agreement", false),
    ("/sites", false),
    ("/sites/{id}", false),
    ("/technicians", false),
    ("/technicians/{id}", false),
    ("/technicians/{id}/calendar", false),
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
