//! The checker finds what it promises to find: each violation is planted, as a superuser who
//! switches the guards off, in a copy of a healthy database.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{ErrorCode, Operation, Role, TicketId, TicketState, event::AutonomyMode};
use dispatch_tests::{
    database::Database,
    filing::{DIRECTORY, done, example},
    job::Job,
    servers,
    stack::{ApiOptions, Stack},
    verify::{violations, violations_sealed_within, violations_within},
    who::{Who, mint},
};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use store::{
    audit::{AuditRow, link},
    verify::{Acknowledged, Invariant, Violation, receipts},
};
use tokio::sync::OnceCell;

use super::approvals::bundle_with;
use uuid::Uuid;

use crate::rollout;

/// A healthy database with one of everything, sealed; nobody is connected to it.
static HEALTHY: OnceCell<String> = OnceCell::const_new();

async fn healthy() -> &'static str {
    HEALTHY
        .get_or_init(|| async {
            let stack = Stack::api(ApiOptions::default()).await;
            let job = lived(&stack).await;
            Job::at(&stack, stack.other(), TicketState::New).await;
            refusals(&stack, &job).await;
            filings(&stack).await;
            messages(&stack, &job).await;
            approvals(&stack).await;
            control(&stack).await;
            stack.verify().await;
            stack.stop_api().await;
            let copy = stack.database().copy().await;
            stack.end().await;
            copy
        })
        .await
}

/// A ticket that went through everything.
async fn lived(stack: &Stack) -> Job {
    let mut job = Job::at(stack, stack.tenant(), TicketState::New).await;
    use Operation::*;
    for operation in [
        RecordProposal,
        RecordSla,
        Triage,
        ProposeSchedule,
        ConfirmSchedule,
        Dispatch,
        CheckIn,
        RequestChange,
        DecideApproval,
        ReturnVisit,
        ProposeSchedule,
        ConfirmSchedule,
        Dispatch,
        CheckIn,
        Complete,
        QaVerify,
        GenerateInvoice,
        Close,
        AddNote,
        AddNote,
        AddEvidence,
    ] {
        job.does(operation).await;
    }
    job
}

/// Each filing once.
async fn filings(stack: &Stack) {
    for &operation in DIRECTORY {
        let example = example(stack, operation).await;
        done(stack, operation, example.who, &example.body).await;
    }
}

/// Approvals of tickets: one carried out, one amended and carried out, one amended and still waiting, one
/// that ran stale.
async fn approvals(stack: &Stack) {
    use Operation::*;
    let mut done = Job::ready_for(stack, stack.tenant(), ExecuteApproval).await;
    done.does(ExecuteApproval).await;
    let mut amended = Job::ready_for(stack, stack.tenant(), AmendApproval).await;
    amended.does(AmendApproval).await;
    for (operation, more) in [
        (DecideApproval, json!({ "verdict": "approve" })),
        (ExecuteApproval, json!({ "applied_seq": 1 })),
    ] {
        let mut body = json!({ "approval_id": amended.approval(), "version": 2 });
        let members = body.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        amended.sends(operation, &body).await;
    }
    let mut waiting = Job::ready_for(stack, stack.tenant(), AmendApproval).await;
    waiting.does(AmendApproval).await;
    for operation in [CommentApproval, RecordApprovalStep, ClaimApproval] {
        waiting.does(operation).await;
    }
    let mut stale = Job::ready_for(stack, stack.tenant(), AmendApproval).await;
    stale.does(Complete).await;
}

/// The control plane: an approval without a ticket, a delegation, a stage, reports.
async fn control(stack: &Stack) {
    let everything = json!({ "scope": { "kind": "everything" }, "reason": "drill" });
    let platform = async |sub: &str, operation, body: &Value| {
        let mut claims = Who::TenantAdmin.claims(stack.tenant(), Utc::now());
        claims.sub = sub.into();
        claims.roles = BTreeSet::from([Role::PlatformAdmin]);
        let ask = stack.http().command(operation, None, body);
        let reply = ask.token(mint(&claims)).send().await;
        assert!(reply.status.is_success(), "{}", reply.text());
        reply.json()
    };
    platform("usr_platform", Operation::EngageKillSwitch, &everything).await;
    let held = platform("usr_platform", Operation::ReleaseKillSwitch, &everything).await;
    let body = json!({ "approval_id": held["approval"]["id"], "verdict": "approve" });
    platform("usr_second", Operation::DecideApproval, &body).await;
    let send = async |who, operation, body: &Value| {
        let reply = stack.command(who, operation, None, body).send().await;
        assert!(reply.status.is_success(), "{operation}: {}", reply.text());
        reply.json()
    };
    let now = Utc::now();
    let body = json!({
        "to": "usr_colleague", "roles": ["dispatcher"], "from": now,
        "until": now + TimeDelta::days(3), "reason": "leave",
    });
    let made = send(Who::Dispatcher, Operation::DelegateApprovals, &body).await;
    let body = json!({ "delegation_id": made["filed"]["data"]["delegation_id"] });
    send(Who::Dispatcher, Operation::RevokeDelegation, &body).await;
    let target = json!({ "operation": "dispatch" });
    let body = json!({
        "target": target, "since": now - TimeDelta::days(1), "until": now,
    });
    send(Who::TenantAdmin, Operation::RecordGateReport, &body).await;
    let body = json!({ "target": target, "to": "OFF", "reason": "too_early" });
    send(Who::TenantAdmin, Operation::DemoteStage, &body).await;
    // Decided for later, and void by what came before.
    for at in [Some(now + TimeDelta::days(1)), None] {
        let body = json!({
            "target": target, "to": "SHADOW", "reason": "look_again", "effective_at": at,
        });
        let held = send(Who::TenantAdmin, Operation::PromoteStage, &body).await;
        let body = json!({ "approval_id": held["approval"]["id"], "verdict": "approve" });
        send(Who::AccountManager, Operation::DecideApproval, &body).await;
    }
    let body = json!({
        "scope": { "kind": "agent", "actor_id": "drill" }, "clients": 2, "engaged_at": now,
        "stop_millis": 3, "attempts": 9, "passed": 0,
    });
    send(Who::TenantAdmin, Operation::RecordDrill, &body).await;
}

/// One refusal of each sort: on a ticket, without one, and under a used key.
async fn refusals(stack: &Stack, job: &Job) {
    let body = job.body(Operation::AddNote).await;
    let note = |who, ticket: TicketId| stack.command(who, Operation::AddNote, ticket, &body);
    note(Who::Auditor, job.id())
        .send()
        .await
        .problem(ErrorCode::Forbidden);
    let nowhere = TicketId::from_uuid(Uuid::now_v7());
    note(Who::Dispatcher, nowhere)
        .send()
        .await
        .problem(ErrorCode::NotFound);
    note(Who::Dispatcher, job.id())
        .key("used")
        .send()
        .await
        .receipt();
    let again = note(Who::Dispatcher, job.id())
        .key("used")
        .json(&json!({ "text": "other" }));
    again.send().await.problem(ErrorCode::IdempotencyMismatch);
}

/// Messages of each sort: placed by a rule, placed by a person, held, known from before, queued.
async fn messages(stack: &Stack, job: &Job) {
    let receive = async |peer: &str, id: &str| {
        let body = json!({
            "channel": "sms", "provider": "voxbridge", "provider_message_id": id, "peer": peer,
            "text": "Hello?",
        });
        let ask = stack.command(Who::Intake, Operation::CommsInbound, None, &body);
        let reply = ask.send().await;
        assert!(reply.status.is_success(), "{}", reply.text());
        reply.json()
    };
    let opened = receive("+31205550199", "one").await;
    receive("+31205550199", "two").await;
    receive("+31205550199", "two").await;
    receive("+31687654321", "three").await;
    let placed = receive("+31201111111", "four").await;
    let attach = json!({ "message_id": placed["filed"]["data"]["message_id"] });
    let ask = stack.command(Who::Dispatcher, Operation::AttachMessage, job.id(), &attach);
    ask.send().await.receipt();
    let queue = json!({
        "ticket_id": opened["ticket"]["id"], "contact_id": stack.tenant().contact,
        "channel": "sms", "text": "Somebody is on the way.",
    });
    let ask = stack.command(Who::Dispatcher, Operation::CommsOutbound, None, &queue);
    ask.send().await.receipt();
}

async fn break_it(database: &Database, sql: &str) {
    let guards_off = format!("set session_replication_role = replica; {sql}");
    let mut connection = database.admin.acquire().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(guards_off))
        .execute(&mut *connection)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    // The guards are off on this connection only: it does not go back to the pool.
    connection.close_on_drop();
}

/// What is to be found, by its words, and how it is planted.
type Plant = (Invariant, &'static str, &'static str);

#[track_caller]
fn assert_found(found: &[Violation], (invariant, what, sql): Plant) {
    let same = |v: &&Violation| v.invariant == invariant && v.what.contains(what);
    assert!(
        found.iter().any(|v| same(&v)),
        "{invariant} \"{what}\" was not found after `{sql}`: {found:#?}"
    );
}

/// Plants each in a copy of its own.
fn each_is_found(plants: &'static [Plant]) {
    servers::run(async || {
        let healthy = healthy().await;
        stream::iter(plants)
            .for_each_concurrent(4, async |plant| {
                let database = Database::copy_of(healthy).await;
                assert_eq!(violations(&database).await, [], "before `{}`", plant.2);
                break_it(&database, plant.2).await;
                assert_found(&violations(&database).await, *plant);
                database.remove().await;
            })
            .await;
    });
}

const EFFECTS: &[Plant] = &[
    (
        Invariant::I1,
        "an attempt without its stored answer",
        "delete from idempotency_keys where operation = 'triage'",
    ),
    (
        Invariant::I1,
        "does not say what the audit row says",
        "update idempotency_keys set status = 409 where status = 201",
    ),
    (
        Invariant::I1,
        "does not say what the audit row says",
        "update idempotency_keys set body = jsonb_set(body::jsonb, '{produced_version}', '7')::text
         where operation = 'triage'",
    ),
    (
        Invariant::I1,
        "whose events are not its changes",
        "delete from outbox_events where event_type = 'note.added'",
    ),
    (
        Invariant::I1,
        "without any change",
        "update audit_events set changes = '[]' where operation = 'close'",
    ),
    (
        Invariant::I1,
        "a refused attempt with an effect",
        "update audit_events set produced_version = produced_version + 1 where refused = 'FORBIDDEN'",
    ),
    (
        Invariant::I1,
        "that the policy did not allow",
        "update policy_decisions set result = 'DENY' where operation = 'close'",
    ),
    (
        Invariant::I1,
        "numbers with a gap or a repeat",
        "update invoice_counters set next = next + 1",
    ),
    (
        Invariant::I6,
        "two attempts were accepted",
        "update audit_events set request_id = 'same' where operation = 'add_note' and refused is null",
    ),
    (
        Invariant::I6,
        "took the place of the first request",
        "update idempotency_keys k set command_id = a.command_id from audit_events a
         where a.refused = 'IDEMPOTENCY_MISMATCH' and k.request_id = a.request_id",
    ),
];

#[test]
fn an_effect_without_its_command_or_twice_is_found() {
    each_is_found(EFFECTS);
}

/// Rows that neither chain nor seal covers: the timeline tells what they were.
const ALTERED: &[Plant] = &[
    (
        Invariant::I9,
        "decision is not the one",
        "update policy_decisions set result = 'ALLOW' where result = 'DENY'",
    ),
    (
        Invariant::I9,
        "decision is not the one",
        "update policy_decisions set reasons = '[]' where result = 'DENY'",
    ),
    (
        Invariant::I9,
        "decision is not the one",
        "update policy_decisions set obligations = '[\"x\"]' where operation = 'close'",
    ),
    (
        Invariant::I9,
        "decision is not the one",
        "update policy_decisions set input = replace(input, 'close', 'cancel') where operation = 'close'",
    ),
    (
        Invariant::I9,
        "decision is not the one",
        "update policy_decisions set bundle_sha256 = repeat('0', 64) where operation = 'close'",
    ),
    (
        Invariant::I9,
        "the row or one before it was changed",
        "update audit_events set bundle_sha256 = repeat('0', 64) where operation = 'close'",
    ),
    (
        Invariant::I2,
        "a decision about something else",
        "update policy_decisions set operation = 'cancel' where operation = 'close'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update outbox_events set event_type = 'ticket.cancelled' where event_type = 'ticket.closed'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update outbox_events set payload = jsonb_set(payload, '{data,invoice,amount_cents}', '1')
         where event_type = 'invoice.generated'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update outbox_events set level = jsonb_set(level, '{state}', '\"CLOSED\"') where seq = 2",
    ),
    (
        Invariant::I4,
        "under another number",
        "update outbox_events set seq = 100 where seq = 2;
         update outbox_events set seq = 2 where seq = 3;
         update outbox_events set seq = 3 where seq = 100",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update approvals set state = 'rejected' where state = 'approved'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update approvals set decided_by = 'usr_somebody_else'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update approvals set request = jsonb_set(request, '{price_delta_cents}', '1')",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update approvals set required_roles = '[\"technician\"]'",
    ),
    (
        Invariant::I1,
        "tells of is missing",
        "delete from approvals",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update approvals set decided_command_id = null",
    ),
    (
        Invariant::I1,
        "tells of is missing",
        "delete from sla_records",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update proposals set advice = jsonb_set(advice, '{advisor}', '\"x\"')",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update proposals set input = '{}'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update proposals set paired_outcome = case paired_outcome
             when 'same' then 'different' else 'same' end where paired_at is not null",
    ),
    (
        Invariant::I1,
        "tells of is missing",
        "delete from proposals",
    ),
    (
        Invariant::I1,
        "tells of is missing",
        "delete from notes where text = (select max(text) from notes)",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update notes set author_id = 'usr_somebody_else'",
    ),
    (
        Invariant::I2,
        "does not tell of",
        "insert into notes (tenant_id, id, ticket_id, command_id, author_id, text, created_at)
         select tenant_id, gen_random_uuid(), ticket_id, command_id, author_id, text, created_at
         from notes limit 1",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update sla_records set effective_at = effective_at + interval '1 microsecond'",
    ),
    (
        Invariant::I1,
        "tells of is missing",
        "update sla_records set revision = revision + 1",
    ),
    (
        Invariant::I2,
        "visits are not those of its document",
        "update visits set starts_at = starts_at + interval '1 hour' where number = 1",
    ),
    (
        Invariant::I2,
        "visits are not those of its document",
        "update visits set checked_in_at = null where number = 1",
    ),
    (
        Invariant::I1,
        "does not tell the ticket and rows",
        "update idempotency_keys
         set body = regexp_replace(body, '\"amount_cents\":[0-9]+', '\"amount_cents\":1')
         where operation = 'generate_invoice'",
    ),
    (
        Invariant::I1,
        "does not tell the ticket and rows",
        "update idempotency_keys
         set body = regexp_replace(body, 'not_[0-9a-f]{32}', 'not_' || repeat('0', 32))
         where operation = 'add_note' and status < 400",
    ),
];

#[test]
fn a_row_that_no_longer_says_what_happened_is_found() {
    each_is_found(ALTERED);
}

/// Things that are no tickets, and what stands beside a ticket without being told by its events.
const FILED: &[Plant] = &[
    (
        Invariant::I1,
        "is not what its filing tells",
        "update sites set lat_e6 = 1 where code <> 'harbour_shop'",
    ),
    (
        Invariant::I1,
        "is not what its filing tells",
        "update assets set kind = 'other' where code <> 'harbour_pane'",
    ),
    (
        Invariant::I1,
        "is not what its filing tells",
        "update contacts set version = 9 where code <> 'harbour_owner'",
    ),
    (
        Invariant::I1,
        "is not what its filing tells",
        "update technicians set skills = '{}' where code not like 'technician_%'",
    ),
    (
        Invariant::I1,
        "is not what its filing tells",
        "update technician_absences set ends_at = ends_at + interval '1 minute'",
    ),
    (
        Invariant::I1,
        "is not what its filing tells",
        "update kill_switches set engaged = not engaged",
    ),
    (
        Invariant::I1,
        "a filing tells of is missing",
        "delete from kill_switches",
    ),
    (
        Invariant::I1,
        "a filing tells of is missing",
        "delete from technician_absences",
    ),
    (
        Invariant::I2,
        "no filing tells of",
        "update sites set version = 2 where code = 'harbour_shop'",
    ),
    (
        Invariant::I2,
        "no filing tells of",
        "insert into technician_absences (tenant_id, technician_id, starts_at, ends_at)
         select tenant_id, row_id(changes #>> '{0,data,technician_id}'),
                (changes #>> '{0,data,window,start}')::timestamptz, 'infinity'
         from audit_events where operation = 'cancel_absence'",
    ),
    (
        Invariant::I1,
        "does not tell what was filed",
        "update idempotency_keys
         set body = regexp_replace(body, 'sit_[0-9a-f]{32}', 'sit_' || repeat('0', 32))
         where operation = 'upsert_site'",
    ),
    (
        Invariant::I3,
        "do not lead to the version",
        "update audit_events set applied_to_version = 5, produced_version = 6
         where operation = 'release_kill_switch'",
    ),
    (
        Invariant::I3,
        "cannot be read",
        "update audit_events set changes = '[]' where operation = 'upsert_site'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells",
        "update evidence set sha256 = repeat('0', 64)",
    ),
    (Invariant::I1, "tells of is missing", "delete from evidence"),
    (
        Invariant::I2,
        "a row beside the ticket",
        "update evidence set command_id = gen_random_uuid()",
    ),
    (
        Invariant::I3,
        "what lists filter by",
        "update tickets set waiting_for = 'nothing' where state = 'NEW'",
    ),
    (
        Invariant::I3,
        "what lists filter by",
        "update tickets set due_at = now() where state = 'NEW'",
    ),
    (
        Invariant::I3,
        "what lists filter by",
        "update tickets set technician_id = null where technician_id is not null",
    ),
];

#[test]
fn a_thing_that_is_not_what_was_filed_is_found() {
    each_is_found(FILED);
}

/// Approvals, what is held by them, and the rows of the control plane.
const RELEASED: &[Plant] = &[
    (
        Invariant::I1,
        "is not what its timeline tells: state",
        "update approvals set state = 'withdrawn' where state = 'stale'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: operation",
        "update approvals set operation = 'triage' where state = 'pending'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: requested_by",
        "update approvals set requested_by = 'usr_somebody_else' where state = 'executed'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: requested_by_kind",
        "update approvals set requested_by_kind = 'agent' where state = 'executed'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: required_roles",
        "update approvals set required_roles = '[\"technician\"]' where state = 'executed' and ticket_id is null",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: demands",
        "update approvals set demands = '[]' where state = 'executed'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: votes",
        "update approvals set votes = '[]' where state = 'executed' and ticket_id is null",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: votes",
        "update approvals set votes = jsonb_set(votes, '{0,verdict}', '\"reject\"') where state = 'executed' and ticket_id is not null",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: votes",
        "update approvals set votes = jsonb_set(votes, '{0,actor_id}', '\"usr_somebody_else\"') where state = 'executed'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: votes",
        "update approvals set votes = jsonb_set(votes, '{0,roles}', '[\"tenant_admin\", \"qa\"]') where state = 'executed'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: version",
        "update approvals set version = version + 1 where state = 'pending'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: revision",
        "update approvals set revision = revision + 1 where state = 'pending'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: facts_sha256",
        "update approvals set facts_sha256 = repeat('0', 64) where state = 'pending'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: expires_at",
        "update approvals set expires_at = expires_at + interval '1 day' where state = 'pending'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: on_expiry",
        "update approvals set on_expiry = 'escalate' where state = 'executed'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: steps",
        "update approvals set steps = '[]' where state = 'pending'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: claimed_by",
        "update approvals set claimed_by = 'usr_somebody_else' where claimed_by is not null",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: claimed_until",
        "update approvals set claimed_until = claimed_until + interval '1 hour' where claimed_by is not null",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: decision_id",
        "update approvals set decision_id = gen_random_uuid() where state = 'stale'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: decided_by",
        "update approvals set decided_by = 'usr_somebody_else' where state = 'executed' and ticket_id is null",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: decided_at",
        "update approvals set decided_at = decided_at + interval '1 hour' where state = 'executed'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: reason",
        "update approvals set reason = 'because' where state = 'stale'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: decided_command_id",
        "update approvals set decided_command_id = null where state = 'executed'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: executed_command_id",
        "update approvals set executed_command_id = command_id where state = 'executed'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: request_sha256",
        "update approvals set request_sha256 = repeat('0', 64) where state = 'executed'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: request",
        "update approvals set request = '{}' where state = 'executed'",
    ),
    (
        Invariant::I1,
        "tells of is missing",
        "delete from approvals where ticket_id is null",
    ),
    (
        Invariant::I1,
        "held command is missing, or is not what it is bound to",
        "update held_commands set sha256 = repeat('0', 64)",
    ),
    (
        Invariant::I1,
        "held command is missing, or is not what it is bound to",
        "update held_commands set proposer = jsonb_set(proposer, '{id}', '\"usr_somebody_else\"')",
    ),
    (
        Invariant::I1,
        "held command is missing, or is not what it is bound to",
        "update approvals set request_sha256 = repeat('0', 64) where state = 'pending'",
    ),
    (
        Invariant::I1,
        "are not 1..n up to that of its approval",
        "delete from held_commands where version = 1",
    ),
    (
        Invariant::I2,
        "without the attempt that was held, or amended",
        "update held_commands set command_id = gen_random_uuid() where version = 2",
    ),
    (
        Invariant::I3,
        "does not carry its open approvals",
        "update tickets set doc = jsonb_set(doc, '{approvals}', '[]')",
    ),
    (
        Invariant::I5,
        "carried out by no command, or by more than one",
        "update audit_events set payload = payload - 'approval' where payload ? 'approval'",
    ),
    (
        Invariant::I5,
        "carried out that was not released so",
        "update audit_events set payload = jsonb_set(payload, '{approval,approved_by}', '[\"usr_x\"]')
         where payload ? 'approval'",
    ),
    (
        Invariant::I5,
        "without the people whom it asks for",
        "update audit_events set actor_kind = 'agent' where operation = 'decide_approval'",
    ),
    (
        Invariant::I5,
        "without the people whom it asks for",
        "update audit_events a set actor_id = p.requested_by from approvals p
         where a.command_id = p.decided_command_id and a.operation = 'decide_approval'",
    ),
    // Carried out and never released: by one word of two, by a no, by whom nobody had asked.
    (
        Invariant::I5,
        "carried out that was not released so",
        "update audit_events set changes = jsonb_set(changes, '{0,event}', jsonb_build_object(
             'type', 'approval.voted', 'data', jsonb_build_object(
                 'approval_id', changes #> '{0,event,data,approval_id}',
                 'verdict', 'approve', 'waits_for', '[]'::jsonb)))
         where changes #>> '{0,event,type}' = 'approval.decided'",
    ),
    (
        Invariant::I5,
        "carried out that was not released so",
        "update audit_events set payload = jsonb_set(payload, '{verdict}', '\"reject\"')
         where operation = 'decide_approval' and ticket_id is null",
    ),
    (
        Invariant::I5,
        "by somebody who had none",
        "update audit_events set actor_roles = '[\"qa\"]' where operation = 'decide_approval'",
    ),
    // By too few: of what was asked for, of what it was amended to, of a change order.
    (
        Invariant::I5,
        "without the people whom it asks for",
        "update policy_decisions d set approval = jsonb_set(d.approval, '{demands,0,count}', '2')
           from approvals p where d.id = p.decision_id and p.version = 1",
    ),
    (
        Invariant::I5,
        "without the people whom it asks for",
        "update policy_decisions d set approval = jsonb_set(d.approval, '{demands,0,count}', '2')
           from audit_events a where a.payload #>> '{amended,decision_id}' = wire_id('dec', d.id)",
    ),
    (
        Invariant::I5,
        "given by too few people, or by one of them twice",
        "update approvals set demands = jsonb_set(demands, '{0,count}', '2')
         where kind = 'change_order' and state = 'approved'",
    ),
    (
        Invariant::I5,
        "given by too few people, or by one of them twice",
        "update approvals set votes = votes || votes where state = 'executed'",
    ),
    (
        Invariant::I5,
        "given by too few people, or by one of them twice",
        "update approvals set votes = jsonb_set(votes, '{0,on_behalf_of}', to_jsonb(requested_by))
         where state = 'executed'",
    ),
    // By others than those of whom the policy was told, and after its end.
    (
        Invariant::I5,
        "carried out that was not released so",
        "update policy_decisions
            set input = jsonb_set(input::jsonb, '{release,votes,0,actor_id}', '\"usr_x\"')::text
         where ticket_id is null and jsonb_typeof(input::jsonb -> 'release') = 'object'",
    ),
    (
        Invariant::I5,
        "carried out that was not released so",
        "update policy_decisions
            set input = jsonb_set(input::jsonb, '{release,votes,0,roles}', '[\"platform_admin\"]')::text
         where ticket_id is not null and jsonb_typeof(input::jsonb -> 'release') = 'object'",
    ),
    (
        Invariant::I5,
        "carried out that was not released so",
        "update policy_decisions
            set input = jsonb_set(input::jsonb, '{release,codes}', '[\"QUIET_HOURS\"]')::text
         where jsonb_typeof(input::jsonb -> 'release') = 'object'",
    ),
    (
        Invariant::I5,
        "carried out that was not released so",
        "update audit_events set at = at + interval '30 days' where payload ? 'approval'",
    ),
    (
        Invariant::I5,
        "nothing was to be said any more",
        "update audit_events set at = at + interval '30 days' where operation = 'decide_approval'",
    ),
    // What an amendment asks for.
    (
        Invariant::I1,
        "is not what its timeline tells: demands",
        "update approvals set demands = '[]' where version = 2 and state = 'pending'",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: decision_id",
        "update approvals set decision_id = gen_random_uuid() where version = 2",
    ),
    (
        Invariant::I2,
        "an amendment without the decision on what it asks for",
        "delete from policy_decisions d using audit_events a
         where a.payload #>> '{amended,decision_id}' = wire_id('dec', d.id)",
    ),
    (
        Invariant::I2,
        "a decision without its audit row",
        "update audit_events set payload = payload - 'amended' where payload ? 'amended'",
    ),
    (
        Invariant::I9,
        "the decision on what was amended is not the one of the chain",
        "update policy_decisions d set reasons = '[]' from audit_events a
         where a.payload #>> '{amended,decision_id}' = wire_id('dec', d.id)",
    ),
    (
        Invariant::I5,
        "let pass as released, and carried out no approval",
        "update policy_decisions set input = jsonb_set(input::jsonb, '{release}', '{}')::text
         where operation = 'close'",
    ),
    (
        Invariant::I1,
        "that the policy did not allow",
        "update audit_events set changes = changes || changes
         where changes #>> '{0,event,type}' = 'approval.requested'",
    ),
    (
        Invariant::I1,
        "a held attempt that the policy did not hold",
        "update policy_decisions set result = 'ALLOW' where result = 'REQUIRE_APPROVAL'",
    ),
    (
        Invariant::I1,
        "a stored answer that does not tell",
        "update idempotency_keys set body = replace(body, '\"state\":\"pending\"', '\"state\":\"approved\"')
         where status = 202",
    ),
    (
        Invariant::I1,
        "a comment that is not what its attempt wrote",
        "update approval_comments set author_id = 'usr_somebody_else'",
    ),
    (
        Invariant::I1,
        "a comment that is not what its attempt wrote",
        "delete from approval_comments",
    ),
    (
        Invariant::I1,
        "a delegation that is not",
        "update delegations set roles = '[\"tenant_admin\"]'",
    ),
    (
        Invariant::I1,
        "a delegation that is not",
        "update delegations set revoked_at = null",
    ),
    (
        Invariant::I1,
        "a delegation that is not",
        "delete from delegations",
    ),
    (
        Invariant::I1,
        "a change of a stage that is not",
        "update stage_changes set to_mode = 'AUTO'",
    ),
    (
        Invariant::I1,
        "a change of a stage that is not",
        "update stage_changes set decided_by = 'usr_somebody_else'",
    ),
    (
        Invariant::I1,
        "a change of a stage that is not",
        "update stage_changes set stage_version = stage_version + 1",
    ),
    (
        Invariant::I1,
        "a change to come that is void",
        "update stage_changes set superseded_by = null",
    ),
    (
        Invariant::I1,
        "a change to come that is void",
        "update stage_changes set superseded_by = command_id where superseded_by is not null",
    ),
    (
        Invariant::I1,
        "a stage that is not what was decided last",
        "update autonomy_stages set mode = 'AUTO'",
    ),
    (
        Invariant::I1,
        "a stage that is not what was decided last",
        "delete from autonomy_stages",
    ),
    (
        Invariant::I1,
        "a report that is not what its attempt kept",
        "update reports set document = document || ' '",
    ),
    (
        Invariant::I1,
        "a report that is not what its attempt kept",
        "update reports set figures = '{\"passed\": 7}' where kind = 'drill'",
    ),
    (
        Invariant::I1,
        "figures are not those of its document",
        "update reports set figures = jsonb_set(figures, '{sample}', '999') where kind = 'gate'",
    ),
    (
        Invariant::I1,
        "a report that an attempt kept is missing",
        "delete from reports",
    ),
    (
        Invariant::I1,
        "a bundle that is not what was uploaded",
        "insert into policy_bundles (sha256, version, archive, uploaded_at, uploaded_by, command_id)
         values (repeat('0', 64), '9', '', now(), 'usr_x', gen_random_uuid())",
    ),
    (
        Invariant::I1,
        "an activation of a bundle that is not",
        "insert into bundle_activations (sha256, version, previous_sha256, activated_at, activated_by,
                                         reason, command_id)
         select bundle_sha256, bundle_version, bundle_sha256, now(), 'usr_x', 'x', gen_random_uuid()
         from deployment",
    ),
    (
        Invariant::I1,
        "a bundle decides that was not activated last",
        "update deployment set bundle_sha256 = repeat('0', 64)",
    ),
    (
        Invariant::I1,
        "what workflows are to be told of",
        "delete from control_events where kind = 'kill_switch'",
    ),
    (
        Invariant::I1,
        "what workflows are to be told of",
        "update control_events set for_tenant = gen_random_uuid() where kind = 'stage'",
    ),
];

#[test]
fn an_approval_or_a_stage_that_is_not_what_was_decided_is_found() {
    each_is_found(RELEASED);
}

const ORPHANS: &[Plant] = &[
    (
        Invariant::I2,
        "a decision without its audit row",
        "delete from audit_events where stream like 'actor:%'",
    ),
    (
        Invariant::I2,
        "an audit row without its decision",
        "delete from policy_decisions where operation = 'close'",
    ),
    (
        Invariant::I2,
        "a stored answer without its audit row",
        "update idempotency_keys set command_id = gen_random_uuid() where operation = 'close'",
    ),
    (
        Invariant::I2,
        "an accepted attempt without its ticket",
        "update audit_events set ticket_id = null where operation = 'close'",
    ),
    (
        Invariant::I2,
        "a row beside the ticket",
        "update notes set command_id = gen_random_uuid()",
    ),
    (
        Invariant::I2,
        "a row beside the ticket",
        "update proposals set paired_command_id = gen_random_uuid()",
    ),
    (
        Invariant::I2,
        "a row beside the ticket",
        "update approvals set decided_command_id = gen_random_uuid()",
    ),
    (
        Invariant::I2,
        "a row beside the ticket",
        "update sla_records set command_id = gen_random_uuid()",
    ),
    (
        Invariant::I2,
        "a row beside the ticket",
        "insert into outbox_events (tenant_id, id, ticket_id, event_type, event_version, payload,
                                    command_id, correlation_id, traceparent, occurred_at, pending)
         select tenant_id, gen_random_uuid(), ticket_id, event_type, event_version, payload,
                gen_random_uuid(), correlation_id, traceparent, occurred_at, false
         from outbox_events where event_type = 'note.added'",
    ),
    (
        Invariant::I2,
        "visits are not those of its document",
        "update visits set stage = 'open' where number = 1",
    ),
    (
        Invariant::I2,
        "visits are not those of its document",
        "delete from visits where number = 2",
    ),
];

#[test]
fn a_row_that_stands_alone_is_found() {
    each_is_found(ORPHANS);
}

const MESSAGES: &[Plant] = &[
    (
        Invariant::I1,
        "is missing, or belongs elsewhere",
        "update comms_messages set ticket_id = null where provider_message_id = 'one'",
    ),
    (
        Invariant::I1,
        "is missing, or belongs elsewhere",
        "delete from comms_messages where purpose = 'conversation'",
    ),
    (
        Invariant::I1,
        "that is not what its ticket's timeline tells",
        "update comms_messages set channel = 'voice' where provider_message_id = 'one'",
    ),
    (
        Invariant::I1,
        "that is not what its ticket's timeline tells",
        "update comms_messages set routing = jsonb_set(routing, '{ticket_id}', '\"x\"')
         where provider_message_id = 'two'",
    ),
    (
        Invariant::I1,
        "that is not what its ticket's timeline tells",
        "update comms_messages set purpose = 'conversation' where purpose = 'approval_waiting'",
    ),
    (
        Invariant::I1,
        "that is not what its ticket's timeline tells",
        "update comms_messages set command_id = gen_random_uuid() where provider_message_id = 'one'",
    ),
    (
        Invariant::I2,
        "whose timeline does not tell of it once",
        "update comms_messages set ticket_id = (select ticket_id from comms_messages
             where provider_message_id = 'one') where provider_message_id = 'three'",
    ),
    (
        Invariant::I2,
        "held without an attempt that held it",
        "update comms_messages set command_id = gen_random_uuid()
         where provider_message_id = 'three'",
    ),
    (
        Invariant::I1,
        "held, or knew from before, is missing",
        "delete from comms_messages where provider_message_id = 'three'",
    ),
    (
        Invariant::I2,
        "neither held nor a notice",
        "update comms_messages set ticket_id = null where purpose = 'conversation'",
    ),
    (
        Invariant::I10,
        "of another tenant's ticket or person",
        "update comms_messages m set ticket_id = (select id from tickets t
             where t.tenant_id <> m.tenant_id limit 1) where provider_message_id = 'four'",
    ),
    (
        Invariant::I2,
        "a message without its contents",
        "delete from comms_contents where text = 'Hello?'",
    ),
    (
        Invariant::I2,
        "place in the queue is missing",
        "delete from comms_queue",
    ),
    (
        Invariant::I2,
        "place in the queue is missing",
        "update comms_queue set due_at = due_at + interval '1 second'",
    ),
];

#[test]
fn a_message_that_is_not_what_was_told_is_found() {
    each_is_found(MESSAGES);
}

const STORIES: &[Plant] = &[
    (
        Invariant::I3,
        "does not fold to the ticket",
        "update tickets set doc = jsonb_set(doc, '{nte_cents}', '1')",
    ),
    (
        Invariant::I3,
        "does not fold to the ticket",
        "update tickets set doc = jsonb_set(doc, '{version}', '99')",
    ),
    (
        Invariant::I3,
        "not applied to the version that was there",
        "update audit_events set applied_to_version = applied_to_version - 1,
                                 produced_version = produced_version - 1 where operation = 'close'",
    ),
    (
        Invariant::I3,
        "do not lead to the version",
        "update audit_events set produced_version = produced_version + 1 where operation = 'close'",
    ),
    (
        Invariant::I3,
        "cannot be read",
        "update audit_events set changes = '[{}]' where operation = 'close'",
    ),
    (
        Invariant::I4,
        "not numbered 1..n",
        "delete from outbox_events where seq = 3",
    ),
    (
        Invariant::I4,
        "not numbered 1..n",
        "update tickets set event_seq = event_seq + 1",
    ),
    (
        Invariant::I4,
        "knowing more than there was",
        "update audit_events set payload = payload || '{\"applied_seq\": 99}'
         where operation = 'record_sla'",
    ),
    (
        Invariant::I7,
        "a parked event",
        "update outbox_events set parked_at = now(), parked_reason = 'planted' where seq = 1",
    ),
    (
        Invariant::I8,
        "the transition is not legal",
        "update audit_events set after = 'CLOSED' where operation = 'triage' and refused is null",
    ),
    (
        Invariant::I8,
        "none that exists",
        "update audit_events set after = 'LOST' where operation = 'close'",
    ),
];

#[test]
fn a_story_that_does_not_add_up_is_found() {
    each_is_found(STORIES);
}

/// Software that acted where it must not. The first row is found by its place in the order only: the policy was
/// told that the switch is released, as it would be if the two were not kept apart.
const BY_ITSELF: &[Plant] = &[
    (
        Invariant::I5,
        "software acted under an engaged kill switch",
        "update audit_events a set actor_kind = 'agent', written = e.written + 1,
                recorded_at = e.recorded_at + interval '1 microsecond'
         from audit_events e
         where e.operation = 'engage_kill_switch' and e.refused is null
           and a.tenant_id = e.tenant_id and a.operation = 'close'",
    ),
    (
        Invariant::I5,
        "software acted under an engaged kill switch",
        "update audit_events a set actor_kind = 'agent', written = e.written + 1,
                recorded_at = e.recorded_at + interval '1 microsecond'
         from audit_events e
         where e.operation = 'engage_kill_switch' and e.refused is null
           and a.tenant_id = e.tenant_id and a.operation = 'record_sla';
         update policy_decisions set input = jsonb_set(input::jsonb, '{actor,kind}', '\"agent\"')::text
         where operation = 'record_sla'",
    ),
    (
        // It was never released.
        Invariant::I5,
        "software acted under an engaged kill switch",
        "update audit_events set operation = 'release_kill' where operation = 'release_kill_switch';
         update audit_events set actor_kind = 'workflow', recorded_at = now(),
                written = (select max(written) + 1 from audit_events)
         where operation = 'close'",
    ),
    (
        Invariant::I5,
        "software changed a ticket by itself in shadow mode",
        "update policy_decisions set input = jsonb_set(input::jsonb, '{actor,kind}', '\"workflow\"')::text
         where operation = 'close'",
    ),
];

#[test]
fn software_that_acted_by_itself_is_found() {
    each_is_found(BY_ITSELF);
}

#[test]
fn the_books_of_the_workflow_go_on_under_the_kill_switch() {
    servers::run(async || {
        let database = Database::copy_of(healthy().await).await;
        // As if the records had been kept, and a person had closed, after software was stopped.
        break_it(
            &database,
            "update audit_events a set written = e.written + 1,
                    recorded_at = e.recorded_at + interval '1 microsecond'
             from audit_events e
             where e.operation = 'engage_kill_switch' and e.refused is null
               and a.tenant_id = e.tenant_id
               and a.operation in ('record_sla', 'record_proposal', 'close')",
        )
        .await;
        assert_eq!(violations(&database).await, []);
        database.remove().await;
    });
}

/// Software that acted at another stage than the one that stood: policy was told of one that fits, as it
/// would be if it read the wrong row, so nothing else finds it.
const BEYOND_ITS_STAGE: &[&str] = &[
    // After its stage was taken back, by the order of the commits; clocks say nothing of it.
    "update audit_events a set written = d.written + 1 from audit_events d
     where d.operation = 'demote_stage' and a.operation = 'triage' and a.actor_kind = 'agent'",
    // Before it was raised.
    "update audit_events a set written = p.written - 1
     from (select max(written) as written from audit_events
            where changes #>> '{0,data,executed,data,to}' = 'AUTO') p
     where a.operation = 'triage' and a.actor_kind = 'agent'",
    // It was raised less far.
    "update audit_events set changes = jsonb_set(changes, '{0,data,executed,data,to}', '\"APPROVE\"')
     where changes #>> '{0,data,executed,data,to}' = 'AUTO'",
    // Its class stands elsewhere.
    "update audit_events set written = (
         select min(written) from audit_events where changes #>> '{0,data,executed,data,to}' = 'AUTO')
     where operation = 'demote_stage'",
    // The ticket had been taken out.
    "update audit_events set changes = jsonb_set(changes, '{0,event,data,opt_out}', 'true')
     where operation = 'set_ticket_autonomy'",
    // It is in no share.
    "update policy_decisions set input = jsonb_set(input::jsonb, '{stage}', input::jsonb -> 'stage'
         || '{\"configured\": \"CANARY\", \"percent\": 100, \"in_canary\": true}')::text
     where operation = 'triage' and input::jsonb #>> '{actor,kind}' = 'agent'",
    // Nobody looked at a stage.
    "update policy_decisions set input = (input::jsonb - 'stage')::text
     where operation = 'triage' and input::jsonb #>> '{actor,kind}' = 'agent'",
];

#[test]
fn software_that_acted_at_another_stage_than_the_one_that_stood_is_found() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        rollout::rules(&stack, rollout::easy).await;
        rollout::triaged(&stack, true).await;
        rollout::raise(&stack, rollout::TRIAGE, AutonomyMode::Auto, None).await;
        let job = rollout::fresh(&stack).await;
        // Taken out and let again: that is what its timeline tells.
        for opt_out in [true, false] {
            let body = json!({ "opt_out": opt_out, "reason": "customer_asked" });
            let ask = stack.command(
                Who::Dispatcher,
                Operation::SetTicketAutonomy,
                job.id(),
                &body,
            );
            ask.send().await.receipt();
        }
        let acted = rollout::act(&stack, Who::Agent, &job, "P1").await;
        assert_eq!(acted.status, 200, "{}", acted.text());
        let body = json!({
            "target": { "operation": "triage", "risk": "emergency" }, "to": "SHADOW",
            "reason": "wrong_triage",
        });
        let ask = stack.command(Who::TenantAdmin, Operation::DemoteStage, None, &body);
        let demoted = ask.send().await;
        assert!(demoted.status.is_success(), "{}", demoted.text());
        stack.verify().await;
        stack.stop_api().await;
        let healthy = stack.database().copy().await;
        stack.end().await;
        for sql in BEYOND_ITS_STAGE {
            let database = Database::copy_of(&healthy).await;
            assert_eq!(violations(&database).await, [], "before `{sql}`");
            break_it(&database, sql).await;
            let plant = (
                Invariant::I5,
                "at another stage than the one that stood",
                *sql,
            );
            let found = violations(&database).await;
            assert_found(&found, plant);
            let fault = found.iter().filter(|it| it.invariant == Invariant::I5);
            assert_eq!(fault.count(), 1, "nothing else tells: {found:#?}");
            database.remove().await;
        }
    });
}

const LOGS: &[Plant] = &[
    (
        Invariant::I9,
        "the row or one before it was changed",
        "update audit_events set payload = payload || '{\"reason\": \"other\"}' where operation = 'close'",
    ),
    (
        Invariant::I9,
        "the row or one before it was changed",
        "update audit_events set actor_id = 'usr_qa' where operation = 'close'",
    ),
    (
        Invariant::I9,
        "the row or one before it was changed",
        "update audit_events set at = at + interval '1 microsecond' where operation = 'close'",
    ),
    (
        Invariant::I9,
        "rows before it are missing",
        "delete from audit_events where operation = 'triage'",
    ),
    (
        Invariant::I9,
        "does not end where its ticket says",
        "delete from audit_events a using tickets t
         where a.ticket_id = t.id and a.position = t.chain_length",
    ),
    (
        // Whoever cuts the tail off and mends the ticket's end of the chain leaves a chain that is
        // whole in itself: only the checkpoint knows.
        Invariant::I9,
        "the chain was cut off",
        "delete from audit_events a using tickets t
         where a.ticket_id = t.id and t.chain_length > 1 and a.position = t.chain_length;
         update tickets t set chain_length = a.position, chain_head = a.chain_hash
         from audit_events a where a.ticket_id = t.id and a.position = t.chain_length - 1",
    ),
    (
        Invariant::I9,
        "the whole chain is missing",
        "delete from audit_events where stream like 'actor:%'",
    ),
    (
        Invariant::I9,
        "no row carries the end",
        "delete from audit_streams",
    ),
    (
        Invariant::I9,
        "on another ticket's chain",
        "update audit_events set ticket_id = (select id from tickets where state = 'NEW' limit 1)
         where operation = 'close'",
    ),
    (
        Invariant::I9,
        "one was removed",
        "delete from audit_checkpoints c where number = (
             select max(number) from audit_checkpoints m where m.tenant_id = c.tenant_id)",
    ),
    (
        Invariant::I9,
        "the checkpoint was changed",
        "update audit_checkpoints set heads = '[]'",
    ),
    (
        Invariant::I9,
        "not that of the sealing key",
        "update audit_checkpoints set signature = repeat('ab', 32)",
    ),
    (
        Invariant::I9,
        "sealed with another key",
        "update audit_checkpoints set key_id = 'other'",
    ),
    (
        Invariant::I9,
        "does not follow the checkpoint before it",
        "update audit_checkpoints set number = number + 100",
    ),
    (
        Invariant::I9,
        "may change or remove what is append-only",
        "grant delete on audit_events to dispatch_app",
    ),
    (
        Invariant::I9,
        "missing or disabled",
        "alter table policy_decisions disable trigger append_only",
    ),
];

#[test]
fn a_rewritten_log_is_found() {
    each_is_found(LOGS);
}

const WALLS: &[Plant] = &[
    (
        Invariant::I10,
        "without forced row-level security",
        "alter table notes no force row level security",
    ),
    (
        Invariant::I10,
        "without forced row-level security",
        "create table shared (tenant_id uuid not null)",
    ),
    (
        Invariant::I10,
        "other rows than those of one tenant",
        "create policy leak on notes for select to dispatch_app using (true)",
    ),
    (
        Invariant::I10,
        "without forced row-level security",
        "alter table held_commands no force row level security",
    ),
    (
        Invariant::I10,
        "none of the installation's own",
        "create table everybodys (ticket_id uuid)",
    ),
    (
        Invariant::I10,
        "may read what people wrote",
        "grant select on held_commands to dispatch_maintenance",
    ),
    (
        Invariant::I10,
        "owns something",
        "alter table notes owner to dispatch_app",
    ),
];

#[test]
fn an_open_wall_between_tenants_is_found() {
    each_is_found(WALLS);
}

#[test]
fn a_log_that_was_written_anew_is_found_by_its_seal() {
    servers::run(async || {
        let database = Database::copy_of(healthy().await).await;
        // Changes the last row of a chain and computes its hash anew, as somebody would who knows
        // how it is done; the end of the chain is mended too.
        type Row = (Value, DateTime<Utc>, i64, Vec<u8>);
        let (row, at, position, before): Row = sqlx::query_as(
            "select to_jsonb(a) - 'chain_hash' - 'recorded_at' - 'position', a.at, a.position, p.chain_hash
             from tickets t
             join audit_events a on a.ticket_id = t.id and a.position = t.chain_length
             join audit_events p on p.ticket_id = t.id and p.position = t.chain_length - 1
             where t.state = 'CLOSED'",
        )
        .fetch_one(&database.admin)
        .await
        .unwrap();
        let mut content = audit_row(&row, at);
        content.actor_id = "usr_somebody_else".into();
        let hash = link(&before, position.unsigned_abs(), &content.content());
        let sql = format!(
            "update audit_events set actor_id = 'usr_somebody_else', chain_hash = '\\x{0}'
             where command_id = '{1}';
             update tickets set chain_head = '\\x{0}' where state = 'CLOSED';
             update idempotency_keys set actor_id = 'usr_somebody_else' where command_id = '{1}'",
            hex(&hash),
            content.command_id.as_uuid(),
        );
        break_it(&database, &sql).await;
        let found = violations(&database).await;
        let whats: Vec<_> = found
            .iter()
            .map(|v| (v.invariant, v.what.as_str()))
            .collect();
        assert_eq!(
            whats,
            [(Invariant::I9, "the row is not the one that was sealed")]
        );
        database.remove().await;
    });
}

fn audit_row(row: &Value, at: DateTime<Utc>) -> AuditRow {
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    let word = |name: &str| row[name].as_str().map(str::to_owned);
    let id = |name: &str| Uuid::parse_str(row[name].as_str().unwrap()).unwrap();
    let number = |name: &str| row[name].as_u64().unwrap();
    AuditRow {
        id: contracts::AuditId::from_uuid(id("id")),
        tenant_id: contracts::TenantId::from_uuid(id("tenant_id")),
        stream: text("stream"),
        ticket_id: Some(TicketId::from_uuid(id("ticket_id"))),
        command_id: contracts::CommandId::from_uuid(id("command_id")),
        decision_id: contracts::DecisionId::from_uuid(id("decision_id")),
        decision_sha256: text("decision_sha256"),
        bundle_sha256: text("bundle_sha256"),
        request_id: text("request_id"),
        correlation_id: text("correlation_id"),
        trace_id: text("trace_id"),
        actor_id: text("actor_id"),
        actor_kind: text("actor_kind"),
        actor_roles: row["actor_roles"].clone(),
        tool_name: word("tool_name"),
        operation: text("operation"),
        at,
        refused: word("refused"),
        before: word("before"),
        after: word("after"),
        applied_to_version: number("applied_to_version"),
        produced_version: number("produced_version"),
        payload: row["payload"].clone(),
        changes: row["changes"].clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a change order rests on, when another bundle let it be asked for.
const JUDGED_ANEW: &[Plant] = &[
    (
        Invariant::I2,
        "a yes without the decision on what it released",
        "delete from policy_decisions d using audit_events a
         where a.payload #>> '{released,decision_id}' = wire_id('dec', d.id)",
    ),
    (
        Invariant::I2,
        "a yes without the decision on what it released",
        "update audit_events set payload = payload - 'released'",
    ),
    (
        Invariant::I9,
        "the decision on what was released is not the one of the chain",
        "update policy_decisions d set result = 'DENY' from audit_events a
         where a.payload #>> '{released,decision_id}' = wire_id('dec', d.id)",
    ),
    (
        Invariant::I2,
        "a decision on something else than what was released",
        "update policy_decisions d set ticket_id = null from audit_events a
         where a.payload #>> '{released,decision_id}' = wire_id('dec', d.id)",
    ),
    (
        Invariant::I1,
        "is not what its timeline tells: state",
        "update approvals set state = 'stale' where kind = 'change_order'",
    ),
];

#[test]
fn a_change_order_that_was_not_judged_anew_is_found() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        let mut job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        bundle_with(&stack, "nte/data.json", |mut data| {
            data["delta_percent"] = 120.into();
            data
        })
        .await;
        job.does(Operation::DecideApproval).await;
        stack.stop_api().await;
        let copy = stack.database().copy().await;
        stack.end().await;
        for plant in JUDGED_ANEW {
            let database = Database::copy_of(&copy).await;
            assert_eq!(violations(&database).await, [], "before `{}`", plant.2);
            break_it(&database, plant.2).await;
            assert_found(&violations(&database).await, *plant);
            database.remove().await;
        }
    });
}

/// As if nobody had compared the facts: whatever tells their hash tells the same one.
const CARRIED_OUT_ON_OTHER_FACTS: &str = "
    update audit_events a
       set changes = jsonb_set(a.changes, '{0,event,data,facts_sha256}', to_jsonb(repeat('0', 64)))
      from approvals p
     where p.command_id = a.command_id and p.kind = 'held_command' and p.state = 'executed'
       and p.version = 1;
    update approvals set facts_sha256 = repeat('0', 64)
     where kind = 'held_command' and state = 'executed' and version = 1";

#[test]
fn what_was_carried_out_on_other_facts_is_found_once() {
    servers::run(async || {
        let database = Database::copy_of(healthy().await).await;
        assert_eq!(violations(&database).await, []);
        let executed: i64 = sqlx::query_scalar(
            "select count(*) from approvals
              where kind = 'held_command' and state = 'executed' and version = 1",
        )
        .fetch_one(&database.admin)
        .await
        .unwrap();
        assert_eq!(executed, 1);
        break_it(&database, CARRIED_OUT_ON_OTHER_FACTS).await;
        let mut found = violations(&database).await;
        found.retain(|it| it.invariant == Invariant::I5);
        let [it] = &found[..] else {
            panic!("one was planted: {found:#?}");
        };
        assert!(
            it.what.contains("facts it was approved on had changed"),
            "{it:?}"
        );
        database.remove().await;
    });
}

#[test]
fn what_waits_too_long_is_found() {
    servers::run(async || {
        let database = Database::copy_of(healthy().await).await;
        break_it(
            &database,
            "update outbox_events set created_at = now() - interval '1 hour' where seq = 1",
        )
        .await;
        let within = |bound| violations_within(&database, bound);
        let found = within(Duration::from_secs(60)).await;
        assert!(
            !found.is_empty() && found.iter().all(|v| v.invariant == Invariant::I7),
            "{found:?}"
        );
        assert_eq!(within(Duration::from_secs(7200)).await, []);
        // What was delivered does not wait.
        break_it(&database, "update outbox_events set pending = false").await;
        assert_eq!(within(Duration::from_secs(60)).await, []);
        database.remove().await;
    });
}

#[test]
fn what_no_checkpoint_covers_is_found() {
    servers::run(async || {
        let database = Database::copy_of(healthy().await).await;
        let within = |bound| violations_sealed_within(&database, bound);
        assert_eq!(
            within(Duration::ZERO).await,
            [],
            "all was sealed at the end"
        );
        // As if a pass of the sealer had skipped the chains for good.
        break_it(
            &database,
            "delete from audit_sealed_heads; delete from audit_checkpoints",
        )
        .await;
        let found = within(Duration::ZERO).await;
        assert!(
            !found.is_empty() && found.iter().all(|v| v.invariant == Invariant::I9),
            "{found:?}"
        );
        assert_eq!(within(Duration::from_secs(7200)).await, []);
        database.remove().await;
    });
}

#[test]
fn what_a_client_was_told_is_compared() {
    servers::run(async || {
        let stack = Stack::api(ApiOptions::default()).await;
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let body = job.body(Operation::AddNote).await;
        let mut ledger = Vec::new();
        for who in [Who::Dispatcher, Who::Auditor] {
            let reply = stack
                .command(who, Operation::AddNote, job.id(), &body)
                .send()
                .await;
            ledger.push(Acknowledged {
                tenant_id: stack.tenant().id,
                command_id: reply.header("x-command-id").unwrap().parse().unwrap(),
                status: reply.status.as_u16(),
                body: Some(reply.text()),
            });
        }
        let pool = &stack.database().maintenance;
        assert_eq!(receipts(pool, &ledger).await.unwrap(), []);
        type Change = fn(&mut Acknowledged);
        let changes: [Change; 4] = [
            |told| told.command_id = contracts::CommandId::from_uuid(Uuid::now_v7()),
            |told| told.status += 1,
            |told| told.body = Some("{}".into()),
            |told| told.tenant_id = contracts::TenantId::from_uuid(Uuid::now_v7()),
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut told = ledger.clone();
            change(&mut told[1]);
            let found = receipts(pool, &told).await.unwrap();
            assert_eq!(found.len(), 1, "change {n}: {found:?}");
            assert_eq!(found[0].invariant, Invariant::I12);
        }
        stack.verify().await;
        stack.end().await;
    });
}

/// The invariants that the checker says it checks, each planted above or compared.
#[test]
fn every_invariant_of_the_checker_is_planted() {
    use Invariant::*;
    let planted: BTreeSet<_> = [EFFECTS, ALTERED, ORPHANS, STORIES, BY_ITSELF, LOGS, WALLS]
        .iter()
        .flat_map(|plants| plants.iter().map(|plant| plant.0))
        .chain([I12])
        .collect();
    let claimed = [I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I12];
    // Without a wildcard: a new invariant does not compile until it stands here.
    for invariant in claimed {
        match invariant {
            I1 | I2 | I3 | I4 | I5 | I6 | I7 | I8 | I9 | I10 | I12 => {}
        }
    }
    assert_eq!(planted, BTreeSet::from(claimed));
}
