//! Staged autonomy over HTTP: what each stage lets software do, how it gets further and how it is
//! taken back, and that the caps of an hour hold.

use std::{cell::Cell, collections::BTreeSet, time::Duration};

use api::Limits;
use chrono::{DateTime, TimeDelta, Utc};
use client::CallOptions;
use contracts::{
    ErrorCode, Operation, Priority, Slug, TicketState,
    approval::ApprovalState,
    autonomy::{ControlDue, StageTarget},
    command::{HeldReceipt, RecordProposal},
    event::AutonomyMode,
    filing::{Filed, FilingReceipt},
    inbox::ApprovalFilter,
    policy::DenyClass,
    proposal::{Choice, PairingOutcome, ProposalKind},
    rollout::{GateReport, KeptReport, LedgerView, RolloutView, StageHistory, Superseding},
};
use dispatch_tests::{
    filing::receipt,
    http::{Reply, key, pointers},
    job::Job,
    stack::{ApiOptions, Stack, with_api, with_api_options},
    verify::violations,
    wait::{self, BOUND},
    who::Who,
};
use futures::future::join_all;
use policy::{Bundle, BundleFiles};
use reqwest::Method;
use serde_json::{Value, json};

pub(crate) const TRIAGE: &str = "triage";

/// Lets another bundle decide: the starter's, with other rules of autonomy.
pub(crate) async fn rules(stack: &Stack, edit: impl FnOnce(&mut Value)) {
    let mut edit = Some(edit);
    other_bundle(stack, |path, text| {
        if path == "autonomy/data.json" {
            let mut data: Value = serde_json::from_str(text).unwrap();
            edit.take().unwrap()(&mut data);
            *text = data.to_string();
        }
    })
    .await;
}

/// Lets another bundle decide: the starter's, with other texts.
pub(crate) async fn other_bundle(stack: &Stack, mut edit: impl FnMut(&str, &mut String)) {
    let starter = Bundle::starter().unwrap();
    // The starter's own tests are about its own data.
    let kept = starter
        .files()
        .iter()
        .filter(|(path, _)| !path.ends_with("_test.rego"));
    let files = kept.map(|(path, text)| {
        let mut text = text.to_owned();
        edit(path, &mut text);
        (path.to_owned(), text)
    });
    let test =
        "package dispatch_test.rules\n\ntest_there_are_gates if count(data.autonomy.gates) == 3\n";
    let test = ("dispatch/rules_test.rego".to_owned(), test.to_owned());
    let files: Vec<_> = files.chain([test]).collect();
    let files = BundleFiles::from_texts(files).unwrap();
    let bundle = Bundle::admit(files, &policy::Trust::Anybody).unwrap();
    let archive = bundle.files().to_archive().unwrap();
    let (by, why) = ("tests", "other_rules");
    store::bundles::install(
        stack.admin(),
        bundle.reference(),
        &archive,
        None,
        by,
        why,
        Utc::now(),
    )
    .await
    .unwrap();
}

/// Gates that one pair passes, and guardrails that two acts can breach.
pub(crate) fn easy(data: &mut Value) {
    for mode in ["APPROVE", "CANARY", "AUTO"] {
        data["gates"][mode]["min_sample"] = json!(1);
        data["gates"][mode]["min_agreement_permille"] = json!(1);
        data["gates"][mode]["max_breaches"] = json!(1000);
    }
    data["guardrails"]["min_acts"] = json!(2);
}

async fn propose(stack: &Stack, job: &Job, kind: ProposalKind) -> Choice {
    let workflow = stack.client(stack.tenant(), Who::Workflow);
    let input = workflow.advisor_input(job.id(), kind).await.unwrap();
    let snapshot = workflow.snapshot(job.id()).await.unwrap();
    let body = RecordProposal {
        based_on_version: input.version(),
        applied_seq: snapshot.head_seq,
        advice: domain::advise(&input),
        input,
    };
    let options = CallOptions::default();
    let recorded = workflow.record_proposal(job.id(), &body, &options);
    recorded.await.unwrap();
    body.advice
        .best()
        .expect("something is recommended")
        .clone()
}

/// A ticket that is triaged by a person, as software had said or otherwise.
pub(crate) async fn triaged(stack: &Stack, agrees: bool) -> Job {
    let mut job = Job::at(stack, stack.tenant(), TicketState::New).await;
    let Choice::Triage { template, priority } = propose(stack, &job, ProposalKind::Triage).await
    else {
        panic!("another choice");
    };
    let priority = match agrees {
        true => priority,
        false => other(priority),
    };
    let details = json!({ "pane_count": 2 });
    let body = json!({ "template": template, "priority": priority, "details": details });
    job.sends(Operation::Triage, &body).await;
    job
}

fn other(priority: Priority) -> Priority {
    match priority {
        Priority::P4 => Priority::P3,
        _ => Priority::P4,
    }
}

fn target(stage: &str) -> Value {
    match stage.split_once('/') {
        Some((operation, risk)) => json!({ "operation": operation, "risk": risk }),
        None => json!({ "operation": stage }),
    }
}

async fn send(stack: &Stack, who: Who, operation: Operation, body: &Value) -> Reply {
    stack.command(who, operation, None, body).send().await
}

/// A report as far back as any gate wants.
async fn report(stack: &Stack, stage: &str) -> String {
    report_since(stack, stage, TimeDelta::days(28)).await
}

async fn report_since(stack: &Stack, stage: &str, window: TimeDelta) -> String {
    let now = Utc::now();
    let body = json!({ "target": target(stage), "since": now - window, "until": now });
    let reply = send(stack, Who::TenantAdmin, Operation::RecordGateReport, &body).await;
    match receipt(&reply).filed {
        Filed::Report { sha256 } => sha256,
        other => panic!("{other:?}"),
    }
}

/// Asks for a promotion on a report that was made just now.
async fn promote(stack: &Stack, stage: &str, to: &str, besides: Value) -> Reply {
    let mut body = json!({
        "target": target(stage), "to": to, "reason": "good_figures",
        "report_sha256": report(stack, stage).await,
    });
    for (name, value) in besides.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    send(stack, Who::TenantAdmin, Operation::PromoteStage, &body).await
}

fn held(reply: &Reply) -> HeldReceipt {
    assert_eq!(reply.status, 202, "{}", reply.text());
    serde_json::from_value(reply.json()).unwrap()
}

async fn approve(stack: &Stack, who: Who, held: &HeldReceipt) -> Reply {
    let id = held.approval.id;
    let path = format!("/approvals/{id}/decide");
    let ask = stack
        .ask(who, Method::POST, path)
        .header("idempotency-key", key());
    ask.json(&json!({ "approval_id": id, "verdict": "approve" }))
        .send()
        .await
}

/// Brings a stage so far, one after the other, each by two people.
pub(crate) async fn raise(stack: &Stack, stage: &str, to: AutonomyMode, percent: Option<u8>) {
    for mode in [
        AutonomyMode::Approve,
        AutonomyMode::Canary,
        AutonomyMode::Auto,
    ] {
        let percent = match mode {
            AutonomyMode::Canary => percent.or(Some(1)),
            _ => None,
        };
        if mode > to || standing(stack, stage).await.0 >= mode {
            continue;
        }
        let asked = promote(
            stack,
            stage,
            &mode.to_string(),
            json!({ "percent": percent }),
        )
        .await;
        let done = approve(stack, Who::AccountManager, &held(&asked)).await;
        assert!(done.status.is_success(), "{}", done.text());
    }
    assert_eq!(standing(stack, stage).await.0, to);
}

async fn demote(stack: &Stack, stage: &str, to: &str) -> FilingReceipt {
    demote_with(stack, stage, json!({ "to": to })).await
}

/// Takes a stage back; `besides`: to where, and with which share.
pub(crate) async fn demote_with(stack: &Stack, stage: &str, besides: Value) -> FilingReceipt {
    let mut body = json!({ "target": target(stage), "reason": "wrong_triage" });
    for (name, value) in besides.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    receipt(&send(stack, Who::TenantAdmin, Operation::DemoteStage, &body).await)
}

async fn rollout(stack: &Stack) -> RolloutView {
    let client = stack.client(stack.tenant(), Who::Auditor);
    client.rollout().await.unwrap()
}

pub(crate) async fn standing(stack: &Stack, stage: &str) -> (AutonomyMode, u64) {
    let view = rollout(stack).await;
    let found = view.stages.iter().find(|found| found.target.key() == stage);
    found.map_or((view.default_mode, 0), |found| (found.mode, found.version))
}

pub(crate) async fn act(stack: &Stack, who: Who, job: &Job, priority: &str) -> Reply {
    let body = json!({ "priority": priority, "details": { "pane_count": 2 } });
    let ask = stack.command(who, Operation::Triage, job.id(), &body);
    ask.send().await
}

pub(crate) async fn fresh(stack: &Stack) -> Job {
    Job::at(stack, stack.tenant(), TicketState::New).await
}

async fn due(stack: &Stack) -> ControlDue {
    let client = stack.client(stack.tenant(), Who::Workflow);
    client.control_due().await.unwrap()
}

/// Sends what is due as the tenant's control does, each twice.
async fn control(stack: &Stack) -> Vec<Operation> {
    let commands = due(stack).await.commands;
    for command in &commands {
        let send = || {
            let ask = stack.command(Who::Workflow, command.operation, None, &command.body);
            ask.key(&command.request_id).send()
        };
        let first = send().await;
        assert!(first.status.is_success(), "{}", first.text());
        assert_eq!(
            send().await.text(),
            first.text(),
            "the second time is a replay"
        );
    }
    commands.iter().map(|command| command.operation).collect()
}

pub(crate) fn codes(reply: &Reply, code: ErrorCode) -> BTreeSet<String> {
    let reasons = reply.problem(code).reasons;
    reasons.into_iter().map(|reason| reason.code).collect()
}

#[test]
fn each_stage_lets_software_do_so_much_and_no_more() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        for who in [Who::Workflow, Who::Agent] {
            let reply = act(&stack, who, &fresh(&stack).await, "P2").await;
            assert_eq!(
                codes(&reply, ErrorCode::Stage),
                ["STAGE_SHADOW".to_owned()].into()
            );
        }
        demote(&stack, TRIAGE, "OFF").await;
        let reply = act(&stack, Who::Agent, &fresh(&stack).await, "P2").await;
        assert_eq!(
            codes(&reply, ErrorCode::Stage),
            ["STAGE_OFF".to_owned()].into()
        );
        // Proposing again needs no gate, but two people.
        let body = json!({ "target": target(TRIAGE), "to": "SHADOW", "reason": "look_again" });
        let asked = send(&stack, Who::TenantAdmin, Operation::PromoteStage, &body).await;
        approve(&stack, Who::AccountManager, &held(&asked)).await;
        assert_eq!(standing(&stack, TRIAGE).await, (AutonomyMode::Shadow, 2));

        raise(&stack, TRIAGE, AutonomyMode::Approve, None).await;
        let job = fresh(&stack).await;
        let asked = held(&act(&stack, Who::Workflow, &job, "P2").await);
        assert_eq!(asked.approval.operation, Operation::Triage);
        assert_eq!(asked.reasons[0].code, "STAGE_APPROVE");
        assert_eq!(
            job.ticket().await.state,
            TicketState::New,
            "nothing was done"
        );

        raise(&stack, TRIAGE, AutonomyMode::Canary, Some(50)).await;
        let mut seen = BTreeSet::new();
        for _ in 0..12 {
            let job = fresh(&stack).await;
            let in_share = domain::autonomy::is_in_canary(job.id(), 50);
            let reply = act(&stack, Who::Agent, &job, "P2").await;
            match in_share {
                true => assert_eq!(reply.status, 200, "{}", reply.text()),
                false => drop(held(&reply)),
            }
            seen.insert(in_share);
        }
        assert_eq!(seen.len(), 2, "twelve tickets fall on both sides");

        raise(&stack, TRIAGE, AutonomyMode::Auto, None).await;
        act(&stack, Who::Workflow, &fresh(&stack).await, "P2")
            .await
            .receipt();
        act(&stack, Who::Agent, &fresh(&stack).await, "P2")
            .await
            .receipt();
        // Other commands and other tenants stay where they were.
        let offered = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let body = offered.body(Operation::ProposeSchedule).await;
        let ask = stack.command(Who::Agent, Operation::ProposeSchedule, offered.id(), &body);
        ask.send().await.problem(ErrorCode::Stage);
        let theirs = Job::at(&stack, stack.other(), TicketState::New).await;
        let body = json!({ "priority": "P2" });
        let ask = stack
            .http()
            .command(Operation::Triage, Some(theirs.id()), &body);
        let ask = ask.token(Who::Agent.token(stack.other()));
        ask.send().await.problem(ErrorCode::Stage);
    });
}

#[test]
fn a_ticket_that_was_taken_out_and_a_risk_class_of_its_own_are_held_to_less() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        raise(&stack, TRIAGE, AutonomyMode::Auto, None).await;

        let job = fresh(&stack).await;
        let out = json!({ "opt_out": true, "reason": "vip" });
        let ask = stack.command(
            Who::Dispatcher,
            Operation::SetTicketAutonomy,
            job.id(),
            &out,
        );
        ask.send().await.receipt();
        let problem = act(&stack, Who::Agent, &job, "P2")
            .await
            .problem(ErrorCode::Stage);
        assert!(problem.reasons[0].to_pass.contains("set_ticket_autonomy"));
        let back = json!({ "opt_out": false, "reason": "asked_again" });
        let ask = stack.command(
            Who::Dispatcher,
            Operation::SetTicketAutonomy,
            job.id(),
            &back,
        );
        ask.send().await.receipt();
        act(&stack, Who::Agent, &job, "P2").await.receipt();

        // Less for emergencies: from what holds for all.
        let set = demote(&stack, "triage/emergency", "APPROVE").await;
        let Filed::StageSet { from, target, .. } = set.filed else {
            panic!()
        };
        assert_eq!(
            (from, target.key().as_str()),
            (AutonomyMode::Auto, "triage/emergency")
        );
        let job = fresh(&stack).await;
        assert_eq!(job.ticket().await.priority, Priority::P1);
        held(&act(&stack, Who::Agent, &job, "P2").await);
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let mut calm = Job::new(&stack, stack.tenant());
        let mut body = calm.body(Operation::CreateTicket).await;
        body["priority"] = json!("P3");
        calm.tries(&client, Operation::CreateTicket, &body, &Default::default())
            .await
            .unwrap();
        act(&stack, Who::Agent, &calm, "P2").await.receipt();
    });
}

#[test]
fn an_environment_has_a_ceiling() {
    let options = ApiOptions {
        ceiling: AutonomyMode::Off,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        let view = rollout(&stack).await;
        assert_eq!(
            (view.ceiling, view.default_mode),
            (AutonomyMode::Off, AutonomyMode::Shadow)
        );
        assert!(
            view.stages
                .iter()
                .all(|stage| stage.effective == AutonomyMode::Off)
        );
        let problem = act(&stack, Who::Agent, &fresh(&stack).await, "P2").await;
        let problem = problem.problem(ErrorCode::Stage);
        assert_eq!(problem.reasons[0].code, "STAGE_OFF");
        assert!(problem.reasons[0].to_pass.contains("no more than OFF"));
    });
    let options = ApiOptions {
        ceiling: AutonomyMode::Approve,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        raise(&stack, TRIAGE, AutonomyMode::Approve, None).await;
        let problem = promote(&stack, TRIAGE, "CANARY", json!({ "percent": 5 })).await;
        assert_eq!(pointers(&problem.problem(ErrorCode::InvalidField)), ["/to"]);
    });
}

#[test]
fn a_gate_names_each_figure_that_is_not_good_enough() {
    with_api(async |stack| {
        triaged(&stack, true).await;
        triaged(&stack, false).await;
        let sha256 = report(&stack, TRIAGE).await;
        let body = |sha256: Option<&str>, stage: &str, to: &str| {
            json!({
                "target": target(stage), "to": to, "reason": "good_figures",
                "report_sha256": sha256,
            })
        };
        let refused = async |body: Value| {
            let reply = send(&stack, Who::TenantAdmin, Operation::PromoteStage, &body).await;
            reply.problem(ErrorCode::PolicyDenied)
        };
        let names = |problem: &contracts::Problem| -> BTreeSet<String> {
            problem
                .reasons
                .iter()
                .map(|reason| reason.code.clone())
                .collect()
        };
        let set = |codes: &[&str]| codes.iter().map(ToString::to_string).collect();

        let problem = refused(body(Some(&sha256), TRIAGE, "APPROVE")).await;
        let wanted: BTreeSet<String> = set(&["GATE_AGREEMENT", "GATE_SAMPLE"]);
        assert!(wanted.is_subset(&names(&problem)), "{problem:?}");
        let sample = problem
            .reasons
            .iter()
            .find(|r| r.code == "GATE_SAMPLE")
            .unwrap();
        assert!(sample.message.contains(" 2 pairs") && sample.to_pass.contains("at least 20"));
        assert!(!names(&problem).contains("GATE_BREACHES"));

        let problem = refused(body(Some(&sha256), TRIAGE, "AUTO")).await;
        assert!(names(&problem).contains("STAGE_SKIPPED"));
        for (sha256, stage, code) in [
            (None, TRIAGE, "REPORT_MISSING"),
            // What nobody made, or what somebody changed, is not on record.
            (Some("00".repeat(32)), TRIAGE, "REPORT_MISSING"),
            (Some(sha256.clone()), "dispatch", "REPORT_OTHER"),
            (Some(sha256.clone()), "triage/emergency", "REPORT_OTHER"),
        ] {
            let problem = refused(body(sha256.as_deref(), stage, "APPROVE")).await;
            assert!(names(&problem).contains(code), "{stage}: {problem:?}");
        }

        // The report itself says the same, and its hash is over what it says.
        let client = stack.client(stack.tenant(), Who::Auditor);
        let kept: KeptReport = client.kept_report(&sha256).await.unwrap();
        assert_eq!(
            contracts::canonical::canonical_sha256(&kept.document).unwrap(),
            sha256
        );
        let report: GateReport = serde_json::from_value(kept.document).unwrap();
        let of = &report.gates[&AutonomyMode::Approve];
        let unmet: BTreeSet<_> = of
            .iter()
            .filter(|check| !check.met)
            .map(|c| c.code.clone())
            .collect();
        assert_eq!(unmet, wanted);
        let unseen = report.figures.unseen;
        assert_eq!((unseen.same, unseen.different), (1, 1));
        assert_eq!(report.figures.by_rule.len(), 1);
        client.kept_report(&"00".repeat(32)).await.unwrap_err();
        // The ledger has the same figures, and what they are made of.
        let stage: StageTarget = serde_json::from_value(target(TRIAGE)).unwrap();
        let ledger: LedgerView = client.rollout_ledger(&stage, None, None).await.unwrap();
        assert_eq!(ledger.figures.unseen, unseen);
        assert_eq!((ledger.pairs.len(), ledger.acts.len()), (2, 0));
    });
}

#[test]
fn a_report_is_old_when_what_it_looked_at_is() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        let until = Utc::now() - TimeDelta::minutes(11);
        let body = json!({
            "target": target(TRIAGE), "since": until - TimeDelta::days(28), "until": until,
        });
        let reply = send(&stack, Who::TenantAdmin, Operation::RecordGateReport, &body).await;
        let problem = reply.problem(ErrorCode::InvalidField);
        assert_eq!(
            pointers(&problem),
            ["/until"],
            "nobody leaves out what was last"
        );

        let sha256 = report(&stack, TRIAGE).await;
        let week = TimeDelta::days(7) + TimeDelta::minutes(1);
        made_earlier(&stack, week).await;
        let body = json!({
            "target": target(TRIAGE), "to": "APPROVE", "reason": "good_figures",
            "report_sha256": sha256,
        });
        let reply = send(&stack, Who::TenantAdmin, Operation::PromoteStage, &body).await;
        assert!(codes(&reply, ErrorCode::PolicyDenied).contains("GATE_AGE"));
        // As it was, or the check at the end finds it, as it should.
        made_earlier(&stack, -week).await;
    });
}

/// As if all reports had been made so much earlier; with less than nothing they are again as they were.
async fn made_earlier(stack: &Stack, by: TimeDelta) {
    sqlx::query("update reports set made_at = made_at - $1")
        .bind(by)
        .execute(stack.admin())
        .await
        .unwrap();
}

/// Which window flatters is not for whoever proposes to choose.
#[test]
fn a_report_looks_back_as_far_as_the_gate_demands() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        let ask = async |window: TimeDelta| {
            let body = json!({
                "target": target(TRIAGE), "to": "APPROVE", "reason": "good_figures",
                "report_sha256": report_since(&stack, TRIAGE, window).await,
            });
            send(&stack, Who::TenantAdmin, Operation::PromoteStage, &body).await
        };
        for window in [
            TimeDelta::hours(1),
            TimeDelta::days(7) - TimeDelta::minutes(2),
        ] {
            let reply = ask(window).await;
            let reasons = reply.problem(ErrorCode::PolicyDenied).reasons;
            let short = reasons.iter().find(|reason| reason.code == "GATE_WINDOW");
            let short = short.unwrap_or_else(|| panic!("{reasons:?}"));
            assert_eq!(short.pointer.as_deref(), Some("/report_sha256"));
            assert!(short.to_pass.contains("triage --since 7d"), "{short:?}");
        }
        held(&ask(TimeDelta::days(7)).await);
        // Nor so far that what was long ago outweighs what is.
        let now = Utc::now();
        let body = json!({
            "target": target(TRIAGE), "since": now - TimeDelta::days(93), "until": now,
        });
        let reply = send(&stack, Who::TenantAdmin, Operation::RecordGateReport, &body).await;
        assert_eq!(
            pointers(&reply.problem(ErrorCode::InvalidField)),
            ["/since"]
        );
    });
}

/// A yes after the end of the report would be void: the request ends with it, and says so.
#[test]
fn a_promotion_is_asked_for_as_long_as_its_report_serves() {
    with_api(async |stack| {
        rules(&stack, |data| {
            easy(data);
            data["gates"]["APPROVE"]["max_age_minutes"] = json!(60);
        })
        .await;
        triaged(&stack, true).await;
        let asked = held(&promote(&stack, TRIAGE, "APPROVE", json!({})).await);
        let end = asked.approval.expires_at.unwrap();
        let lasts = end - asked.approval.requested_at;
        assert!(
            lasts > TimeDelta::minutes(58) && lasts <= TimeDelta::minutes(60),
            "{lasts}"
        );
        assert_eq!(asked.approval.steps.last().unwrap().at, end);
        let client = stack.client(stack.tenant(), Who::AccountManager);
        let shown = client.approval(asked.approval.id).await.unwrap().summary;
        assert_eq!(shown.approval.expires_at, Some(end));
        // Nobody puts its end off beyond that.
        let due = |to: DateTime<Utc>| {
            let ask = stack.ask(
                Who::TenantAdmin,
                Method::POST,
                format!("/approvals/{}/due", asked.approval.id),
            );
            let ask = ask.header("idempotency-key", key());
            ask.json(&json!({
                "approval_id": asked.approval.id, "expires_at": to, "reason": "holiday",
            }))
            .send()
        };
        let late = due(end + TimeDelta::hours(1)).await;
        let problem = late.problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&problem), ["/expires_at"]);
        assert!(problem.detail.contains("too old"), "{}", problem.detail);
        assert_eq!(due(end - TimeDelta::minutes(5)).await.status, 200);

        // Where it is too old all the same, the void yes says that, and not that policy is another.
        made_earlier(&stack, TimeDelta::minutes(62)).await;
        let late = receipt(&approve(&stack, Who::AccountManager, &asked).await);
        made_earlier(&stack, -TimeDelta::minutes(62)).await;
        assert!(matches!(
            late.filed,
            Filed::ApprovalChanged {
                state: ApprovalState::Stale,
                executed: None,
                ..
            }
        ));
        let shown = client.approval(asked.approval.id).await.unwrap().summary;
        assert_eq!(shown.approval.reason.unwrap().as_str(), "gate_age");
    });
}

/// What shall hold from a moment on is asked for until then: a yes after that comes too late, and everybody
/// is told so from the beginning.
#[test]
fn a_promotion_for_later_is_asked_for_until_its_moment() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        let after = |span: TimeDelta| {
            DateTime::from_timestamp_micros((Utc::now() + span).timestamp_micros())
        };
        let begins = after(TimeDelta::hours(2)).unwrap();
        let later = json!({ "effective_at": begins });
        let asked = held(&promote(&stack, TRIAGE, "APPROVE", later).await);
        assert_eq!(asked.approval.expires_at, Some(begins));
        assert_eq!(asked.approval.steps.last().unwrap().at, begins);
        let client = stack.client(stack.tenant(), Who::AccountManager);
        let shown = client.approval(asked.approval.id).await.unwrap().summary;
        assert_eq!(shown.approval.expires_at, Some(begins));
        let body = json!({
            "approval_id": asked.approval.id, "expires_at": begins + TimeDelta::seconds(1),
            "reason": "holiday",
        });
        let path = format!("/approvals/{}/due", asked.approval.id);
        let ask = stack.ask(Who::TenantAdmin, Method::POST, path);
        let late = ask
            .header("idempotency-key", key())
            .json(&body)
            .send()
            .await;
        let problem = late.problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&problem), ["/expires_at"]);
        assert!(
            problem.detail.contains("to come then"),
            "{}",
            problem.detail
        );

        // Nobody agreed in time.
        let begins = after(TimeDelta::milliseconds(700)).unwrap();
        let soon = json!({ "effective_at": begins });
        let missed = held(&promote(&stack, TRIAGE, "APPROVE", soon).await);
        wait::until("its moment", BOUND, async || match Utc::now() {
            now if now > begins => Ok(()),
            now => Err(now),
        })
        .await;
        let late = approve(&stack, Who::AccountManager, &missed).await;
        late.problem(ErrorCode::Expired);
        assert_eq!(control(&stack).await, [Operation::RecordApprovalStep]);
        let ended = client.approval(missed.approval.id).await.unwrap().summary;
        assert_eq!(ended.approval.state, ApprovalState::Expired);

        // The other one is in time.
        let yes = receipt(&approve(&stack, Who::AccountManager, &asked).await);
        assert!(matches!(
            yes.filed,
            Filed::ApprovalChanged {
                state: ApprovalState::Executed,
                ..
            }
        ));
        assert_eq!(violations(stack.database()).await, []);
    });
}

/// What fails for another reason than policy is no attempt of which policy let the rest pass.
#[test]
fn conflicts_and_keys_used_twice_do_not_thin_out_what_was_denied() {
    with_api(async |stack| {
        rules(&stack, |data| {
            easy(data);
            data["caps"]["of_operation_per_hour"]["triage"] = json!(2);
        })
        .await;
        triaged(&stack, true).await;
        raise(&stack, TRIAGE, AutonomyMode::Auto, None).await;
        let client = stack.client(stack.tenant(), Who::Auditor);
        let stage: StageTarget = serde_json::from_value(target(TRIAGE)).unwrap();
        let counted = async || {
            let ledger = client.rollout_ledger(&stage, None, None).await.unwrap();
            let figures = ledger.figures;
            (figures.attempts, figures.denied, figures.denied_permille)
        };
        let job = fresh(&stack).await;
        let body = |details: Value| json!({ "template": "emergency_glass", "priority": "P2", "details": details });
        let good = || body(json!({ "pane_count": 2 }));
        let ask = |body: &Value| stack.command(Who::Agent, Operation::Triage, job.id(), body);
        // Denied: what the template wants to know is not told.
        ask(&body(json!({})))
            .send()
            .await
            .problem(ErrorCode::PolicyDenied);
        assert_eq!(counted().await, (1, 1, 1000));
        for _ in 0..3 {
            let old = ask(&good()).expecting(17).send().await;
            old.problem(ErrorCode::VersionConflict);
        }
        assert_eq!(counted().await, (1, 1, 1000));
        let again = key();
        let first = ask(&good()).key(&again).send().await;
        first.receipt();
        assert_eq!(counted().await, (2, 1, 500));
        assert_eq!(ask(&good()).key(&again).send().await.body, first.body);
        let other = ask(&body(json!({ "pane_count": 3 })))
            .key(&again)
            .send()
            .await;
        other.problem(ErrorCode::IdempotencyMismatch);
        assert_eq!(counted().await, (2, 1, 500));
        // Nor does what a cap stops.
        act(&stack, Who::Agent, &fresh(&stack).await, "P2")
            .await
            .receipt();
        let capped = act(&stack, Who::Agent, &fresh(&stack).await, "P2").await;
        assert_eq!(
            codes(&capped, ErrorCode::PolicyDenied),
            BTreeSet::from(["AUTONOMY_CAP_OPERATION".to_owned()])
        );
        assert_eq!(counted().await, (3, 1, 334));
    });
}

#[test]
fn two_people_promote_and_everybody_hears_of_it() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        let by_dispatcher = json!({ "target": target(TRIAGE), "to": "APPROVE", "reason": "x" });
        let refused = send(
            &stack,
            Who::Dispatcher,
            Operation::PromoteStage,
            &by_dispatcher,
        )
        .await;
        refused.problem(ErrorCode::Forbidden);
        for who in [Who::Agent, Who::Workflow] {
            let reply = send(&stack, who, Operation::PromoteStage, &by_dispatcher).await;
            let reasons = reply.problem(ErrorCode::Stage).reasons;
            assert!(reasons.iter().any(|reason| reason.code == "NOT_PERMITTED"));
        }

        let asked = held(&promote(&stack, TRIAGE, "APPROVE", json!({})).await);
        assert_eq!(asked.approval.kind.to_string(), "promotion");
        assert_eq!(asked.approval.ticket_id, None);
        assert_eq!(standing(&stack, TRIAGE).await, (AutonomyMode::Shadow, 0));
        let own = approve(&stack, Who::TenantAdmin, &asked).await;
        assert!(codes(&own, ErrorCode::Forbidden).contains("SELF_APPROVAL"));
        let decided = receipt(&approve(&stack, Who::AccountManager, &asked).await);
        let Filed::ApprovalChanged {
            state, executed, ..
        } = decided.filed
        else {
            panic!()
        };
        assert_eq!(state, ApprovalState::Executed);
        assert!(matches!(executed.as_deref(), Some(Filed::StageSet { .. })));
        assert_eq!(standing(&stack, TRIAGE).await, (AutonomyMode::Approve, 1));

        let client = stack.client(stack.tenant(), Who::Auditor);
        let history: StageHistory = client
            .rollout_history(Some(Operation::Triage))
            .await
            .unwrap();
        let [change] = &history.items[..] else {
            panic!("{history:?}")
        };
        assert_eq!(
            (change.from, change.to),
            (AutonomyMode::Shadow, AutonomyMode::Approve)
        );
        assert!(change.applied_at.is_some() && change.report_sha256.is_some());
        assert_eq!(
            client
                .rollout_history(Some(Operation::Dispatch))
                .await
                .unwrap()
                .items,
            []
        );
        assert_eq!(told(&stack).await, (1, 1));
        stack
            .client(stack.tenant(), Who::Technician)
            .rollout()
            .await
            .unwrap_err();
    });
}

/// Notices to people, and changes that workflows are to be told of.
pub(crate) async fn told(stack: &Stack) -> (i64, i64) {
    sqlx::query_as(
        "select (select count(*) from comms_messages
                  where tenant_id = $1 and purpose = 'stage_changed' and direction = 'outbound'),
                (select count(*) from control_events where for_tenant = $1 and kind = 'stage')",
    )
    .bind(stack.tenant().id.as_uuid())
    .fetch_one(stack.admin())
    .await
    .unwrap()
}

#[test]
fn a_promotion_is_stale_once_the_stage_has_moved_on() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        let first = held(&promote(&stack, TRIAGE, "APPROVE", json!({})).await);
        let second = held(&promote(&stack, TRIAGE, "APPROVE", json!({})).await);
        receipt(&approve(&stack, Who::AccountManager, &first).await);
        let late = receipt(&approve(&stack, Who::AccountManager, &second).await);
        let Filed::ApprovalChanged {
            state, executed, ..
        } = late.filed
        else {
            panic!()
        };
        assert_eq!((state, executed), (ApprovalState::Stale, None));
        assert_eq!(standing(&stack, TRIAGE).await, (AutonomyMode::Approve, 1));

        // There and back again: it stands where it stood, and the report is of another time.
        let sha256 = report(&stack, TRIAGE).await;
        let body = json!({
            "target": target(TRIAGE), "to": "CANARY", "percent": 10, "reason": "good_figures",
            "report_sha256": sha256,
        });
        demote(&stack, TRIAGE, "SHADOW").await;
        raise(&stack, TRIAGE, AutonomyMode::Approve, None).await;
        let reply = send(&stack, Who::TenantAdmin, Operation::PromoteStage, &body).await;
        assert_eq!(
            pointers(&reply.problem(ErrorCode::InvalidField)),
            ["/report_sha256"]
        );
    });
}

#[test]
fn a_change_that_was_decided_for_later_comes_when_its_time_has_come() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        let soon = || Utc::now() + TimeDelta::milliseconds(1500);
        let at = soon();
        let asked = held(&promote(&stack, TRIAGE, "APPROVE", json!({ "effective_at": at })).await);
        receipt(&approve(&stack, Who::AccountManager, &asked).await);
        let view = rollout(&stack).await;
        let stage = view
            .stages
            .iter()
            .find(|stage| stage.target.key() == TRIAGE)
            .unwrap();
        assert_eq!((stage.mode, stage.version), (AutonomyMode::Shadow, 0));
        assert_eq!(stage.to_come.len(), 1);
        comes_due(&stack).await;
        assert!(Utc::now() >= at);
        assert_eq!(control(&stack).await, [Operation::ApplyStageChange]);
        assert_eq!(standing(&stack, TRIAGE).await, (AutonomyMode::Approve, 1));
        assert_eq!(due(&stack).await.commands, []);
        assert_eq!(
            told(&stack).await.1,
            1,
            "workflows hear of it when it comes to be"
        );

        // A demotion in between is the newer word.
        let later = json!({ "percent": 5, "effective_at": soon() });
        let asked = held(&promote(&stack, TRIAGE, "CANARY", later).await);
        receipt(&approve(&stack, Who::AccountManager, &asked).await);
        demote(&stack, TRIAGE, "SHADOW").await;
        let client = stack.client(stack.tenant(), Who::Auditor);
        let history = client.rollout_history(None).await.unwrap();
        let void = history
            .items
            .iter()
            .find(|change| change.superseded)
            .unwrap();
        assert_eq!((void.to, void.applied_at), (AutonomyMode::Canary, None));
        let by = void.superseded_by.as_ref().unwrap();
        assert_eq!(by.command_id, history.items[0].command_id);
        assert_eq!(
            (by.target.key().as_str(), by.to, by.reason.as_str()),
            (TRIAGE, AutonomyMode::Shadow, "wrong_triage")
        );
        let body = json!({ "change": void.command_id });
        let reply = send(&stack, Who::TenantAdmin, Operation::ApplyStageChange, &body).await;
        assert_eq!(
            pointers(&reply.problem(ErrorCode::InvalidField)),
            ["/change"]
        );
        assert_eq!(due(&stack).await.commands, []);
        assert_eq!(standing(&stack, TRIAGE).await, (AutonomyMode::Shadow, 2));
    });
}

/// What stands of a stage: where, and what is to come.
async fn coming(stack: &Stack, stage: &str) -> (AutonomyMode, u64, usize) {
    let stages = rollout(stack).await.stages;
    let found = stages.iter().find(|found| found.target.key() == stage);
    let found = found.unwrap_or_else(|| panic!("{stage}"));
    (found.mode, found.version, found.to_come.len())
}

#[test]
fn a_change_to_come_is_called_off_where_the_stage_stands() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        let stays = async |to: &str| {
            let body = json!({ "target": target(TRIAGE), "to": to, "reason": "second_thoughts" });
            send(&stack, Who::TenantAdmin, Operation::DemoteStage, &body).await
        };
        let nothing = stays("SHADOW").await.problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&nothing), ["/to"]);
        assert!(
            nothing.errors[0]
                .message
                .contains("no change of it is to come")
        );

        // From the lowest there is no lower one.
        demote(&stack, TRIAGE, "OFF").await;
        let soon = Utc::now() + TimeDelta::seconds(2);
        decide_for(&stack, TRIAGE, "SHADOW", None, soon).await;
        assert_eq!(coming(&stack, TRIAGE).await, (AutonomyMode::Off, 1, 1));
        // What is to come of another stage is no reason.
        let other =
            json!({ "target": target(EMERGENCIES), "to": "OFF", "reason": "second_thoughts" });
        let other = send(&stack, Who::TenantAdmin, Operation::DemoteStage, &other).await;
        assert_eq!(pointers(&other.problem(ErrorCode::InvalidField)), ["/to"]);
        let called_off = receipt(&stays("OFF").await);
        assert_eq!(coming(&stack, TRIAGE).await, (AutonomyMode::Off, 2, 0));
        let client = stack.client(stack.tenant(), Who::Auditor);
        let void = to_come(&stack).await;
        let by = void[0].2.as_ref().unwrap();
        assert_eq!(
            (
                by.command_id,
                by.to,
                by.reason.as_str(),
                by.decided_by.as_str()
            ),
            (
                called_off.command_id,
                AutonomyMode::Off,
                "second_thoughts",
                Who::TenantAdmin.actor(stack.tenant()).id.as_str()
            )
        );
        let items = client.rollout_history(None).await.unwrap().items;
        assert_eq!(
            (items[0].from, items[0].to),
            (AutonomyMode::Off, AutonomyMode::Off)
        );
        // Once: there is nothing more to call off, and its time comes without it.
        stays("OFF").await.problem(ErrorCode::InvalidField);
        wait::until("its time", BOUND, async || match Utc::now() > soon {
            true => Ok(()),
            false => Err("not yet"),
        })
        .await;
        assert_eq!(due(&stack).await.commands, []);
        assert_eq!(standing(&stack, TRIAGE).await, (AutonomyMode::Off, 2));
    });
}

#[test]
fn a_change_that_a_kill_switch_stopped_waits_for_people() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        let turn = async |operation, scope: Value| {
            let body = json!({ "scope": scope, "reason": "exercise" });
            receipt(&send(&stack, Who::TenantAdmin, operation, &body).await);
        };
        let passes = async |moment: DateTime<Utc>| {
            wait::until("its time", BOUND, async || match Utc::now() > moment {
                true => Ok(()),
                false => Err("not yet"),
            })
            .await;
        };
        let soon = || Utc::now() + TimeDelta::seconds(2);
        for (stage, scope) in [
            (TRIAGE, json!({ "kind": "tenant" })),
            (
                "dispatch",
                json!({ "kind": "operation", "operation": "dispatch" }),
            ),
        ] {
            let at = soon();
            demote(&stack, stage, "OFF").await;
            decide_for(&stack, stage, "SHADOW", None, at).await;
            turn(Operation::EngageKillSwitch, scope.clone()).await;
            passes(at).await;
            assert_eq!(due(&stack).await.commands, [], "{stage}: it stands");
            turn(Operation::ReleaseKillSwitch, scope.clone()).await;
            assert_eq!(
                due(&stack).await.commands,
                [],
                "{stage}: nobody decided anew"
            );
            assert_eq!(coming(&stack, stage).await, (AutonomyMode::Off, 1, 1));
            // Called off, and decided anew: that comes.
            demote(&stack, stage, "OFF").await;
            assert_eq!(coming(&stack, stage).await, (AutonomyMode::Off, 2, 0));
            decide_for(&stack, stage, "SHADOW", None, soon()).await;
            comes_due(&stack).await;
            assert_eq!(control(&stack).await, [Operation::ApplyStageChange]);
        }
    });
}

#[test]
fn a_change_of_a_class_that_the_bundle_has_no_longer_does_not_come() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        demote(&stack, EMERGENCIES, "OFF").await;
        let soon = Utc::now() + TimeDelta::milliseconds(1500);
        decide_for(&stack, EMERGENCIES, "SHADOW", None, soon).await;
        comes_due(&stack).await;
        rules(&stack, |data| {
            easy(data);
            let classes = data["risk_classes"].as_object_mut().unwrap();
            classes.remove("emergency").unwrap();
        })
        .await;
        assert_eq!(due(&stack).await.commands, []);
    });
}

#[test]
fn saying_it_twice_is_no_second_case() {
    with_api(async |stack| {
        let recorded = async |who: Who, job: &Job, advisor: Option<&str>| {
            let client = stack.client(stack.tenant(), who);
            let workflow = stack.client(stack.tenant(), Who::Workflow);
            let input = workflow
                .advisor_input(job.id(), ProposalKind::Triage)
                .await
                .unwrap();
            let snapshot = workflow.snapshot(job.id()).await.unwrap();
            let mut body = RecordProposal {
                based_on_version: input.version(),
                applied_seq: snapshot.head_seq,
                advice: domain::advise(&input),
                input,
            };
            if let Some(advisor) = advisor {
                body.advice.advisor = contracts::Slug::new(advisor).unwrap();
            }
            let options = CallOptions::default();
            client
                .record_proposal(job.id(), &body, &options)
                .await
                .unwrap();
            body
        };
        let mut job = fresh(&stack).await;
        let body = recorded(Who::Workflow, &job, None).await;
        // The same again, and in other names: those stay open until the act, which pairs them all.
        recorded(Who::Workflow, &job, None).await;
        for name in ["triage_a", "triage_b"] {
            recorded(Who::Workflow, &job, Some(name)).await;
            recorded(Who::Agent, &job, Some(name)).await;
        }
        // Nor does an agent that calls its advisor as the workflow does take that one's place.
        let open = async || {
            let workflow = stack.client(stack.tenant(), Who::Workflow);
            let kept = workflow.proposals(job.id()).await.unwrap().items;
            kept.iter().filter(|it| it.pairing.is_none()).count()
        };
        let before = open().await;
        recorded(Who::Agent, &job, None).await;
        assert_eq!(open().await, before + 1);
        recorded(Who::Agent, &job, None).await;
        assert_eq!(open().await, before + 1, "its own it replaces");
        // An agent's own advice on another ticket is nobody's evidence.
        let mut others = fresh(&stack).await;
        recorded(Who::Agent, &others, None).await;
        let Some(Choice::Triage { template, priority }) = body.advice.best() else {
            panic!("{body:?}")
        };
        let act = json!({
            "template": template, "priority": priority, "details": { "pane_count": 2 },
        });
        job.sends(Operation::Triage, &act).await;
        others.sends(Operation::Triage, &act).await;
        let workflow = stack.client(stack.tenant(), Who::Workflow);
        let kept = workflow.proposals(job.id()).await.unwrap().items;
        let same = kept.iter().filter(|it| {
            it.pairing
                .as_ref()
                .is_some_and(|pair| pair.outcome == PairingOutcome::Same)
        });
        assert!(same.count() > 1, "all of them met the one act: {kept:?}");

        let stage: StageTarget = serde_json::from_value(target(TRIAGE)).unwrap();
        let client = stack.client(stack.tenant(), Who::Auditor);
        let ledger = client.rollout_ledger(&stage, None, None).await.unwrap();
        let unseen = ledger.figures.unseen;
        assert_eq!(
            (unseen.same, unseen.nothing, ledger.figures.open),
            (1, 0, 0)
        );
        assert_eq!(ledger.pairs.len(), 1);
        let sha256 = report(&stack, TRIAGE).await;
        let kept = client.kept_report(&sha256).await.unwrap();
        let report: GateReport = serde_json::from_value(kept.document).unwrap();
        assert_eq!(report.figures.unseen, unseen);
    });
}

#[test]
fn who_read_or_decided_what_software_asked_for_has_seen_its_proposal() {
    enum Looks {
        Nowhere,
        AtIt,
        AtTheList,
        AndDecides,
        AndDecidesMany,
    }
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        raise(&stack, TRIAGE, AutonomyMode::Approve, None).await;
        let seen = async |looks: Looks| {
            let mut job = fresh(&stack).await;
            propose(&stack, &job, ProposalKind::Triage).await;
            let asked = held(&act(&stack, Who::Agent, &job, "P2").await);
            let id = asked.approval.id;
            let dispatcher = stack.client(stack.tenant(), Who::Dispatcher);
            let no = json!({ "approval_id": id, "verdict": "reject", "reason": "not_so" });
            let options = CallOptions::default();
            match looks {
                Looks::Nowhere => {}
                Looks::AtIt => {
                    dispatcher.approval(id).await.unwrap();
                    // Software leaves no trace.
                    let workflow = stack.client(stack.tenant(), Who::Workflow);
                    workflow.approval(id).await.unwrap();
                }
                Looks::AtTheList => {
                    dispatcher
                        .approvals(&ApprovalFilter::default())
                        .await
                        .unwrap();
                }
                Looks::AndDecides => {
                    let no = serde_json::from_value(no).unwrap();
                    dispatcher.decide(&no, &options).await.unwrap();
                }
                Looks::AndDecidesMany => {
                    let no = serde_json::from_value(json!({ "decisions": [no] })).unwrap();
                    let many = dispatcher.decide_many(&no, &options).await.unwrap();
                    assert_eq!(many.items[0].status, 200, "{many:?}");
                }
            }
            job.does(Operation::Triage).await;
            let views: i64 = sqlx::query_scalar(
                "select count(*) from proposal_views v
                 join proposals p on p.tenant_id = v.tenant_id and p.id = v.proposal_id
                 where p.ticket_id = $1",
            )
            .bind(job.id().as_uuid())
            .fetch_one(stack.admin())
            .await
            .unwrap();
            let workflow = stack.client(stack.tenant(), Who::Workflow);
            let kept = workflow.proposals(job.id()).await.unwrap().items;
            (views, kept.last().unwrap().pairing.as_ref().unwrap().seen)
        };
        for looks in [Looks::Nowhere, Looks::AtTheList] {
            assert_eq!(seen(looks).await, (0, false));
        }
        for looks in [Looks::AtIt, Looks::AndDecides, Looks::AndDecidesMany] {
            assert_eq!(seen(looks).await, (1, true));
        }
    });
}

const EMERGENCIES: &str = "triage/emergency";

/// A promotion by two people, for later.
async fn decide_for(stack: &Stack, stage: &str, to: &str, percent: Option<u8>, at: DateTime<Utc>) {
    let later = json!({ "percent": percent, "effective_at": at });
    let asked = held(&promote(stack, stage, to, later).await);
    receipt(&approve(stack, Who::AccountManager, &asked).await);
}

/// The changes of the history that never came, the newest first: of what, and what made them void.
async fn to_come(stack: &Stack) -> Vec<(String, u64, Option<Superseding>)> {
    let client = stack.client(stack.tenant(), Who::Auditor);
    let items = client.rollout_history(None).await.unwrap().items;
    let never = items
        .into_iter()
        .filter(|change| change.applied_at.is_none());
    never
        .map(|change| {
            assert_eq!(change.superseded, change.superseded_by.is_some());
            (
                change.target.key(),
                change.stage_version,
                change.superseded_by,
            )
        })
        .collect()
}

#[test]
fn a_change_to_come_is_void_when_the_stage_or_the_one_that_it_follows_moves_on_and_only_then() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        // An emergency: it counts for the class and, while that follows, for the stage for all.
        triaged(&stack, true).await;
        raise(&stack, TRIAGE, AutonomyMode::Approve, None).await;
        let tomorrow = Utc::now() + TimeDelta::days(1);
        decide_for(&stack, TRIAGE, "CANARY", Some(5), tomorrow).await;
        decide_for(&stack, EMERGENCIES, "CANARY", Some(5), tomorrow).await;
        // Another class goes its own way: that is no change of the stage for all, nor of this class.
        demote(&stack, "triage/standard", "SHADOW").await;
        let waits = |stage: &str, version| (stage.to_owned(), version, None);
        assert_eq!(
            to_come(&stack).await,
            [waits(EMERGENCIES, 1), waits(TRIAGE, 1)]
        );

        // Emergencies follow the stage for all, so its demotion is a newer word on them too.
        demote(&stack, TRIAGE, "SHADOW").await;
        let client = stack.client(stack.tenant(), Who::Auditor);
        let newest = client.rollout_history(None).await.unwrap().items[0].clone();
        let void = to_come(&stack).await;
        assert_eq!(void.len(), 2);
        for (stage, _, by) in &void {
            let by = by.as_ref().unwrap_or_else(|| panic!("{stage}"));
            assert_eq!(
                (by.command_id, by.target.key()),
                (newest.command_id, TRIAGE.to_owned())
            );
            assert_eq!(by.reason.as_str(), "wrong_triage");
        }
        let change = client.rollout_history(None).await.unwrap();
        let change = change.items.iter().find(|it| it.superseded).unwrap();
        let body = json!({ "change": change.command_id });
        let reply = send(&stack, Who::TenantAdmin, Operation::ApplyStageChange, &body).await;
        let problem = reply.problem(ErrorCode::InvalidField);
        assert_eq!(pointers(&problem), ["/change"]);
        let said = &problem.errors[0].message;
        assert!(
            said.contains("version 1") && said.contains("triage to SHADOW by"),
            "{said}"
        );

        // With a setting of its own the class follows no longer: what is decided for it comes.
        demote(&stack, EMERGENCIES, "OFF").await;
        assert_eq!(
            standing(&stack, EMERGENCIES).await,
            (AutonomyMode::Off, 3),
            "on from the version that it followed"
        );
        let soon = Utc::now() + TimeDelta::milliseconds(1500);
        decide_for(&stack, EMERGENCIES, "SHADOW", None, soon).await;
        demote(&stack, TRIAGE, "OFF").await;
        assert_eq!(standing(&stack, TRIAGE).await, (AutonomyMode::Off, 3));
        comes_due(&stack).await;
        assert_eq!(control(&stack).await, [Operation::ApplyStageChange]);
        assert_eq!(
            standing(&stack, EMERGENCIES).await,
            (AutonomyMode::Shadow, 4)
        );
        assert_eq!(due(&stack).await.commands, []);
    });
}

#[test]
fn a_class_that_follows_the_stage_for_all_conflicts_with_its_changes_and_not_the_other_way_round() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        // An emergency: it counts for the class and, while that follows, for the stage for all.
        triaged(&stack, true).await;
        raise(&stack, TRIAGE, AutonomyMode::Canary, Some(5)).await;
        let seen = standing(&stack, TRIAGE).await.1;
        assert_eq!(seen, 2);
        let sha256 = report(&stack, EMERGENCIES).await;
        let further = async |stage: &str, percent: u8, sha256: &str, version: u64| {
            let body = json!({
                "target": target(stage), "to": "CANARY", "percent": percent,
                "reason": "good_figures", "report_sha256": sha256,
            });
            let ask = stack.command(Who::TenantAdmin, Operation::PromoteStage, None, &body);
            ask.expecting(version).send().await
        };
        let back = async |stage: &str, version: u64| {
            let body = json!({ "target": target(stage), "to": "APPROVE", "reason": "too_many" });
            let ask = stack.command(Who::TenantAdmin, Operation::DemoteStage, None, &body);
            ask.expecting(version).send().await
        };
        let asked = held(&further(EMERGENCIES, 20, &sha256, seen).await);

        // First the stage for all: its mode stays, and still it is another stage.
        let larger = held(&promote(&stack, TRIAGE, "CANARY", json!({ "percent": 6 })).await);
        receipt(&approve(&stack, Who::AccountManager, &larger).await);
        let late = receipt(&approve(&stack, Who::AccountManager, &asked).await);
        let Filed::ApprovalChanged { state, .. } = late.filed else {
            panic!()
        };
        assert_eq!(state, ApprovalState::Stale);
        for reply in [
            further(EMERGENCIES, 20, &sha256, seen).await,
            back(EMERGENCIES, seen).await,
        ] {
            let problem = reply.problem(ErrorCode::VersionConflict);
            assert_eq!(problem.meta["actual"], 3, "{problem:?}");
        }
        let reply = further(EMERGENCIES, 20, &sha256, 3).await;
        assert_eq!(
            pointers(&reply.problem(ErrorCode::InvalidField)),
            ["/report_sha256"]
        );

        // First the class: the stage for all has not moved, and no longer moves the class.
        let of_all = report(&stack, TRIAGE).await;
        let own = receipt(&back(EMERGENCIES, 3).await);
        assert_eq!((own.applied_to_version, own.produced_version), (3, 4));
        let of_class = report(&stack, EMERGENCIES).await;
        let asked = held(&further(TRIAGE, 7, &of_all, 3).await);
        assert_eq!(
            receipt(&back(TRIAGE, 3).await).produced_version,
            4,
            "at the same version and yet another stage"
        );
        let late = receipt(&approve(&stack, Who::AccountManager, &asked).await);
        assert!(matches!(
            late.filed,
            Filed::ApprovalChanged {
                state: ApprovalState::Stale,
                ..
            }
        ));
        held(&further(EMERGENCIES, 5, &of_class, 4).await);
    });
}

#[test]
fn a_report_of_an_earlier_stage_says_so_and_is_no_leap() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        let at_shadow = report(&stack, TRIAGE).await;
        raise(&stack, TRIAGE, AutonomyMode::Approve, None).await;
        let body = json!({
            "target": target(TRIAGE), "to": "CANARY", "percent": 5, "reason": "good_figures",
            "report_sha256": at_shadow,
        });
        let reply = send(&stack, Who::TenantAdmin, Operation::PromoteStage, &body).await;
        let problem = reply.problem(ErrorCode::PolicyDenied);
        let told: Vec<_> = problem
            .reasons
            .iter()
            .filter(|reason| reason.class == DenyClass::PolicyDenied)
            .collect();
        let [reason] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(reason.code, "REPORT_OTHER");
        assert_eq!(
            reason.message,
            "The report was made while `triage` stood at SHADOW; it stands at APPROVE now."
        );
        assert!(reason.to_pass.starts_with("Make a new one"), "{reason:?}");
        held(&promote(&stack, TRIAGE, "CANARY", json!({ "percent": 5 })).await);
        let leap = promote(&stack, TRIAGE, "AUTO", json!({})).await;
        let leap = leap.problem(ErrorCode::PolicyDenied);
        let skipped = leap.reasons.iter().find(|r| r.code == "STAGE_SKIPPED");
        assert_eq!(skipped.unwrap().to_pass, "Promote to CANARY first.");
    });
}

async fn comes_due(stack: &Stack) {
    wait::until("something due", BOUND, async || {
        match due(stack).await.commands.len() {
            0 => Err("nothing"),
            _ => Ok(()),
        }
    })
    .await;
}

#[test]
fn a_breached_guardrail_takes_the_stage_back_once() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        raise(&stack, TRIAGE, AutonomyMode::Auto, None).await;
        let before = told(&stack).await;
        let version = standing(&stack, TRIAGE).await.1;
        let mut jobs = Vec::new();
        for _ in 0..3 {
            let job = fresh(&stack).await;
            act(&stack, Who::Agent, &job, "P2").await.receipt();
            jobs.push(job);
        }
        assert_eq!(due(&stack).await.commands, [], "all is well");
        // One of three is more than 150 ‰.
        act(&stack, Who::Dispatcher, &jobs[0], "P1").await.receipt();
        let stage: StageTarget = serde_json::from_value(target(TRIAGE)).unwrap();
        let client = stack.client(stack.tenant(), Who::Auditor);
        let ledger = client.rollout_ledger(&stage, None, None).await.unwrap();
        assert_eq!((ledger.figures.acts, ledger.figures.overridden), (3, 1));
        let how: Vec<_> = ledger.figures.overridden_how.iter().collect();
        assert_eq!(how.len(), 1);
        assert_eq!((how[0].0.as_str(), *how[0].1), ("triaged_again", 1));
        let undone = ledger
            .acts
            .iter()
            .find_map(|act| act.undone.as_ref())
            .unwrap();
        assert_eq!(undone.how.as_str(), "triaged_again");

        assert_eq!(control(&stack).await, [Operation::DemoteStage]);
        assert_eq!(
            standing(&stack, TRIAGE).await,
            (AutonomyMode::Approve, version + 1)
        );
        assert_eq!(
            due(&stack).await.commands,
            [],
            "what came before is not held against it again"
        );
        let history = client.rollout_history(None).await.unwrap();
        let last = &history.items[0];
        assert_eq!(last.reason.as_str(), "guardrail_overridden");
        assert_eq!(last.decided_by, Who::Workflow.actor(stack.tenant()).id);
        let after = told(&stack).await;
        assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1));
        held(&act(&stack, Who::Agent, &fresh(&stack).await, "P2").await);
        // Only the machinery is told what is due.
        let ask = stack.ask(Who::Dispatcher, Method::GET, "/control/due");
        ask.send().await.problem(ErrorCode::Forbidden);
    });
}

#[test]
fn an_act_counts_for_the_class_that_the_ticket_had_then() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        raise(&stack, EMERGENCIES, AutonomyMode::Auto, None).await;
        let version = standing(&stack, EMERGENCIES).await.1;
        let mut jobs = Vec::new();
        for _ in 0..3 {
            let job = fresh(&stack).await;
            assert_eq!(job.ticket().await.priority, Priority::P1);
            act(&stack, Who::Agent, &job, "P1").await.receipt();
            jobs.push(job);
        }
        assert_eq!(due(&stack).await.commands, [], "all is well");
        // What was an emergency to software is none: from now on it is of the class `standard`.
        act(&stack, Who::Dispatcher, &jobs[0], "P3").await.receipt();
        let client = stack.client(stack.tenant(), Who::Auditor);
        let figures = async |stage: &str| {
            let stage: StageTarget = serde_json::from_value(target(stage)).unwrap();
            let ledger = client.rollout_ledger(&stage, None, None).await.unwrap();
            (ledger.figures.acts, ledger.figures.overridden)
        };
        assert_eq!(figures(EMERGENCIES).await, (3, 1));
        assert_eq!(figures(TRIAGE).await, (0, 0));
        assert_eq!(control(&stack).await, [Operation::DemoteStage]);
        assert_eq!(
            standing(&stack, EMERGENCIES).await,
            (AutonomyMode::Approve, version + 1)
        );
    });
}

#[test]
fn a_guardrail_that_cannot_be_read_keeps_nothing_else_waiting() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        raise(&stack, TRIAGE, AutonomyMode::Auto, None).await;
        let mut jobs = Vec::new();
        for _ in 0..3 {
            let job = fresh(&stack).await;
            act(&stack, Who::Agent, &job, "P2").await.receipt();
            jobs.push(job);
        }
        // A change that goes ahead, and the end of a switch, are due as well.
        demote(&stack, "triage/standard", "OFF").await;
        let soon = Utc::now() + TimeDelta::seconds(1);
        decide_for(&stack, "triage/standard", "SHADOW", None, soon).await;
        act(&stack, Who::Dispatcher, &jobs[0], "P1").await.receipt();
        let body = json!({
            "scope": { "kind": "operation", "operation": "qa_verify" },
            "reason": "drill", "expires_at": Utc::now() + TimeDelta::seconds(1),
        });
        let engaged = send(&stack, Who::TenantAdmin, Operation::EngageKillSwitch, &body).await;
        assert!(engaged.status.is_success(), "{}", engaged.text());

        let mut lock = stack.admin().begin().await.unwrap();
        sqlx::query("lock table sla_records in access exclusive mode")
            .execute(&mut *lock)
            .await
            .unwrap();
        let operations = async || {
            let commands = due(&stack).await.commands;
            let operations = commands.iter().map(|command| command.operation);
            operations.collect::<Vec<_>>()
        };
        wait::until("what is due besides", BOUND, async || {
            match &operations().await[..] {
                [Operation::ReleaseKillSwitch] => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        lock.rollback().await.unwrap();
        wait::until("all of it", BOUND, async || match &operations().await[..] {
            [
                Operation::DemoteStage,
                Operation::ApplyStageChange,
                Operation::ReleaseKillSwitch,
            ] => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    });
}

/// Seconds for which the guardrail that was not read for longest has not been.
async fn unread(stack: &Stack) -> f64 {
    let metrics = stack.metrics().await;
    let mut lines = metrics.lines();
    let line = lines.find_map(|line| line.strip_prefix("dispatch_guardrail_unread_seconds "));
    line.expect("it is there").parse().unwrap()
}

#[test]
fn a_guardrail_that_cannot_be_read_for_long_takes_its_stage_back() {
    let options = ApiOptions {
        limits: Limits {
            guardrail_unread: Duration::from_secs(2),
            ..ApiOptions::default().limits
        },
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        raise(&stack, TRIAGE, AutonomyMode::Auto, None).await;
        assert_eq!(due(&stack).await.commands, []);
        assert_eq!(unread(&stack).await, 0.0);
        // Nobody may read what the ledger is made of.
        let may_read = async |word: &str, from: &str| {
            let sql = format!("{word} select on sla_records {from} dispatch_app");
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .execute(stack.admin())
                .await
                .unwrap();
        };
        may_read("revoke", "from").await;
        assert_eq!(due(&stack).await.commands, [], "it may be back");
        assert!(unread(&stack).await > 0.0);
        let commands = wait::until("the way back", BOUND, async || {
            let commands = due(&stack).await.commands;
            (!commands.is_empty()).then_some(commands).ok_or("none")
        })
        .await;
        // The command itself looks at promises too.
        may_read("grant", "to").await;
        let [demotion] = &commands[..] else {
            panic!("{commands:?}")
        };
        let ask = stack.command(Who::Workflow, demotion.operation, None, &demotion.body);
        receipt(&ask.key(&demotion.request_id).send().await);
        let view = rollout(&stack).await;
        let stage = view.stages.iter().find(|it| it.target.key() == TRIAGE);
        let stage = stage.unwrap();
        let reason = stage.reason.as_ref().map(Slug::as_str);
        assert_eq!(
            (stage.mode, reason),
            (AutonomyMode::Approve, Some("guardrail_unreadable"))
        );
        assert_eq!(due(&stack).await.commands, []);
        assert!(unread(&stack).await > 0.0, "of the version before");
    });
}

#[test]
fn a_mode_that_comes_from_the_bundle_has_its_guardrail() {
    with_api(async |stack| {
        rules(&stack, |data| {
            easy(data);
            data["default_mode"] = json!("APPROVE");
        })
        .await;
        let mut jobs = Vec::new();
        for _ in 0..2 {
            let job = fresh(&stack).await;
            let asked = held(&act(&stack, Who::Agent, &job, "P2").await);
            receipt_of_yes(&stack, &asked).await;
            jobs.push(job);
        }
        assert_eq!(due(&stack).await.commands, []);
        // People undo half of it.
        act(&stack, Who::Dispatcher, &jobs[0], "P1").await.receipt();
        assert_eq!(control(&stack).await, [Operation::DemoteStage]);
        assert_eq!(standing(&stack, TRIAGE).await, (AutonomyMode::Shadow, 1));
    });
}

/// A dispatcher says yes, and what was held is carried out.
async fn receipt_of_yes(stack: &Stack, held: &HeldReceipt) {
    let decided = approve(stack, Who::Dispatcher, held).await;
    assert!(decided.status.is_success(), "{}", decided.text());
    let path = format!("/approvals/{}/execute", held.approval.id);
    let ask = stack.ask(Who::TenantAdmin, Method::POST, path).key(key());
    let done = ask.json(&json!({ "version": 1 })).send().await;
    assert_eq!(done.status, 200, "{}", done.text());
}

#[test]
fn what_software_did_is_found_by_its_index() {
    with_api(async |stack| {
        // As the ledger asks; whether the index can be used at all is not a matter of how many rows
        // there are.
        for whose in [
            "e.actor_kind in ('agent', 'workflow')",
            "(e.actor_kind in ('agent', 'workflow') or e.payload ? 'approval')",
        ] {
            let mut tx = stack.admin().begin().await.unwrap();
            let app = "set local role dispatch_app; set local enable_seqscan = off; \
                       set local enable_bitmapscan = off";
            sqlx::raw_sql(app).execute(&mut *tx).await.unwrap();
            let sql = format!(
                "explain select e.command_id from audit_events e
                  where e.tenant_id = '{}' and e.operation = 'triage' and e.ticket_id is not null
                    and e.at >= now() - interval '1 day'
                    and e.recorded_at >= now() - interval '1 day' and {whose}",
                stack.tenant().id.as_uuid(),
            );
            let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_all(&mut *tx)
                .await
                .unwrap();
            let plan = plan.join("\n");
            assert!(plan.contains("audit_events_of_software"), "{plan}");
        }
    });
}

#[test]
fn what_people_release_and_undo_counts_as_softwares() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        raise(&stack, TRIAGE, AutonomyMode::Approve, None).await;
        let mut asked = Vec::new();
        for _ in 0..2 {
            let job = fresh(&stack).await;
            asked.push((held(&act(&stack, Who::Workflow, &job, "P2").await), job));
        }
        let [(released, job), (rejected, _)] = &asked[..] else {
            panic!()
        };
        approve(&stack, Who::Dispatcher, released).await.receipt();
        let path = format!("/approvals/{}/decide", rejected.approval.id);
        let ask = stack
            .ask(Who::Dispatcher, Method::POST, path)
            .header("idempotency-key", key());
        let no =
            json!({ "approval_id": rejected.approval.id, "verdict": "reject", "reason": "no" });
        ask.json(&no).send().await.receipt();
        let body = json!({
            "approval_id": released.approval.id, "version": released.approval.version,
            "applied_seq": 0,
        });
        let path = format!("/approvals/{}/execute", released.approval.id);
        let ask = stack
            .ask(Who::Workflow, Method::POST, path)
            .header("idempotency-key", key());
        ask.json(&body).send().await.receipt();
        assert_eq!(job.ticket().await.state, TicketState::Triaged);
        act(&stack, Who::Dispatcher, job, "P1").await.receipt();

        let stage: StageTarget = serde_json::from_value(target(TRIAGE)).unwrap();
        let client = stack.client(stack.tenant(), Who::Auditor);
        let ledger = client.rollout_ledger(&stage, None, None).await.unwrap();
        let [act] = &ledger.acts[..] else {
            panic!("{:?}", ledger.acts)
        };
        assert!(act.released && act.undone.is_some());
        assert_eq!(
            ledger.figures.attempts, 2,
            "what is carried out is no attempt of its own"
        );
        let approvals = &ledger.figures.approvals;
        assert_eq!(approvals[&ApprovalState::Executed], 1);
        assert_eq!(approvals[&ApprovalState::Rejected], 1);
    });
}

#[test]
fn nothing_that_software_does_rests_on_a_stage_that_was_taken_back() {
    with_api(async |stack| {
        rules(&stack, easy).await;
        triaged(&stack, true).await;
        for _ in 0..3 {
            raise(&stack, TRIAGE, AutonomyMode::Auto, None).await;
            let jobs = join_all((0..6).map(|_| fresh(&stack))).await;
            let (stop, passed) = (Cell::new(false), Cell::new(0));
            let acting = jobs.iter().map(async |job| {
                for priority in ["P2", "P3"].into_iter().cycle() {
                    let reply = act(&stack, Who::Agent, job, priority).await;
                    match reply.status == 200 {
                        true => passed.set(passed.get() + 1),
                        false => drop(reply.problem(ErrorCode::Stage)),
                    }
                    if stop.get() {
                        break;
                    }
                }
            });
            let taking_back = async {
                wait::until("software acts", BOUND, async || match passed.get() {
                    0..6 => Err(passed.get()),
                    _ => Ok(()),
                })
                .await;
                demote(&stack, TRIAGE, "SHADOW").await;
                stop.set(true);
            };
            futures::join!(join_all(acting), taking_back);
        }
        let late: i64 = sqlx::query_scalar(
            "select count(*) from audit_events a
               join audit_events d on d.tenant_id = a.tenant_id and d.operation = 'demote_stage'
                                  and d.refused is null and a.written > d.written
              where a.actor_kind = 'agent' and a.operation = 'triage' and a.refused is null
                and not exists (
                    select from stage_changes c
                    join audit_events p on p.tenant_id = c.tenant_id and p.command_id = c.command_id
                     where c.to_mode = 'AUTO' and p.written > d.written and p.written < a.written)",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(late, 0);
    });
}

#[test]
fn a_cap_on_an_hour_lets_exactly_so_many_pass() {
    const MOST: i64 = 3;
    with_api(async |stack| {
        rules(&stack, |data| {
            easy(data);
            data["caps"]["of_operation_per_hour"][TRIAGE] = json!(MOST);
        })
        .await;
        triaged(&stack, true).await;
        raise(&stack, TRIAGE, AutonomyMode::Auto, None).await;
        let jobs = join_all((0..12).map(|_| fresh(&stack))).await;
        let replies = join_all(jobs.iter().map(|job| act(&stack, Who::Agent, job, "P2"))).await;
        let passed = replies.iter().filter(|reply| reply.status == 200).count();
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            let found = codes(reply, ErrorCode::PolicyDenied);
            assert!(found.contains("AUTONOMY_CAP_OPERATION"), "{found:?}");
        }
        // Two clock hours may have been touched; in each no more than so many.
        let hours = counted(&stack, TRIAGE).await;
        let all: i64 = hours.iter().map(|(commands, _)| commands).sum();
        assert_eq!(i64::try_from(passed).unwrap(), all);
        assert!(
            hours.iter().all(|(commands, _)| *commands <= MOST),
            "{hours:?}"
        );
        assert!(hours.len() > 1 || all == MOST, "{hours:?}");
        // People are not counted, and a cap that is reached demotes nobody.
        act(&stack, Who::Dispatcher, &jobs[0], "P3").await.receipt();
        let stage: StageTarget = serde_json::from_value(target(TRIAGE)).unwrap();
        let client = stack.client(stack.tenant(), Who::Auditor);
        let ledger = client.rollout_ledger(&stage, None, None).await.unwrap();
        assert_eq!(ledger.figures.denied, 0);
    });
}

pub(crate) async fn counted(stack: &Stack, operation: &str) -> Vec<(i64, i64)> {
    sqlx::query_as(
        "select commands::bigint, spent_cents from autonomy_hours
          where tenant_id = $1 and operation = $2 order by hour",
    )
    .bind(stack.tenant().id.as_uuid())
    .bind(operation)
    .fetch_all(stack.admin())
    .await
    .unwrap()
}

#[test]
fn software_spends_no_more_in_an_hour_than_it_may() {
    const STAGE: &str = "generate_invoice";
    /// Of the example invoice.
    const EACH: i64 = 9_500 + 3 * 7_800;
    with_api(async |stack| {
        rules(&stack, |data| {
            easy(data);
            data["caps"]["spend_cents_per_hour"] = json!(2 * EACH + 1);
        })
        .await;
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Verified).await;
        propose(&stack, &job, ProposalKind::InvoiceLines).await;
        job.does(Operation::GenerateInvoice).await;
        raise_past(&stack, STAGE).await;
        let mut jobs = Vec::new();
        for _ in 0..5 {
            jobs.push(Job::at(&stack, stack.tenant(), TicketState::Verified).await);
        }
        let charge = async |job: &Job| {
            let body = job.body(Operation::GenerateInvoice).await;
            let ask = stack.command(Who::Agent, Operation::GenerateInvoice, job.id(), &body);
            ask.send().await
        };
        let replies = join_all(jobs.iter().map(charge)).await;
        let passed = replies.iter().filter(|reply| reply.status == 200).count();
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            let problem = reply.problem(ErrorCode::PolicyDenied);
            let reason = &problem.reasons[0];
            assert_eq!(
                (reason.code.as_str(), reason.class),
                ("AUTONOMY_CAP_SPEND", DenyClass::PolicyDenied)
            );
        }
        let hours = counted(&stack, STAGE).await;
        let spent: i64 = hours.iter().map(|(_, cents)| cents).sum();
        assert_eq!(spent, EACH * i64::try_from(passed).unwrap());
        assert!(
            hours.iter().all(|(_, cents)| *cents <= 2 * EACH + 1),
            "{hours:?}"
        );
        assert!(hours.len() > 1 || passed == 2, "{hours:?}");
    });
}

/// To AUTO, whatever people did with the one proposal there is: the gates are the easiest.
async fn raise_past(stack: &Stack, stage: &str) {
    rules(stack, |data| {
        easy(data);
        data["caps"]["spend_cents_per_hour"] = json!(2 * (9_500 + 3 * 7_800) + 1);
        for mode in ["APPROVE", "CANARY", "AUTO"] {
            data["gates"][mode]["min_agreement_permille"] = json!(0);
        }
    })
    .await;
    raise(stack, stage, AutonomyMode::Auto, None).await;
}

#[test]
fn the_same_range_gives_the_same_report() {
    with_api(async |stack| {
        triaged(&stack, true).await;
        let until: DateTime<Utc> = Utc::now();
        let body = json!({
            "target": target(TRIAGE), "since": until - TimeDelta::hours(1), "until": until,
        });
        let mut made = BTreeSet::new();
        for _ in 0..2 {
            let reply = send(&stack, Who::TenantAdmin, Operation::RecordGateReport, &body).await;
            let Filed::Report { sha256 } = receipt(&reply).filed else {
                panic!()
            };
            made.insert(sha256);
            // What happens afterwards is not in it.
            triaged(&stack, false).await;
        }
        assert_eq!(made.len(), 1);
        let wrong = |since: DateTime<Utc>, until: DateTime<Utc>| json!({ "target": target(TRIAGE), "since": since, "until": until });
        let later = Utc::now() + TimeDelta::hours(1);
        for (body, pointer) in [
            (wrong(until, later), "/until"),
            (wrong(until, until), "/since"),
        ] {
            let reply = send(&stack, Who::TenantAdmin, Operation::RecordGateReport, &body).await;
            assert_eq!(pointers(&reply.problem(ErrorCode::InvalidField)), [pointer]);
        }
    });
}
