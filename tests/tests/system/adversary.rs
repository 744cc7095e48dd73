//! Software that tries everything, at once, while people change everything around it: nothing of it
//! takes effect beyond what is let pass at the moment of its commit.
//!
//! Agents and workflows send what they may and what they may not, send it again, and carry out
//! approvals at any moment; stages, kill switches, opt-outs, facts and approvals change meanwhile.
//! Afterwards the database alone is asked: [`judge`] goes through what was accepted in the order of
//! the commits, keeps its own account of stages, switches and approvals, and holds each act of
//! software against it. What it could not see would prove nothing, so acts that must not be are
//! planted in a copy of the history, each to be found.
//!
//! `DISPATCH_ADVERSARY_REQUESTS` makes it longer, `DISPATCH_ADVERSARY_SEED` chooses the sequence.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{TimeDelta, Utc};
use contracts::{
    ActorKind, Operation, Priority, Role, TenantId, TicketId, TicketState,
    approval::{ApprovalKind, TicketApproval, Verdict},
    command::CommandClass,
    event::{AutonomyMode, TicketChange, TicketEvent},
    filing::Filed,
    kill_switch::KillScope,
    ticket::Ticket,
};
use dispatch_tests::{
    http::{Reply, key},
    stack::{ApiOptions, Stack, with_api_options},
    wait::{self, BOUND},
    who::{Who, mint},
};
use domain::{TicketKey, approval::facts_sha256, autonomy::is_in_canary, evolve};
use futures::future::join_all;
use policy::{BundleFiles, StarterBundles};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use sqlx::FromRow;
use uuid::Uuid;

/// Requests of software; people, stages and kill switches come on top.
const REQUESTS: u64 = 2_000;
/// Each takes some milliseconds; a machine that is busy takes its time.
const MILLIS_EACH: u64 = 250;
const TICKETS: usize = 24;

/// What software may do once it is let.
const ACTS: [Operation; 6] = [
    Operation::Triage,
    Operation::ProposeSchedule,
    Operation::Dispatch,
    Operation::QaVerify,
    Operation::GenerateInvoice,
    Operation::CommsOutbound,
];

/// What it never may.
const NEVER: [Operation; 8] = [
    Operation::ConfirmSchedule,
    Operation::Reschedule,
    Operation::Unassign,
    Operation::CheckIn,
    Operation::RequestChange,
    Operation::Close,
    Operation::Cancel,
    Operation::SetTicketAutonomy,
];

/// A request as it was sent, to be sent again.
#[derive(Debug, Clone)]
struct Sent {
    who: Who,
    operation: Operation,
    ticket: TicketId,
    body: Value,
    key: String,
}

#[derive(Debug)]
struct Play {
    stack: Stack,
    seed: u64,
    /// So many requests of software, and it is over.
    most: u64,
    until: Instant,
    tickets: Mutex<Vec<TicketId>>,
    /// Approvals that were ever seen, with their tickets and versions.
    seen: Mutex<Vec<(TicketId, Value, u32)>>,
    sent: AtomicU64,
    /// Those of them that software sent.
    by_software: AtomicU64,
    replayed: AtomicU64,
}

impl Play {
    fn goes_on(&self) -> bool {
        self.by_software.load(Ordering::Relaxed) < self.most && Instant::now() < self.until
    }

    /// Waits until so many more requests were sent, or all is over.
    async fn after(&self, more: u64) {
        let sent = || self.sent.load(Ordering::Relaxed);
        let enough = sent() + more;
        wait::until("more requests", BOUND, async || {
            match sent() >= enough || !self.goes_on() {
                true => Ok(()),
                false => Err(enough - sent()),
            }
        })
        .await;
    }

    async fn send(&self, sent: &Sent) -> Reply {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let ask = self
            .stack
            .command(sent.who, sent.operation, sent.ticket, &sent.body)
            .key(&sent.key);
        let reply = ask.send().await;
        assert!(
            reply.status.as_u16() < 500 || reply.status == 503,
            "seed {}: {sent:?}: {}",
            self.seed,
            reply.text()
        );
        reply
    }

    async fn does(&self, who: Who, operation: Operation, ticket: TicketId, body: Value) -> Reply {
        let key = key();
        let sent = Sent {
            who,
            operation,
            ticket,
            body,
            key,
        };
        self.send(&sent).await
    }

    fn any_ticket(&self, rng: &mut StdRng) -> TicketId {
        let tickets = self.tickets.lock().unwrap();
        *tickets.choose(rng).expect("there are some")
    }

    async fn look(&self, id: TicketId) -> Ticket {
        let client = self.stack.client(self.stack.tenant(), Who::Dispatcher);
        let ticket = client.ticket(id).await.expect("the ticket is there");
        let mut seen = self.seen.lock().unwrap();
        for approval in &ticket.approvals {
            let id = json!(approval.id);
            if !seen.iter().any(|it| it.1 == id && it.2 == approval.version) {
                seen.push((ticket.id, id, approval.version));
            }
        }
        ticket
    }

    fn body(&self, operation: Operation, ticket: TicketId, rng: &mut StdRng) -> Value {
        let tenant = self.stack.tenant();
        let start = Utc::now() + TimeDelta::hours(rng.random_range(1..40));
        let window = json!({ "start": start, "end": start + TimeDelta::hours(2) });
        let reason = json!({ "reason": "adversary" });
        let evidence = |kinds: &[&str]| -> Vec<Value> {
            let one = |kind| json!({ "kind": kind, "sha256": "0d".repeat(32) });
            kinds.iter().map(one).collect()
        };
        match operation {
            Operation::Triage => json!({
                "priority": (["P1", "P2", "P3", "P4"].choose(rng)),
                "details": { "pane_count": rng.random_range(1..9) },
            }),
            Operation::ProposeSchedule => json!({ "window": window }),
            Operation::Reschedule => json!({ "window": window, "reason": "customer_request" }),
            Operation::Dispatch => json!({ "technician_id": tenant.technicians[0] }),
            Operation::GenerateInvoice => json!({ "lines": [
                { "item": "call_out", "quantity": 1, "unit_cents": rng.random_range(100..9_500) },
            ]}),
            Operation::CommsOutbound => json!({
                "ticket_id": ticket, "contact_id": tenant.contact, "channel": "sms",
                "text": "We are on our way.",
            }),
            Operation::Complete => json!({
                "evidence": evidence(&["photo_before", "photo_after", "signature"]),
            }),
            Operation::RequestChange => json!({
                "scope": "shopfront",
                "price_delta_cents": if rng.random_bool(0.5) { 300_000 } else { 5_000 },
            }),
            Operation::SetTicketAutonomy => {
                json!({ "opt_out": rng.random_bool(0.5), "reason": "adversary" })
            }
            Operation::QaReject => json!({ "reasons": ["seal_leaks"] }),
            Operation::Unassign | Operation::Cancel | Operation::Reopen => reason,
            _ => json!({}),
        }
    }

    /// One agent or workflow.
    async fn software(&self, who: Who, n: u64) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ (n << 8));
        let mut earlier: Vec<Sent> = Vec::new();
        while self.goes_on() {
            let ticket = self.look(self.any_ticket(&mut rng)).await;
            let sent = match rng.random_range(0..20) {
                0..2 if !earlier.is_empty() => {
                    self.replayed.fetch_add(1, Ordering::Relaxed);
                    earlier.choose(&mut rng).cloned().expect("not empty")
                }
                2..8 if who == Who::Workflow => match self.execution(&ticket, &mut rng) {
                    Some(sent) => sent,
                    None => continue,
                },
                8 => self.forbidden(who, &ticket, &mut rng),
                _ => {
                    let operation = fitting(&ticket, &mut rng);
                    let body = self.body(operation, ticket.id, &mut rng);
                    let key = key();
                    Sent {
                        who,
                        operation,
                        ticket: ticket.id,
                        body,
                        key,
                    }
                }
            };
            let reply = self.send(&sent).await;
            self.by_software.fetch_add(1, Ordering::Relaxed);
            let never =
                NEVER.contains(&sent.operation) || sent.operation == Operation::DecideApproval;
            assert!(
                !never || !reply.status.is_success(),
                "seed {}: {sent:?}: {}",
                self.seed,
                reply.text()
            );
            earlier.push(sent);
            if earlier.len() > 30 {
                earlier.remove(0);
            }
        }
    }

    /// What software has no right to, its own approvals included.
    fn forbidden(&self, who: Who, ticket: &Ticket, rng: &mut StdRng) -> Sent {
        let open = ticket.approvals.first().filter(|_| rng.random_bool(0.5));
        let (operation, body) = match open {
            Some(open) => (
                Operation::DecideApproval,
                json!({ "approval_id": open.id, "verdict": "approve", "version": open.version }),
            ),
            None => {
                let operation = *NEVER.choose(rng).expect("not empty");
                (operation, self.body(operation, ticket.id, rng))
            }
        };
        Sent {
            who,
            operation,
            ticket: ticket.id,
            body,
            key: key(),
        }
    }

    /// An approval to be carried out: one of this ticket, or any that was ever there.
    fn execution(&self, ticket: &Ticket, rng: &mut StdRng) -> Option<Sent> {
        let released: Vec<_> = ticket.approvals.iter().filter(|it| it.released).collect();
        let (ticket, id, version) = match released.choose(rng) {
            Some(open) if rng.random_bool(0.8) => (ticket.id, json!(open.id), open.version),
            _ => self.seen.lock().unwrap().choose(rng).cloned()?,
        };
        let version = version + u32::from(rng.random_bool(0.05));
        // As the workflow does, it tries again under the same key.
        let key = match rng.random_bool(0.5) {
            true => format!("execute/{}/{version}", id.as_str().unwrap_or_default()),
            false => key(),
        };
        let operation = Operation::ExecuteApproval;
        Some(Sent {
            who: Who::Workflow,
            operation,
            ticket,
            body: json!({ "approval_id": id, "version": version, "applied_seq": 1 }),
            key,
        })
    }

    /// People who work on tickets: they change the facts.
    async fn people(&self, n: u64) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ (n << 16));
        while self.goes_on() {
            let id = self.any_ticket(&mut rng);
            let ticket = self.look(id).await;
            use Operation::*;
            if rng.random_bool(0.08) {
                let (who, operation) = *[
                    (Who::Dispatcher, SetTicketAutonomy),
                    (Who::Dispatcher, Triage),
                    (Who::Dispatcher, Reschedule),
                    (Who::Dispatcher, Unassign),
                    (Who::Qa, QaReject),
                ]
                .choose(&mut rng)
                .expect("not empty");
                let mut body = self.body(operation, id, &mut rng);
                if operation == SetTicketAutonomy && rng.random_bool(0.6) {
                    body["opt_out"] = false.into();
                }
                self.does(who, operation, id, body).await;
                continue;
            }
            let step = match ticket.state {
                TicketState::New => (Who::Dispatcher, Triage),
                TicketState::Triaged | TicketState::ReturnPending => {
                    (Who::Dispatcher, ProposeSchedule)
                }
                TicketState::ScheduleProposed => (Who::Dispatcher, ConfirmSchedule),
                TicketState::Scheduled => (Who::Dispatcher, Dispatch),
                TicketState::Dispatched => (Who::Technician, CheckIn),
                TicketState::OnSite if rng.random_bool(0.4) => (Who::Technician, RequestChange),
                TicketState::OnSite => (Who::Technician, Complete),
                TicketState::WorkComplete => (Who::Qa, QaVerify),
                TicketState::Verified => (Who::Billing, GenerateInvoice),
                TicketState::Invoiced => (Who::Billing, Close),
                TicketState::ChangeRequested => {
                    self.decides(&ticket, &mut rng).await;
                    continue;
                }
                TicketState::Closed | TicketState::Cancelled => {
                    self.replace(id).await;
                    continue;
                }
            };
            // What software may do is left to it, most of the time.
            if ACTS.contains(&step.1) && rng.random_bool(0.8) {
                self.decides(&ticket, &mut rng).await;
                continue;
            }
            let body = self.body(step.1, id, &mut rng);
            self.does(step.0, step.1, id, body).await;
        }
    }

    async fn replace(&self, ended: TicketId) {
        let id = opened(&self.stack).await;
        let mut tickets = self.tickets.lock().unwrap();
        if let Some(place) = tickets.iter_mut().find(|it| **it == ended) {
            *place = id;
        }
    }

    /// A person looks at what waits: yes, no, a comment, another price, or the time runs out.
    async fn decides(&self, ticket: &Ticket, rng: &mut StdRng) {
        let waiting: Vec<_> = ticket.approvals.iter().filter(|it| !it.released).collect();
        let Some(open) = waiting.choose(rng) else {
            return;
        };
        let id = ticket.id;
        let who = approver(open);
        match rng.random_range(0..20) {
            0 => {
                let body = json!({ "approval_id": open.id, "minutes": 1 });
                self.does(who, Operation::ClaimApproval, id, body.clone())
                    .await;
                let body = json!({ "approval_id": open.id });
                self.does(who, Operation::ReleaseApproval, id, body).await;
            }
            1 => {
                let body = json!({ "approval_id": open.id, "text": "Is that so?" });
                self.does(who, Operation::CommentApproval, id, body).await;
            }
            2 => {
                let expires_at = Utc::now() + TimeDelta::hours(rng.random_range(1..9));
                let body = json!({
                    "approval_id": open.id, "expires_at": expires_at, "reason": "later",
                });
                self.does(Who::Dispatcher, Operation::ChangeApprovalDue, id, body)
                    .await;
            }
            3 => {
                let body = json!({ "approval_id": open.id, "reason": "not_needed" });
                self.does(Who::Dispatcher, Operation::WithdrawApproval, id, body)
                    .await;
            }
            4..7 => {
                let body = json!({
                    "approval_id": open.id, "reason": "smaller_pane",
                    "body": { "scope": "shopfront", "price_delta_cents": 299_000 },
                });
                self.does(Who::Technician, Operation::AmendApproval, id, body)
                    .await;
            }
            7..9 => self.run_out(ticket.id, open, rng).await,
            n => {
                let verdict = if n == 9 { "reject" } else { "approve" };
                let body = json!({
                    "approval_id": open.id, "verdict": verdict, "version": open.version,
                    "reason": "adversary",
                });
                self.does(who, Operation::DecideApproval, id, body).await;
            }
        }
    }

    /// The steps of its plan come, one after the other; sometimes to the end.
    async fn run_out(&self, ticket: TicketId, open: &TicketApproval, rng: &mut StdRng) {
        let mut steps = open.steps.clone();
        // After an escalation at the end there is one more, which the ticket tells.
        for _ in 0..2 {
            for step in steps {
                let body = json!({
                    "approval_id": open.id, "version": open.version, "step": step.step,
                    "at": step.at, "applied_seq": 1,
                });
                let reply = self
                    .does(Who::Workflow, Operation::RecordApprovalStep, ticket, body)
                    .await;
                if !reply.status.is_success() || rng.random_bool(0.1) {
                    return;
                }
            }
            let now = self.look(ticket).await;
            let Some(left) = now.approvals.into_iter().find(|it| it.id == open.id) else {
                return;
            };
            steps = left.steps;
        }
    }

    /// Whoever sets stages: one at a time, by the commands that do.
    async fn governor(&self) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 1);
        let mut standing: BTreeMap<String, AutonomyMode> = BTreeMap::new();
        while self.goes_on() {
            self.set_stage(&mut rng, &mut standing).await;
            // Software gets some tries at each.
            self.after(rng.random_range(5..30)).await;
        }
    }

    async fn set_stage(&self, rng: &mut StdRng, standing: &mut BTreeMap<String, AutonomyMode>) {
        use AutonomyMode::*;
        let operation = *ACTS.choose(rng).expect("not empty");
        let risk = [None, None, Some("emergency"), Some("standard")];
        let risk = *risk.choose(rng).expect("not empty");
        let to = [
            Auto, Auto, Auto, Canary, Canary, Approve, Approve, Approve, Shadow, Off,
        ];
        let to = *to.choose(rng).expect("not empty");
        let target = match risk {
            Some(risk) => json!({ "operation": operation, "risk": risk }),
            None => json!({ "operation": operation }),
        };
        let general = json!({ "operation": operation }).to_string();
        let from = standing
            .get(&target.to_string())
            .or_else(|| standing.get(&general));
        let from = *from.unwrap_or(&Shadow);
        let mut body = json!({ "target": target, "to": to, "reason": "adversary" });
        if to == Canary {
            body["percent"] = rng.random_range(1..100).into();
        }
        let done = match to > from {
            true => {
                let ask =
                    self.stack
                        .command(Who::TenantAdmin, Operation::PromoteStage, None, &body);
                let held = ask.send().await;
                assert_eq!(held.status, 202, "seed {}: {}", self.seed, held.text());
                let verdict = if rng.random_bool(0.1) {
                    "reject"
                } else {
                    "approve"
                };
                let approver = Who::AccountManager.token(self.stack.tenant());
                self.release(&held, &approver, verdict).await && verdict == "approve"
            }
            false if to < from => {
                let operation = Operation::DemoteStage;
                let ask = self.stack.command(Who::TenantAdmin, operation, None, &body);
                ask.send().await.status.is_success()
            }
            false => false,
        };
        if done {
            standing.insert(target.to_string(), to);
        }
    }

    /// Decides what a filing was held for; it is tried again when locks are busy.
    async fn release(&self, held: &Reply, approver: &str, verdict: &str) -> bool {
        let body = json!({
            "approval_id": held.json()["approval"]["id"], "verdict": verdict,
            "reason": "adversary",
        });
        let key = key();
        loop {
            let operation = Operation::DecideApproval;
            let ask = self.stack.http().command(operation, None, &body);
            let reply = ask.key(&key).token(approver).send().await;
            if reply.status != 503 {
                assert!(
                    reply.status.is_success(),
                    "seed {}: {}",
                    self.seed,
                    reply.text()
                );
                return true;
            }
        }
    }

    /// Whoever turns kill switches.
    async fn guardian(&self) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ 2);
        let platform = platform(&self.stack, "usr_platform");
        let second = self::platform(&self.stack, "usr_platform_2");
        while self.goes_on() {
            self.after(rng.random_range(20..60)).await;
            let scope = match rng.random_range(0..7) {
                0 => json!({ "kind": "everything" }),
                1 => json!({ "kind": "tenant" }),
                2 => json!({ "kind": "channel", "channel": "sms" }),
                3 => {
                    let who = *[Who::Agent, Who::Workflow]
                        .choose(&mut rng)
                        .expect("not empty");
                    json!({ "kind": "agent", "actor_id": who.actor(self.stack.tenant()).id })
                }
                4 => json!({ "kind": "ticket", "ticket_id": self.any_ticket(&mut rng) }),
                _ => json!({ "kind": "operation", "operation": ACTS.choose(&mut rng) }),
            };
            let body = json!({ "scope": scope, "reason": "adversary" });
            let turn = async |operation| {
                let key = key();
                loop {
                    let ask = self.stack.http().command(operation, None, &body);
                    let reply = ask.key(&key).token(&platform).send().await;
                    if reply.status != 503 {
                        let text = reply.text();
                        assert!(reply.status.is_success(), "seed {}: {text}", self.seed);
                        return reply;
                    }
                }
            };
            turn(Operation::EngageKillSwitch).await;
            self.after(rng.random_range(10..40)).await;
            let reply = turn(Operation::ReleaseKillSwitch).await;
            if reply.status == 202 {
                // What stops all tenants is let go on by those who run the installation.
                self.release(&reply, &second, "approve").await;
            }
        }
    }
}

/// What software would do with a ticket as it stands; now and then something else.
fn fitting(ticket: &Ticket, rng: &mut StdRng) -> Operation {
    let fits = match ticket.state {
        TicketState::New => Operation::Triage,
        TicketState::Triaged | TicketState::ReturnPending => Operation::ProposeSchedule,
        TicketState::Scheduled => Operation::Dispatch,
        TicketState::WorkComplete => Operation::QaVerify,
        TicketState::Verified => Operation::GenerateInvoice,
        _ => Operation::CommsOutbound,
    };
    match rng.random_bool(0.75) {
        true => fits,
        false => *ACTS.choose(rng).expect("not empty"),
    }
}

fn approver(open: &TicketApproval) -> Who {
    match open.operation {
        Operation::QaVerify => Who::Qa,
        Operation::GenerateInvoice => Who::Billing,
        Operation::RequestChange => Who::AccountManager,
        _ => Who::Dispatcher,
    }
}

fn platform(stack: &Stack, id: &str) -> String {
    let mut claims = Who::TenantAdmin.claims(stack.tenant(), Utc::now());
    claims.sub = id.into();
    claims.roles = BTreeSet::from([Role::PlatformAdmin]);
    mint(&claims)
}

async fn opened(stack: &Stack) -> TicketId {
    let tenant = stack.tenant();
    let body = json!({
        "site_id": tenant.site, "asset_id": tenant.asset, "contact_id": tenant.contact,
        "template": "emergency_glass", "details": { "public_hazard": true },
    });
    let ask = stack.command(Who::Dispatcher, Operation::CreateTicket, None, &body);
    ask.send().await.receipt().ticket.id
}

/// The rule for promotions, without those about gates.
const PROMOTIONS: &str = r#"package dispatch

hold contains held("PROMOTION", message, "Leave the stage as it is") if {
	input.operation == "promote_stage"
	message := "That software may do more by itself is decided by two people."
}
"#;

/// A bundle under which stages can be set without reports, and nothing is capped: both are proved
/// elsewhere, with the rules that come with the program.
async fn let_stages_change(stack: &Stack) {
    let starter = StarterBundles::new().expect("the starter bundle is valid");
    let kept = starter.starter().files().iter().filter(|(path, _)| {
        !path.ends_with("rollout_test.rego") && !path.ends_with("caps_test.rego")
    });
    let files = kept.map(|(path, text)| match path {
        "dispatch/rollout.rego" => (path.to_owned(), PROMOTIONS.to_owned()),
        "autonomy/data.json" => {
            let mut data: Value = serde_json::from_str(text).unwrap();
            data["caps"] = json!({
                "commands_per_hour": 1_000_000, "of_operation_per_hour": {},
                "spend_cents_per_hour": 1_000_000_000_000_i64,
            });
            (path.to_owned(), data.to_string())
        }
        _ => (path.to_owned(), text.to_owned()),
    });
    let files = BundleFiles::from_texts(files).expect("a bundle");
    let archive = STANDARD.encode(files.to_archive().expect("it can be packed"));
    let platform = platform(stack, "usr_platform");
    let send = async |operation, body: Value| {
        // A busy machine may be too slow for a trial evaluation; the answer asks for another try.
        let reply = wait::until("a check that is in time", BOUND, async || {
            let ask = stack.http().command(operation, None, &body);
            let reply = ask.token(&platform).send().await;
            match reply.status.as_u16() {
                503 => Err(reply.text()),
                _ => Ok(reply),
            }
        })
        .await;
        assert!(reply.status.is_success(), "{operation}: {}", reply.text());
        reply.json()
    };
    let uploaded = send(Operation::UploadBundle, json!({ "archive": archive })).await;
    let sha256 = &uploaded["filed"]["data"]["bundle"]["sha256"];
    let body = json!({ "sha256": sha256, "reason": "adversary" });
    send(Operation::ActivateBundle, body).await;
}

/// An accepted attempt, from the database.
#[derive(Debug, Clone, FromRow)]
struct Accepted {
    tenant_id: Uuid,
    command_id: Uuid,
    ticket_id: Option<Uuid>,
    actor_id: String,
    actor_kind: String,
    operation: String,
    payload: Value,
    changes: Value,
    asked: Value,
}

async fn history(stack: &Stack) -> Vec<Accepted> {
    sqlx::query_as(
        "select a.tenant_id, a.command_id, a.ticket_id, a.actor_id, a.actor_kind, a.operation,
                a.payload, a.changes, d.input::jsonb as asked
           from audit_events a
           join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
          where a.refused is null order by a.written",
    )
    .fetch_all(stack.admin())
    .await
    .unwrap()
}

/// An approval, as the judge keeps account of it.
#[derive(Debug, Clone)]
struct Asked {
    operation: String,
    proposer: String,
    autonomous: bool,
    /// What was looked at, as a hash.
    facts: Option<String>,
    yes: BTreeSet<String>,
    released: bool,
    open: bool,
}

/// What the judge knows at a place in the history.
#[derive(Debug, Default)]
struct World {
    stages: BTreeMap<(String, Option<String>), (AutonomyMode, u8)>,
    engaged: BTreeSet<String>,
    tickets: BTreeMap<Uuid, Ticket>,
    approvals: BTreeMap<String, Asked>,
    counted: Counted,
}

/// How much of each there was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counted {
    auto: u64,
    held: u64,
    executed: u64,
    stale: u64,
    expired: u64,
}

/// Goes through a history in its order and says which acts of software must not have been.
fn judge(history: &[Accepted]) -> (Vec<String>, Counted) {
    let mut world = World::default();
    let mut wrong = Vec::new();
    for row in history {
        for what in world.step(row) {
            wrong.push(format!("{} {}: {what}", row.operation, row.command_id));
        }
    }
    (wrong, world.counted)
}

impl World {
    fn step(&mut self, row: &Accepted) -> Vec<&'static str> {
        match row.ticket_id {
            Some(ticket) => self.of_ticket(row, ticket),
            None => {
                self.filed(row);
                Vec::new()
            }
        }
    }

    fn filed(&mut self, row: &Accepted) {
        let [filed]: [Filed; 1] = serde_json::from_value(row.changes.clone()).unwrap();
        let filed = match filed {
            Filed::ApprovalChanged {
                executed: Some(executed),
                ..
            } => *executed,
            filed => filed,
        };
        match filed {
            Filed::StageSet {
                target,
                to,
                percent,
                ..
            } => {
                let key = (
                    target.operation.to_string(),
                    target.risk.map(|risk| risk.to_string()),
                );
                self.stages.insert(key, (to, percent.unwrap_or(0)));
            }
            Filed::KillSwitchEngaged { scope, .. } => {
                self.engaged.insert(scope.key());
            }
            Filed::KillSwitchReleased { scope, .. } => {
                self.engaged.remove(&scope.key());
            }
            _ => {}
        }
    }

    fn of_ticket(&mut self, row: &Accepted, id: Uuid) -> Vec<&'static str> {
        let changes: Vec<TicketChange> = serde_json::from_value(row.changes.clone()).unwrap();
        let wrong = self.fault(row, id, &changes);
        for change in &changes {
            self.follow(row, &change.event);
        }
        let key = TicketKey {
            tenant_id: TenantId::from_uuid(row.tenant_id),
            ticket_id: TicketId::from_uuid(id),
        };
        let before = self.tickets.remove(&id);
        let after = changes
            .iter()
            .fold(before, |ticket, change| Some(evolve(key, ticket, change)));
        self.tickets.extend(after.map(|after| (id, after)));
        wrong
    }

    /// What is wrong with an act, before its changes are taken in.
    fn fault(&mut self, row: &Accepted, id: Uuid, changes: &[TicketChange]) -> Vec<&'static str> {
        let software = |kind: &str| kind == "agent" || kind == "workflow";
        let operation: Operation = row.operation.parse().unwrap();
        let acts =
            operation.class() == CommandClass::Change || operation == Operation::CommsOutbound;
        // People are told of it besides.
        let own: Vec<_> = changes
            .iter()
            .map(|change| &change.event)
            .filter(|event| !matches!(event, TicketEvent::MessageQueued { .. }))
            .collect();
        if !acts || matches!(own[..], [TicketEvent::ApprovalStale { .. }]) {
            return Vec::new();
        }
        let held = matches!(own[..], [TicketEvent::ApprovalRequested { .. }]);
        let carries_out = row.payload["approval"]["approval_id"].as_str();
        let asked = carries_out.map(|approval| self.approvals.get(approval));
        let mut wrong = Vec::new();
        let (proposer, autonomous) = match &asked {
            Some(Some(asked)) => {
                let good = asked.open
                    && asked.released
                    && asked.operation == row.operation
                    && !asked.yes.is_empty()
                    && !asked.yes.contains(&asked.proposer);
                if !good {
                    wrong.push("carried out what nobody had released, or what was over");
                }
                // Whatever the product compared, and whether it did.
                let before = &self.tickets[&id];
                if asked.facts != Some(facts_sha256(operation, before).unwrap()) {
                    wrong.push("carried out although the facts had changed");
                }
                self.counted.executed += 1;
                (asked.proposer.clone(), asked.autonomous)
            }
            Some(None) => {
                wrong.push("carried out an approval that was never asked for");
                (row.actor_id.clone(), true)
            }
            None => (row.actor_id.clone(), software(&row.actor_kind)),
        };
        if !autonomous {
            return wrong;
        }
        let mode = self.mode(&row.operation, id);
        let enough = match (held, carries_out) {
            (true, _) => mode == AutonomyMode::Approve,
            (false, Some(_)) => mode >= AutonomyMode::Approve,
            (false, None) => mode == AutonomyMode::Auto,
        };
        if !enough {
            wrong.push("acted beyond its stage");
        }
        if self.is_stopped(row, id, &proposer) {
            wrong.push("acted under an engaged kill switch");
        }
        if row.asked["autonomy"] != json!(mode) {
            wrong.push("policy was told another stage than the one that stood");
        }
        if row.asked["kill_switch"] != json!(false) {
            wrong.push("policy let it pass under a kill switch");
        }
        match (held, carries_out) {
            (true, _) => self.counted.held += 1,
            (false, None) => self.counted.auto += 1,
            _ => {}
        }
        wrong
    }

    fn mode(&self, operation: &str, id: Uuid) -> AutonomyMode {
        let ticket = &self.tickets[&id];
        if ticket.autonomy_opt_out {
            return AutonomyMode::Shadow.min(self.configured(operation, ticket).0);
        }
        match self.configured(operation, ticket) {
            (AutonomyMode::Canary, percent) if is_in_canary(ticket.id, percent) => {
                AutonomyMode::Auto
            }
            (AutonomyMode::Canary, _) => AutonomyMode::Approve,
            (mode, _) => mode,
        }
    }

    fn configured(&self, operation: &str, ticket: &Ticket) -> (AutonomyMode, u8) {
        let risk = match ticket.priority {
            Priority::P1 => "emergency",
            _ => "standard",
        };
        let of = |risk: Option<&str>| {
            let key = (operation.to_owned(), risk.map(str::to_owned));
            self.stages.get(&key).copied()
        };
        of(Some(risk))
            .or_else(|| of(None))
            .unwrap_or((AutonomyMode::Shadow, 0))
    }

    fn is_stopped(&self, row: &Accepted, id: Uuid, proposer: &str) -> bool {
        let operation = row.operation.parse().unwrap();
        let scopes = [
            KillScope::Everything,
            KillScope::Tenant,
            KillScope::Operation { operation },
            KillScope::Agent {
                actor_id: proposer.to_owned(),
            },
            KillScope::Ticket {
                ticket_id: TicketId::from_uuid(id),
            },
        ];
        let channel = row.payload["channel"]
            .as_str()
            .map(|name| format!("channel:{name}"));
        scopes
            .iter()
            .any(|scope| self.engaged.contains(&scope.key()))
            || operation == Operation::CommsOutbound
                && channel.is_some_and(|channel| self.engaged.contains(&channel))
    }

    fn follow(&mut self, row: &Accepted, event: &TicketEvent) {
        use TicketEvent as E;
        if let E::ApprovalRequested {
            approval_id,
            operation,
            autonomous,
            kind,
            facts_sha256,
            ..
        } = event
        {
            let asked = Asked {
                operation: operation.to_string(),
                proposer: row.actor_id.clone(),
                autonomous: *autonomous,
                facts: facts_sha256.clone(),
                yes: BTreeSet::new(),
                released: false,
                open: *kind != ApprovalKind::ChangeOrder,
            };
            self.approvals.insert(approval_id.to_string(), asked);
            return;
        }
        let of = |id: &contracts::ApprovalId| id.to_string();
        match event {
            E::ApprovalVoted {
                approval_id,
                verdict,
                ..
            } => {
                self.vote(row, &of(approval_id), *verdict, false);
            }
            E::ApprovalDecided {
                approval_id,
                verdict,
                ..
            } => self.vote(row, &of(approval_id), *verdict, true),
            E::ApprovalAmended {
                approval_id,
                facts_sha256,
                ..
            } => {
                if let Some(asked) = self.approvals.get_mut(&of(approval_id)) {
                    asked.facts.clone_from(facts_sha256);
                    asked.yes.clear();
                    asked.released = false;
                }
            }
            E::ApprovalExpired { approval_id } => {
                self.counted.expired += 1;
                self.end(&of(approval_id));
            }
            E::ApprovalStale { approval_id, .. } => {
                self.counted.stale += 1;
                self.end(&of(approval_id));
            }
            E::ApprovalWithdrawn { approval_id, .. } | E::ApprovalExecuted { approval_id, .. } => {
                self.end(&of(approval_id));
            }
            _ => {}
        }
    }

    fn vote(&mut self, row: &Accepted, id: &str, verdict: Verdict, decides: bool) {
        let person = row.actor_kind.parse() == Ok(ActorKind::Person);
        if let Some(asked) = self.approvals.get_mut(id) {
            match verdict {
                Verdict::Approve if person => {
                    asked.yes.insert(row.actor_id.clone());
                    asked.released |= decides;
                }
                Verdict::Approve => {}
                Verdict::Reject => asked.open = false,
            }
        }
    }

    fn end(&mut self, id: &str) {
        if let Some(asked) = self.approvals.get_mut(id) {
            asked.open = false;
        }
    }
}

/// Histories that must not be, made of the one that was.
fn planted(history: &[Accepted]) -> Vec<(&'static str, Vec<Accepted>)> {
    let first = |what: fn(&Accepted) -> bool| history.iter().position(what).expect("there is one");
    let is_type = |row: &Accepted, wanted: &str| row.changes[0]["type"] == wanted;
    let by_itself = |row: &Accepted| {
        row.actor_kind == "agent"
            && row.operation == "propose_schedule"
            && row.changes[0]["event"]["type"] == "schedule.proposed"
    };
    let act = first(by_itself);
    let without = |at: usize| {
        let mut rows = history.to_vec();
        rows.remove(at);
        rows
    };
    let mut plants = Vec::new();

    let mut stopped = history.to_vec();
    let mut engaged = history
        .iter()
        .find(|row| is_type(row, "kill_switch.engaged"))
        .expect("there is one")
        .clone();
    engaged.changes[0]["data"]["scope"] = json!({ "kind": "ticket", "ticket_id":
        TicketId::from_uuid(history[act].ticket_id.expect("of a ticket")) });
    stopped.insert(act, engaged);
    plants.push(("acted under an engaged kill switch", stopped));

    let mut stage = history
        .iter()
        .find(|row| {
            is_type(row, "stage.set") || row.changes[0]["data"]["executed"]["type"] == "stage.set"
        })
        .expect("there is one")
        .clone();
    for risk in ["emergency", "standard"] {
        stage.changes = json!([{ "type": "stage.set", "data": {
            "target": { "operation": "propose_schedule", "risk": risk },
            "from": "AUTO", "to": "SHADOW", "percent": null, "effective_at": null,
        }}]);
        let mut lowered = history.to_vec();
        lowered.insert(act, stage.clone());
        stage.changes[0]["data"]["target"]["risk"] = json!(if risk == "standard" {
            "emergency"
        } else {
            "standard"
        });
        lowered.insert(act, stage.clone());
        plants.push(("acted beyond its stage", lowered));
    }

    let executed = first(|row| {
        row.payload["approval"].is_object() && row.changes.to_string().contains("approval.executed")
    });
    let approval = history[executed].payload["approval"]["approval_id"].clone();
    let decided = history.iter().position(|row| {
        row.changes[0]["event"]["type"] == "approval.decided"
            && row.changes[0]["event"]["data"]["approval_id"] == approval
    });
    plants.push((
        "carried out what nobody had released",
        without(decided.expect("it was decided")),
    ));
    let mut twice = history.to_vec();
    twice.insert(executed, history[executed].clone());
    plants.push((
        "carried out what nobody had released, or what was over",
        twice,
    ));

    // Asked on other facts than those on which it was carried out.
    let mut stale = history.to_vec();
    let told = stale[..executed]
        .iter_mut()
        .flat_map(|row| row.changes.as_array_mut().expect("changes"))
        .filter_map(|change| change.pointer_mut("/event/data"))
        .rfind(|data| data["approval_id"] == approval && data["facts_sha256"].is_string())
        .expect("it was asked for");
    told["facts_sha256"] = json!("0".repeat(64));
    plants.push(("carried out although the facts had changed", stale));
    plants
}

/// The sequence that is played unless another is asked for.
const SEED: u64 = 20_261_121;

#[test]
fn software_does_nothing_beyond_what_is_let_pass() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("DISPATCH_ADVERSARY_SEED").unwrap_or(SEED);
    let most = number("DISPATCH_ADVERSARY_REQUESTS").unwrap_or(REQUESTS);
    println!("DISPATCH_ADVERSARY_SEED={seed}");
    let options = ApiOptions {
        pool_size: 16,
        ..ApiOptions::default()
    };
    with_api_options(options, async move |stack| {
        let_stages_change(&stack).await;
        let tickets = join_all((0..TICKETS).map(|_| opened(&stack))).await;
        let play = Arc::new(Play {
            stack: stack.clone(),
            seed,
            most,
            until: Instant::now() + Duration::from_millis(most * MILLIS_EACH),
            tickets: Mutex::new(tickets),
            seen: Mutex::default(),
            sent: AtomicU64::new(0),
            by_software: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
        });
        let software = (0..8).map(|n| {
            let who = if n % 2 == 0 {
                Who::Agent
            } else {
                Who::Workflow
            };
            play.software(who, n + 10)
        });
        let people = (0..4).map(|n| play.people(n + 10));
        futures::join!(
            join_all(software),
            join_all(people),
            play.governor(),
            play.guardian()
        );

        let history = history(&stack).await;
        let (wrong, counted) = judge(&history);
        assert_eq!(wrong, [""; 0], "seed {seed}");
        let refused: Vec<(String, i64)> = sqlx::query_as(
            "select refused, count(*) from audit_events
              where refused is not null and actor_kind in ('agent', 'workflow') group by 1",
        )
        .fetch_all(stack.admin())
        .await
        .unwrap();
        let refused: BTreeMap<String, i64> = refused.into_iter().collect();
        let forbidden: i64 = sqlx::query_scalar(
            "select count(*) from audit_events
              where refused is not null and actor_kind in ('agent', 'workflow')
                and operation = any($1)",
        )
        .bind(NEVER.map(|operation| operation.to_string()).to_vec())
        .fetch_one(stack.admin())
        .await
        .unwrap();
        let of = |code: &str| refused.get(code).copied().unwrap_or(0);
        let sent = play.sent.load(Ordering::Relaxed);
        let by_software = play.by_software.load(Ordering::Relaxed);
        let told = format!(
            "seed {seed}: {sent} sent, {by_software} of them by software, {} again, {counted:?}, \
             refused {refused:?}, {forbidden} of what it never may",
            play.replayed.load(Ordering::Relaxed)
        );
        println!("{told}");
        // A run in which little happens says little: all that software was to send must have been
        // sent, and what is let pass, held, carried out, void and denied for each reason must be
        // there, in proportion to it.
        let least = |thousandths: u64| (most * thousandths / 1_000).max(1);
        let count = |number: i64| number.unsigned_abs();
        for (what, there, least) in [
            ("requests of software", by_software, most),
            (
                "requests that were sent again",
                play.replayed.load(Ordering::Relaxed),
                least(12),
            ),
            ("acts of software", counted.auto, least(12)),
            ("acts that were held", counted.held, least(8)),
            (
                "acts that were carried out once released",
                counted.executed,
                least(2),
            ),
            ("approvals that became void", counted.stale, least(1)),
            ("approvals that nobody decided", counted.expired, 1),
            ("acts beyond a stage", count(of("STAGE")), least(12)),
            (
                "acts under a kill switch",
                count(of("KILL_SWITCH")),
                least(8),
            ),
            ("attempts at what it never may", count(forbidden), least(4)),
        ] {
            assert!(
                there >= least,
                "{there} {what}, and {least} are wanted: {told}"
            );
        }
        for (what, history) in planted(&history) {
            let (wrong, _) = judge(&history);
            assert!(
                wrong.iter().any(|it| it.contains(what)),
                "seed {seed}: \"{what}\" was planted and not found: {wrong:?}"
            );
        }
    });
}
