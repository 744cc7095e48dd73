//! What holds for every command, asked of each of them in turn.

use contracts::{
    ApprovalId, CommandId, ErrorCode, Operation, Problem, TicketId, TicketState,
    command::CommandClass,
};
use dispatch_tests::{
    filing::{DIRECTORY, WALKED},
    http::{Reply, key},
    job::{FILINGS, Job, ROUTED, example},
    record::{Attempt, Footprint, attempt, left_by},
    stack::{Stack, with_api},
    who::Who,
    world::Tenant,
};
use serde_json::{Value, json};
use strum::VariantArray;
use uuid::Uuid;

async fn recorded(stack: &Stack, command: CommandId) -> Attempt {
    attempt(stack.admin(), command)
        .await
        .unwrap_or_else(|| panic!("{command} is not on record"))
}

/// A refusal, and what it left on record.
async fn refused(stack: &Stack, reply: &Reply, code: ErrorCode) -> (Problem, Attempt) {
    let problem = reply.problem(code);
    let command = problem.command_id.expect("an attempt has an id");
    let row = recorded(stack, command).await;
    assert_eq!(row.refused.as_deref(), Some(code.to_string().as_str()));
    assert_eq!(row.applied_to_version, row.produced_version);
    assert_eq!(row.before, row.after);
    assert_eq!(row.changes, Value::Array(vec![]));
    let header = |name| reply.header(name).map(str::to_owned);
    assert_eq!(header("x-command-id"), Some(command.to_string()));
    assert_eq!(
        header("x-decision-id"),
        problem.decision_id.map(|id| id.to_string())
    );
    (problem, row)
}

#[test]
fn each_is_done_once_however_often_it_is_sent() {
    with_api(async |stack| {
        for &operation in ROUTED {
            let example = example(operation);
            let job = Job::ready_for(&stack, stack.tenant(), operation).await;
            let (body, key) = (job.body(operation).await, key());
            let target = job.target(operation);
            let send = || {
                stack
                    .command(example.who, operation, target, &body)
                    .key(&key)
            };

            let first = send().send().await;
            let receipt = first.receipt();
            assert_eq!(receipt.ticket.state, example.to, "{operation}");
            assert_eq!(
                receipt.ticket.version, receipt.produced_version,
                "{operation}"
            );
            let step = match operation.class() {
                CommandClass::Change => 1,
                // A change order that is decided, or was held and is asked for now.
                CommandClass::Waiting => u64::from(receipt.ticket.state != example.from.unwrap()),
                CommandClass::Bookkeeping | CommandClass::Filing => 0,
            };
            assert_eq!(
                receipt.produced_version - receipt.applied_to_version,
                step,
                "{operation}"
            );
            assert!(!receipt.dry_run);
            assert_eq!(first.header("idempotent-replayed"), None);

            let row = recorded(&stack, receipt.command_id).await;
            assert_eq!(row.tenant_id, stack.tenant().id.as_uuid());
            assert_eq!(row.ticket_id, Some(receipt.ticket.id.as_uuid()));
            assert_eq!(row.decision_id, receipt.decision_id.as_uuid());
            // What an approval carries out is on record as what it is.
            let carried_out = match operation {
                Operation::ExecuteApproval => Operation::RequestChange,
                operation => operation,
            };
            assert_eq!(row.operation, carried_out.to_string());
            assert_eq!(row.request_id, key);
            assert_eq!(row.actor_id, example.who.actor(stack.tenant()).id);
            assert_eq!((row.refused, row.result.as_str()), (None, "ALLOW"));
            assert_eq!(
                row.before,
                example.from.map(|s| s.to_string()),
                "{operation}"
            );
            assert_eq!(row.after, Some(example.to.to_string()), "{operation}");
            assert_eq!(
                row.produced_version,
                i64::try_from(receipt.produced_version).unwrap()
            );

            let before = Footprint::take(stack.admin()).await;
            let second = send().send().await;
            assert_eq!(second.body, first.body, "{operation}");
            assert_eq!(second.status, first.status);
            assert_eq!(second.header("idempotent-replayed"), Some("true"));
            for name in ["x-command-id", "x-decision-id", "content-type"] {
                assert_eq!(second.header(name), first.header(name), "{name}");
            }
            assert_eq!(before.changes(stack.admin()).await, [""; 0], "{operation}");
        }
    });
}

#[test]
fn each_is_refused_in_a_wrong_state() {
    with_api(async |stack| {
        for &operation in ROUTED {
            let example = example(operation);
            let Some(wrong) = example.wrong else {
                continue;
            };
            let job = Job::at(&stack, stack.tenant(), wrong).await;
            let (body, key) = (job.body(operation).await, key());
            let before = Footprint::take(stack.admin()).await;
            let send = || {
                stack
                    .command(example.who, operation, job.id(), &body)
                    .key(&key)
            };
            let reply = send().send().await;
            assert_eq!(
                reply.status,
                409,
                "{operation} in {wrong}: {}",
                reply.text()
            );
            let (problem, row) = refused(&stack, &reply, ErrorCode::IllegalTransition).await;
            assert!(!problem.meta.is_empty(), "{operation}");
            assert_eq!(row.result, "ALLOW", "{operation}");
            assert_eq!(row.before, Some(wrong.to_string()), "{operation}");
            let left = left_by(example.who, operation, problem.code);
            assert_eq!(before.changes(stack.admin()).await, left, "{operation}");
            let again = send().send().await;
            let replayed = again.header("idempotent-replayed").is_some();
            assert_eq!(replayed, left.contains(&"idempotency_keys"), "{operation}");
            assert_eq!(again.body == reply.body, replayed, "{operation}");
        }
    });
}

#[test]
fn each_is_refused_to_a_wrong_role() {
    with_api(async |stack| {
        for &operation in ROUTED {
            let example = example(operation);
            let job = Job::ready_for(&stack, stack.tenant(), operation).await;
            let body = job.body(operation).await;
            let before = Footprint::take(stack.admin()).await;
            let target = job.target(operation);
            let reply = stack
                .command(example.not, operation, target, &body)
                .send()
                .await;
            assert_eq!(reply.status, 403, "{operation}: {}", reply.text());
            let (problem, row) = refused(&stack, &reply, ErrorCode::Forbidden).await;
            assert!(!problem.reasons.is_empty(), "{operation}");
            assert_eq!(row.result, "DENY", "{operation}");
            assert_eq!(row.reasons, serde_json::to_value(&problem.reasons).unwrap());
            let left = left_by(example.not, operation, problem.code);
            assert_eq!(before.changes(stack.admin()).await, left, "{operation}");
        }
    });
}

/// The part of a problem that may differ between two occurrences of it.
fn without_ids(mut problem: Problem) -> Problem {
    problem.instance = String::new();
    problem.request_id = None;
    problem.command_id = None;
    problem.decision_id = None;
    problem.at = Default::default();
    problem
}

#[test]
fn another_tenants_ticket_is_as_unknown_as_none() {
    with_api(async |stack| {
        for &operation in ROUTED {
            if operation == Operation::CreateTicket {
                continue;
            }
            let example = example(operation);
            let job = Job::ready_for(&stack, stack.tenant(), operation).await;
            let body = job.body(operation).await;
            let stranger = example.who.token(stack.other());
            let send = |id: TicketId| {
                let mut body = body.clone();
                let unknown = id != job.id();
                if let Some(named) = body.get_mut("approval_id").filter(|_| unknown) {
                    *named = ApprovalId::from_uuid(id.as_uuid()).to_string().into();
                }
                if let Some(named) = body.get_mut("ticket_id") {
                    *named = id.to_string().into();
                }
                let ask = stack.http().command(operation, Some(id), &body);
                ask.token(&stranger).send()
            };
            let before = Footprint::take(stack.admin()).await;
            let theirs = send(job.id()).await;
            assert_eq!(theirs.status, 404, "{operation}: {}", theirs.text());
            let (problem, row) = refused(&stack, &theirs, ErrorCode::NotFound).await;
            let left = left_by(example.who, operation, problem.code);
            assert_eq!(before.changes(stack.admin()).await, left, "{operation}");
            assert_eq!(row.tenant_id, stack.other().id.as_uuid(), "{operation}");
            assert_eq!(row.ticket_id, None, "{operation}");
            let actor = example.who.actor(stack.other()).id;
            assert_eq!(row.stream, format!("actor:{actor}"), "{operation}");

            let nobodys = send(TicketId::from_uuid(Uuid::now_v7())).await;
            let (unknown, _) = refused(&stack, &nobodys, ErrorCode::NotFound).await;
            assert_eq!(without_ids(problem), without_ids(unknown), "{operation}");
        }
    });
}

#[test]
fn a_ticket_is_not_created_with_another_tenants_things() {
    with_api(async |stack| {
        let theirs: &Tenant = stack.other();
        let operation = Operation::CreateTicket;
        let good = Job::new(&stack, stack.tenant()).body(operation).await;
        for (field, id) in [
            ("site_id", theirs.site.to_string()),
            ("asset_id", theirs.asset.to_string()),
            ("contact_id", theirs.contact.to_string()),
        ] {
            let mut body = good.clone();
            body[field] = id.into();
            let before = Footprint::take(stack.admin()).await;
            let reply = stack
                .command(Who::Dispatcher, operation, None, &body)
                .send()
                .await;
            let (problem, _) = refused(&stack, &reply, ErrorCode::InvalidField).await;
            assert_eq!(problem.errors[0].pointer, format!("/{field}"));
            let left = left_by(Who::Dispatcher, operation, problem.code);
            assert_eq!(before.changes(stack.admin()).await, left, "{field}");
        }
    });
}

#[test]
fn each_is_refused_on_a_version_that_was_not_seen() {
    with_api(async |stack| {
        for &operation in ROUTED {
            let example = example(operation);
            let job = Job::ready_for(&stack, stack.tenant(), operation).await;
            let body = job.body(operation).await;
            let actual = match operation {
                Operation::CreateTicket => 0,
                _ => job.ticket().await.version,
            };
            let before = Footprint::take(stack.admin()).await;
            let target = job.target(operation);
            let ask = stack.command(example.who, operation, target, &body);
            let reply = ask.expecting(actual + 1).send().await;
            let (problem, _) = refused(&stack, &reply, ErrorCode::VersionConflict).await;
            let meta = serde_json::json!({ "expected": actual + 1, "actual": actual });
            assert_eq!(Value::Object(problem.meta), meta, "{operation}");
            let left = left_by(example.who, operation, problem.code);
            assert_eq!(before.changes(stack.admin()).await, left, "{operation}");

            // The body's member says the same as the header, and the right version passes.
            let mut body = body;
            body["expected_version"] = actual.into();
            let reply = stack
                .command(example.who, operation, target, &body)
                .send()
                .await;
            assert_eq!(reply.receipt().applied_to_version, actual, "{operation}");
        }
    });
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    with_api(async |stack| {
        for &operation in ROUTED {
            let example = example(operation);
            let job = Job::ready_for(&stack, stack.tenant(), operation).await;
            let (body, key) = (job.body(operation).await, key());
            let before = Footprint::take(stack.admin()).await;
            let target = job.target(operation);
            let ask = |who| stack.command(who, operation, target, &body).key(&key);

            let would = ask(example.who).dry_run().send().await.receipt();
            assert!(would.dry_run, "{operation}");
            assert_eq!(would.ticket.state, example.to, "{operation}");
            let not = ask(example.not).dry_run().send().await;
            assert!(!not.problem(ErrorCode::Forbidden).reasons.is_empty());
            assert_eq!(before.changes(stack.admin()).await, [""; 0], "{operation}");

            // The trial used up neither the key nor anything else.
            let done = ask(example.who).send().await.receipt();
            assert_eq!(done.ticket.state, would.ticket.state, "{operation}");
            assert_eq!(done.produced_version, would.produced_version, "{operation}");
        }
    });
}

#[test]
fn software_changes_nothing_in_shadow_mode() {
    with_api(async |stack| {
        for &operation in ROUTED {
            if operation.class() != CommandClass::Change {
                continue;
            }
            let job = Job::ready_for(&stack, stack.tenant(), operation).await;
            let body = job.body(operation).await;
            for who in [Who::Agent, Who::Workflow] {
                let before = Footprint::take(stack.admin()).await;
                let ask = stack.command(who, operation, job.target(operation), &body);
                let reply = ask.header("x-tool-name", "planner.v1").send().await;
                assert_eq!(
                    reply.status,
                    403,
                    "{operation} by {who:?}: {}",
                    reply.text()
                );
                let (problem, row) = refused(&stack, &reply, ErrorCode::Stage).await;
                assert_eq!(row.result, "DENY");
                assert_eq!(row.tool_name.as_deref(), Some("planner.v1"));
                let left = left_by(who, operation, problem.code);
                assert_eq!(before.changes(stack.admin()).await, left, "{operation}");
            }
        }
    });
}

#[test]
fn each_command_is_on_a_list() {
    let mut listed: Vec<_> = ROUTED.iter().chain(FILINGS).copied().collect();
    listed.sort_unstable();
    assert_eq!(listed, Operation::VARIANTS);
    let filed = |operation: &Operation| operation.class() == CommandClass::Filing;
    assert!(FILINGS.iter().all(filed));
    assert!(!ROUTED.iter().any(filed));
}

#[test]
fn each_filing_has_an_example_or_a_place_where_it_is_walked() {
    let walked = WALKED.iter().map(|(operation, _)| operation);
    let mut proved: Vec<_> = DIRECTORY.iter().chain(walked).copied().collect();
    proved.sort_unstable();
    let mut filings = FILINGS.to_vec();
    filings.sort_unstable();
    assert_eq!(proved, filings);
    for (operation, file) in WALKED {
        let path = format!("{}/tests/system/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap();
        let name = format!("{operation:?}");
        assert!(text.contains(&name), "{file} does not walk {operation}");
    }
}

#[test]
fn what_has_no_example_is_refused_to_a_wrong_role() {
    with_api(async |stack| {
        let target = json!({ "operation": Operation::Triage });
        let sha256 = "0d".repeat(32);
        for (operation, body) in [
            (
                Operation::PromoteStage,
                json!({
                    "target": target, "to": "APPROVE", "report_sha256": sha256,
                    "reason": "good_figures",
                }),
            ),
            (
                Operation::DemoteStage,
                json!({ "target": target, "to": "OFF", "reason": "too_early" }),
            ),
            (
                Operation::ApplyStageChange,
                json!({ "change": CommandId::from_uuid(Uuid::now_v7()) }),
            ),
            (Operation::UploadBundle, json!({ "archive": "%%%" })),
            (
                Operation::ActivateBundle,
                json!({ "sha256": sha256, "reason": "tests" }),
            ),
        ] {
            for who in [Who::Auditor, Who::Qa, Who::Dispatcher, Who::Intake] {
                let before = Footprint::take(stack.admin()).await;
                let reply = stack.command(who, operation, None, &body).send().await;
                assert_eq!(reply.status, 403, "{operation}: {}", reply.text());
                let (problem, row) = refused(&stack, &reply, ErrorCode::Forbidden).await;
                assert_eq!(row.result, "DENY", "{operation}");
                let left = left_by(who, operation, problem.code);
                assert_eq!(before.changes(stack.admin()).await, left, "{operation}");
            }
        }
    });
}

#[test]
fn the_walker_reaches_every_state() {
    with_api(async |stack| {
        for &state in TicketState::VARIANTS {
            let job = Job::at(&stack, stack.tenant(), state).await;
            assert_eq!(job.ticket().await.state, state);
        }
    });
}
