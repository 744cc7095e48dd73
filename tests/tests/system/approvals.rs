//! Approvals: held, claimed, decided, amended, carried out, void, over; by the right people, once,
//! and never because nobody said anything.

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use client::{ApprovalAnswer, CallOptions, Client, ClientError};
use contracts::{
    ApprovalId, ErrorCode, Operation, Problem, Role, TicketId, TicketState,
    approval::{Approval, ApprovalState, StepKind, Verdict},
    command::*,
    filing::Filed,
    inbox::{ApprovalFilter, DecideMany, OneDecision},
    policy::{PolicyInput, PolicyResult},
};
use dispatch_tests::{
    filing::receipt,
    http::key,
    job::{HELD_CENTS, Job, SECRET_WORDS},
    record::{Footprint, attempt},
    stack::{Stack, with_api},
    wait,
    who::{Who, mint},
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

/// The token of a person of the tenant with these roles.
fn token(stack: &Stack, id: &str, roles: &[Role]) -> String {
    let mut claims = Who::Dispatcher.claims(stack.tenant(), Utc::now());
    claims.sub = id.to_owned();
    claims.roles = roles.iter().copied().collect();
    mint(&claims)
}

/// A client of such a person.
fn person(stack: &Stack, id: &str, roles: &[Role]) -> Client {
    stack
        .client(stack.tenant(), Who::Dispatcher)
        .with_token(token(stack, id, roles))
}

fn yes(approval_id: ApprovalId) -> DecideApproval {
    DecideApproval {
        approval_id,
        verdict: Verdict::Approve,
        reason: None,
        version: None,
    }
}

fn slug(text: &str) -> contracts::Slug {
    contracts::Slug::new(text).unwrap()
}

async fn say_yes(client: &Client, id: ApprovalId) -> Result<ApprovalAnswer, ClientError> {
    client.decide(&yes(id), &CallOptions::default()).await
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>, code: ErrorCode) -> Problem {
    let error = result.expect_err("it was taken");
    let problem = error.problem().unwrap_or_else(|| panic!("{error}")).clone();
    assert_eq!(problem.code, code, "{problem:?}");
    problem
}

/// A ticket on which a technician asked for so much more that it is held.
async fn held(stack: &Stack) -> (Job, Approval) {
    let mut job = Job::at(stack, stack.tenant(), TicketState::OnSite).await;
    let approval = job.is_held().await;
    (job, approval)
}

/// A change order that waits for its decision.
async fn asked(stack: &Stack) -> (Job, ApprovalId) {
    let job = Job::at(stack, stack.tenant(), TicketState::ChangeRequested).await;
    let id = job.approval();
    (job, id)
}

async fn stands(stack: &Stack, id: ApprovalId) -> Approval {
    let auditor = stack.client(stack.tenant(), Who::Auditor);
    auditor.approval(id).await.unwrap().summary.approval
}

async fn execute(
    stack: &Stack,
    id: ApprovalId,
    version: u32,
) -> Result<CommandReceipt, ClientError> {
    let workflow = stack.client(stack.tenant(), Who::Workflow);
    let body = ExecuteApproval {
        approval_id: id,
        version,
        applied_seq: 1,
        override_kill_switch: None,
    };
    let options = CallOptions::default();
    workflow
        .command(Operation::ExecuteApproval, None, &body, &options)
        .await
}

async fn sql(stack: &Stack, text: &str) {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned()))
        .execute(stack.admin())
        .await
        .unwrap();
}

/// Another bundle decides: the starter with this file's document changed.
pub(super) async fn bundle_with(stack: &Stack, path: &str, change: impl Fn(Value) -> Value) {
    let changed = |name: &str, text: &str| match name == path {
        true => change(serde_json::from_str(text).unwrap()).to_string(),
        false => text.to_owned(),
    };
    bundle_of(stack, changed).await;
}

/// Another bundle decides: the starter with its files changed, by path and text.
async fn bundle_of(stack: &Stack, change: impl Fn(&str, &str) -> String) {
    let starter = policy::Bundle::starter().unwrap();
    // Nearly all of its tests are about its own rules, amounts and numbers of people.
    let kept = ["fixtures_test.rego", "details_test.rego"];
    let is_kept =
        |name: &str| !name.ends_with("_test.rego") || kept.iter().any(|kept| name.ends_with(kept));
    let files = starter.files().iter().filter(|(name, _)| is_kept(name));
    let texts = files.map(|(name, text)| (name.to_owned(), change(name, text)));
    let files = policy::BundleFiles::from_texts(texts).unwrap();
    let archive = files.to_archive().unwrap();
    let bundle = policy::Bundle::admit(files, &policy::Trust::Anybody).unwrap();
    let now = Utc::now();
    store::bundles::install(
        stack.admin(),
        bundle.reference(),
        &archive,
        None,
        "test",
        "test",
        now,
    )
    .await
    .unwrap();
}

#[test]
fn what_is_held_is_answered_with_202_and_changes_nothing_else() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let body = json!({
            "scope": "shopfront", "price_delta_cents": HELD_CENTS, "note": SECRET_WORDS,
        });
        let (operation, before) = (Operation::RequestChange, job.ticket().await);
        let ask = |key: &str| {
            stack
                .command(Who::Technician, operation, job.id(), &body)
                .key(key)
        };
        let footprint = Footprint::take(stack.admin()).await;
        let would = ask(&key()).dry_run().send().await;
        assert_eq!(would.status, 202, "{}", would.text());
        assert_eq!(would.json()["dry_run"], true);
        assert_eq!(footprint.changes(stack.admin()).await, [""; 0]);

        let key = key();
        let first = ask(&key).send().await;
        assert_eq!(first.status, 202);
        let receipt: HeldReceipt = serde_json::from_value(first.json()).unwrap();
        assert_eq!(receipt.reasons[0].code, "NTE_PERCENT");
        let approval = receipt.approval;
        assert_eq!(approval.state, ApprovalState::Pending);
        assert_eq!(approval.operation, operation);
        assert_eq!(approval.decision_id, Some(receipt.decision_id));
        assert_eq!(approval.steps.last().unwrap().step, StepKind::Expiry);
        let second = ask(&key).send().await;
        assert_eq!(second.body, first.body);
        assert_eq!(second.header("idempotent-replayed"), Some("true"));

        let after = job.ticket().await;
        assert_eq!((after.version, after.state), (before.version, before.state));
        assert_eq!(after.approvals.len(), 1);
        let row = attempt(stack.admin(), receipt.command_id).await.unwrap();
        assert_eq!(
            (row.refused, row.result.as_str()),
            (None, "REQUIRE_APPROVAL")
        );
        // What somebody wrote is with the held command, and with no approval or event.
        for (table, told) in [
            ("approvals", false),
            ("outbox_events", false),
            ("held_commands", true),
        ] {
            let found: bool = sqlx::query_scalar(AssertSqlSafe(format!(
                "select exists (select from {table} t where to_jsonb(t)::text like '%Quillfeather%')"
            )))
            .fetch_one(stack.admin())
            .await
            .unwrap();
            assert_eq!(found, told, "{table}");
        }
        let workflow = stack.client(stack.tenant(), Who::Workflow);
        let seen = workflow.approval(approval.id).await.unwrap();
        assert_eq!(
            (seen.command, seen.comments),
            (None, vec![]),
            "software reads no texts"
        );
        let manager = stack.client(stack.tenant(), Who::AccountManager);
        let seen = manager.approval(approval.id).await.unwrap();
        assert_eq!(seen.command.unwrap()["body"]["note"], SECRET_WORDS);
        assert!(seen.may_decide, "{:?}", seen.why_not);
        let owed = &seen.summary.waits_for;
        assert_eq!((owed.len(), owed[0].count, owed[0].given), (1, 1, 0));
        assert_eq!(seen.ground.unwrap().reasons, receipt.reasons);
        let seen = stack
            .client(stack.tenant(), Who::Technician)
            .approval(approval.id)
            .await;
        let why_not = seen.unwrap().why_not.unwrap();
        assert!(why_not.contains("Neither the one who asked"), "{why_not}");
    });
}

#[test]
fn a_decision_says_exactly_what_stands_in_its_way() {
    with_api(async |stack| {
        let manager = person(&stack, "usr_manager", &[Role::AccountManager]);
        let other = person(&stack, "usr_other", &[Role::AccountManager]);
        let unknown = ApprovalId::from_uuid(uuid::Uuid::now_v7());
        refusal(say_yes(&manager, unknown).await, ErrorCode::NotFound);

        let (_, approval) = held(&stack).await;
        let id = approval.id;
        // Not the one who asked, whatever roles they have; no software; nobody without a role.
        let proposer = person(
            &stack,
            &Who::Technician.actor(stack.tenant()).id,
            &[Role::AccountManager],
        );
        let code = |problem: Problem| problem.reasons[0].code.clone();
        let refused = refusal(say_yes(&proposer, id).await, ErrorCode::Forbidden);
        assert_eq!(code(refused), "SELF_APPROVAL");
        for who in [Who::Agent, Who::Workflow, Who::Auditor, Who::Billing] {
            let client = stack.client(stack.tenant(), who);
            let error = say_yes(&client, id).await.unwrap_err();
            assert_eq!(error.problem().unwrap().status, 403, "{who:?}");
        }
        let claim = ClaimApproval {
            approval_id: id,
            minutes: 5,
        };
        manager
            .claim_approval(&claim, &CallOptions::default())
            .await
            .unwrap();
        let claimed = refusal(say_yes(&other, id).await, ErrorCode::ApprovalClaimed);
        assert_eq!(claimed.meta["claimed_by"], "usr_manager");
        assert!(claimed.meta["until"].is_string());
        let answer = say_yes(&manager, id).await.unwrap();
        assert_eq!(answer.state(), Some(ApprovalState::Approved));
        let decided = refusal(say_yes(&other, id).await, ErrorCode::AlreadyDecided);
        assert_eq!(decided.meta["decided_by"], "usr_manager");
        assert!(decided.meta["decided_at"].is_string());

        // Over, before and after its end is on record.
        let (_, approval) = held(&stack).await;
        let hour = "interval '1 hour'";
        sql(
            &stack,
            &format!(
                "update approvals set expires_at = now() - {hour} where id = '{}'",
                approval.id.as_uuid()
            ),
        )
        .await;
        let over = refusal(say_yes(&manager, approval.id).await, ErrorCode::Expired);
        assert_eq!(over.meta["why"], "undecided");
        assert!(over.meta["expired_at"].is_string());
        // As its plan has it, or the check at the end finds it, as it should.
        let end = approval.expires_at.unwrap().to_rfc3339();
        sql(
            &stack,
            &format!(
                "update approvals set expires_at = '{end}' where id = '{}'",
                approval.id.as_uuid()
            ),
        )
        .await;
    });
}

#[test]
fn two_must_agree_and_a_lent_right_is_one_of_them() {
    with_api(async |stack| {
        bundle_with(&stack, "approvals/data.json", |mut data| {
            data["rules"]["NTE_PERCENT"]["count"] = 2.into();
            data
        })
        .await;
        let (job, approval) = held(&stack).await;
        assert_eq!(approval.demands[0].count, 2);
        let manager = person(&stack, "usr_m1", &[Role::AccountManager]);
        let second = person(&stack, "usr_m2", &[Role::AccountManager]);
        let helper = person(&stack, "usr_helper", &[Role::Dispatcher]);
        let first = say_yes(&manager, approval.id).await.unwrap();
        assert_eq!(first.state(), Some(ApprovalState::Pending));
        let twice = refusal(
            say_yes(&manager, approval.id).await,
            ErrorCode::AlreadyDecided,
        );
        assert_eq!(twice.meta["decided_by"], "usr_m1");
        assert_eq!(twice.meta["state"], "pending");
        assert!(
            twice
                .detail
                .starts_with("You have voted already (`usr_m1` did so at ")
                && twice.detail.contains("more people must agree"),
            "{}",
            twice.detail
        );
        let answer = execute(&stack, approval.id, 1).await;
        let early = refusal(answer, ErrorCode::IllegalTransition);
        assert!(
            early.detail.contains("not approved yet"),
            "{}",
            early.detail
        );

        // Only what one has can be lent, and it serves until it is taken back.
        let lend = |roles: &[Role], days: i64| DelegateApprovals {
            to: "usr_helper".to_owned(),
            roles: roles.to_vec(),
            from: Utc::now() - TimeDelta::minutes(1),
            until: Utc::now() + TimeDelta::days(days),
            reason: slug("leave"),
        };
        let options = CallOptions::default;
        for (wrong, pointer) in [
            (lend(&[Role::Qa], 1), "/roles/0"),
            (lend(&[], 1), "/roles"),
            (lend(&[Role::AccountManager], 91), "/until"),
            (lend(&[Role::AccountManager], -1), "/until"),
        ] {
            let refused = second.delegate_approvals(&wrong, &options()).await;
            let refused = refusal(refused, ErrorCode::InvalidField);
            assert_eq!(refused.errors[0].pointer, pointer);
        }
        refusal(say_yes(&helper, approval.id).await, ErrorCode::Forbidden);
        let lent = second
            .delegate_approvals(&lend(&[Role::AccountManager], 1), &options())
            .await;
        let Filed::Delegated { delegation_id } = lent.unwrap().filed else {
            panic!("a delegation");
        };
        let list = helper.delegations().await.unwrap().items;
        assert_eq!((list.len(), list[0].from_actor.as_str()), (1, "usr_m2"));
        let revoke = RevokeDelegation { delegation_id };
        let theirs = manager.revoke_delegation(&revoke, &options()).await;
        refusal(theirs, ErrorCode::Forbidden);
        second.revoke_delegation(&revoke, &options()).await.unwrap();
        refusal(say_yes(&helper, approval.id).await, ErrorCode::Forbidden);
        let lent = second
            .delegate_approvals(&lend(&[Role::AccountManager], 1), &options())
            .await;
        lent.unwrap();
        let answer = say_yes(&helper, approval.id).await.unwrap();
        assert_eq!(answer.state(), Some(ApprovalState::Approved));
        let votes = stands(&stack, approval.id).await.votes;
        assert_eq!(votes[1].on_behalf_of.as_deref(), Some("usr_m2"));
        let receipt = execute(&stack, approval.id, 1).await.unwrap();
        assert_eq!(receipt.ticket.state, TicketState::ChangeRequested);
        assert_eq!(receipt.ticket.id, job.id());
    });
}

#[test]
fn a_claim_is_given_back_taken_over_or_runs_out() {
    with_api(async |stack| {
        let (_, id) = asked(&stack).await;
        let one = person(&stack, "usr_one", &[Role::AccountManager]);
        let two = person(&stack, "usr_two", &[Role::Approver]);
        let claim = ClaimApproval {
            approval_id: id,
            minutes: 5,
        };
        let release = ReleaseApproval { approval_id: id };
        let take = TakeOverApproval {
            approval_id: id,
            reason: slug("colleague_is_ill"),
            minutes: 5,
        };
        let options = CallOptions::default;
        one.claim_approval(&claim, &options()).await.unwrap();
        let mine = ApprovalFilter {
            mine: true,
            ..ApprovalFilter::default()
        };
        assert_eq!(one.approvals(&mine).await.unwrap().items.len(), 1);
        assert_eq!(two.approvals(&mine).await.unwrap().items.len(), 0);
        refusal(
            two.claim_approval(&claim, &options()).await,
            ErrorCode::ApprovalClaimed,
        );
        refusal(
            two.release_approval(&release, &options()).await,
            ErrorCode::ApprovalClaimed,
        );
        two.take_over_approval(&take, &options()).await.unwrap();
        refusal(say_yes(&one, id).await, ErrorCode::ApprovalClaimed);
        two.release_approval(&release, &options()).await.unwrap();
        refusal(
            two.release_approval(&release, &options()).await,
            ErrorCode::IllegalTransition,
        );
        one.claim_approval(&claim, &options()).await.unwrap();
        sql(&stack, "update approvals set claimed_until = now()").await;
        two.claim_approval(&claim, &options()).await.unwrap();
        say_yes(&two, id).await.unwrap();
        assert_eq!(stands(&stack, id).await.claim, None);
    });
}

/// A lease of somebody who cannot decide would keep out those who can.
#[test]
fn who_cannot_decide_claims_nothing() {
    with_api(async |stack| {
        bundle_with(&stack, "approvals/data.json", |mut data| {
            data["rules"]["NTE_PERCENT"]["count"] = 2.into();
            data
        })
        .await;
        let (_, approval) = held(&stack).await;
        let id = approval.id;
        let claim = json!({ "approval_id": id, "minutes": 240 });
        let take = json!({ "approval_id": id, "minutes": 240, "reason": "busy" });
        let both = [("claim", &claim), ("take-over", &take)];
        for (who, code) in [
            (Who::Technician, "SELF_APPROVAL"),
            (Who::Dispatcher, "APPROVER_ROLE"),
            (Who::TenantAdmin, "APPROVER_ROLE"),
            (Who::Agent, "APPROVER_KIND"),
            (Who::Registry, "APPROVER_KIND"),
        ] {
            for (verb, body) in both {
                let path = format!("/approvals/{id}/{verb}");
                let ask = stack.ask(who, Method::POST, path).key(key()).json(body);
                let reply = ask.send().await;
                assert_eq!(reply.status, 403, "{who:?} {verb}: {}", reply.text());
                let reasons = reply.json()["reasons"].clone();
                let reasons = reasons.as_array().unwrap();
                let named = reasons.iter().find(|reason| reason["code"] == code);
                let to_pass = named.unwrap_or_else(|| panic!("{who:?} {verb}: {reasons:?}"));
                let to_pass = to_pass["to_pass"].as_str().unwrap();
                assert!(to_pass.contains("role account_manager"), "{to_pass}");
            }
        }
        assert_eq!(stands(&stack, id).await.claim, None);

        // Who has said yes has no more to say, and keeps nobody out: the lease ends with the word.
        let one = person(&stack, "usr_one", &[Role::AccountManager]);
        let two = person(&stack, "usr_two", &[Role::AccountManager]);
        let claim = ClaimApproval {
            approval_id: id,
            minutes: 240,
        };
        one.claim_approval(&claim, &CallOptions::default())
            .await
            .unwrap();
        let first = say_yes(&one, id).await.unwrap();
        assert_eq!(first.state(), Some(ApprovalState::Pending));
        assert_eq!(stands(&stack, id).await.claim, None);
        let again = one.claim_approval(&claim, &CallOptions::default()).await;
        refusal(again, ErrorCode::AlreadyDecided);
        let last = say_yes(&two, id).await.unwrap();
        assert_eq!(last.state(), Some(ApprovalState::Approved));
    });
}

/// Hours in which people are asked besides, from the present one on.
async fn quiet(stack: &Stack, from: i64, until: i64) {
    let minute = |hours: i64| {
        let at = Utc::now() + TimeDelta::hours(hours);
        i64::from(at.hour() * 60 + at.minute())
    };
    let body = json!({
        "calendar": { "time_zone": "UTC", "week": [[], [], [], [], [], [], []] },
        "currency": "EUR", "locale": "en",
        "quiet_hours": { "from_minute": minute(from), "until_minute": minute(until) },
    });
    let path = format!("/tenants/{}/configure", stack.tenant().id);
    let ask = stack.ask(Who::TenantAdmin, Method::POST, path).key(key());
    receipt(&ask.json(&body).send().await);
}

/// The starter, that holds these for the quiet hours as well.
fn at_night(operations: &'static [&'static str]) -> impl Fn(&str, &str) -> String {
    move |path, text| match path {
        "quiet_hours/data.json" => {
            let mut data: Value = serde_json::from_str(text).unwrap();
            data["operations"] = json!(operations);
            data["exempt_templates"] = json!([]);
            data.to_string()
        }
        _ => text.to_owned(),
    }
}

/// The same with rules of one's own: whatever they hold, any yes releases.
fn heedless(operations: &'static [&'static str]) -> impl Fn(&str, &str) -> String {
    let at_night = at_night(operations);
    move |path, text| {
        let text = at_night(path, text);
        match path {
            "dispatch/holds.rego" => {
                let heedless = text.replace("not released(reason.code)", "not input.release");
                assert_ne!(heedless, text);
                heedless
            }
            _ => text,
        }
    }
}

fn codes(approval: &Approval) -> Vec<String> {
    let codes = approval.demands.iter().map(|demand| demand.code.clone());
    codes.collect()
}

/// People are asked about an amount, by day. That it is night by then nobody was asked about, though
/// whoever said yes to the one may say yes to the other.
async fn asked_by_day_and_by_night(stack: &Stack, rules: impl Fn(&str, &str) -> String) {
    let job = async || Job::at(stack, stack.tenant(), TicketState::OnSite).await;
    let (mut by_day, mut by_night) = (job().await, job().await);
    quiet(stack, 6, 12).await;
    bundle_of(stack, rules).await;
    let asked = by_day.is_held().await;
    assert!(
        !codes(&asked).contains(&"QUIET_HOURS".to_owned()),
        "{asked:?}"
    );
    by_day.is_released().await;
    quiet(stack, -6, 6).await;
    let receipt = execute(stack, asked.id, 1).await.unwrap();
    assert_eq!(receipt.approval_state, Some(ApprovalState::Stale));
    assert_eq!(receipt.ticket.open_change, None);
    let after = stands(stack, asked.id).await;
    assert_eq!(
        after.reason,
        Some(slug("quiet_hours")),
        "what stood against it"
    );
    // One decision, and it says why.
    let made: Vec<(String, Value, Value)> = sqlx::query_as(
        "select result, reasons, approval from policy_decisions where command_id = $1",
    )
    .bind(receipt.command_id.as_uuid())
    .fetch_all(stack.admin())
    .await
    .unwrap();
    let [(result, reasons, need)] = &made[..] else {
        panic!("{made:?}")
    };
    assert_eq!(result, "REQUIRE_APPROVAL");
    let named = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|it| it["code"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(named(reasons), ["QUIET_HOURS"]);
    assert_eq!(named(&need["demands"]), ["QUIET_HOURS"]);

    // Asked by night, about both, it is carried out.
    let asked = by_night.is_held().await;
    assert!(
        codes(&asked).contains(&"QUIET_HOURS".to_owned()),
        "{asked:?}"
    );
    assert!(asked.demands.len() > 1);
    by_night.is_released().await;
    let receipt = execute(stack, asked.id, 1).await.unwrap();
    assert_eq!(receipt.approval_state, Some(ApprovalState::Executed));
    let input: String = sqlx::query_scalar(
        "select input from policy_decisions where command_id = $1 and operation = 'request_change'",
    )
    .bind(receipt.command_id.as_uuid())
    .fetch_one(stack.admin())
    .await
    .unwrap();
    let input: PolicyInput = serde_json::from_str(&input).unwrap();
    let told = input.release.unwrap().codes.unwrap();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), codes(&asked));
}

#[test]
fn a_yes_releases_what_it_was_asked_for_and_nothing_else() {
    with_api(async |stack| asked_by_day_and_by_night(&stack, at_night(&["request_change"])).await);
}

#[test]
fn a_yes_releases_no_more_under_rules_that_do_not_look() {
    with_api(async |stack| asked_by_day_and_by_night(&stack, heedless(&["request_change"])).await);
}

/// So it is where the last yes itself carries out what was asked for.
#[test]
fn a_yes_releases_no_more_where_it_carries_out_itself() {
    with_api(async |stack| {
        quiet(&stack, 6, 12).await;
        bundle_of(&stack, heedless(&["release_kill_switch"])).await;
        let first = token(&stack, "usr_platform_1", &[Role::PlatformAdmin]);
        let second = person(&stack, "usr_platform_2", &[Role::PlatformAdmin]);
        let manager = person(&stack, "usr_manager", &[Role::AccountManager]);
        let everything = json!({ "scope": { "kind": "everything" }, "reason": "drill" });
        let turn = async |operation| {
            let ask = stack.http().command(operation, None, &everything);
            ask.token(&first).send().await
        };
        let held = async || -> Approval {
            let held = turn(Operation::ReleaseKillSwitch).await;
            assert_eq!(held.status, 202, "{}", held.text());
            serde_json::from_value(held.json()["approval"].take()).unwrap()
        };
        receipt(&turn(Operation::EngageKillSwitch).await);
        let asked = held().await;
        assert_eq!(codes(&asked), ["REARM_EVERYTHING"]);
        quiet(&stack, -6, 6).await;
        let answer = say_yes(&second, asked.id).await.unwrap();
        assert_eq!(answer.state(), Some(ApprovalState::Stale));
        let after = stands(&stack, asked.id).await;
        assert_eq!(after.reason, Some(slug("quiet_hours")));
        let made: Vec<(String, String)> = sqlx::query_as(
            "select operation, result from policy_decisions where command_id = $1 order by 1",
        )
        .bind(after.votes[0].command_id.as_uuid())
        .fetch_all(stack.admin())
        .await
        .unwrap();
        let of = |operation: &str, result: &str| (operation.to_owned(), result.to_owned());
        assert_eq!(
            made,
            [
                of("decide_approval", "ALLOW"),
                of("release_kill_switch", "REQUIRE_APPROVAL")
            ]
        );

        let asked = held().await;
        assert_eq!(codes(&asked), ["QUIET_HOURS", "REARM_EVERYTHING"]);
        say_yes(&manager, asked.id).await.unwrap();
        let answer = say_yes(&second, asked.id).await.unwrap();
        assert_eq!(answer.state(), Some(ApprovalState::Executed));
    });
}

#[test]
fn an_amendment_is_another_question() {
    with_api(async |stack| {
        let (job, before) = held(&stack).await;
        let manager = stack.client(stack.tenant(), Who::AccountManager);
        let technician = stack.client(stack.tenant(), Who::Technician);
        let amend = |cents: i64| AmendApproval {
            approval_id: before.id,
            body: json!({ "scope": "shopfront", "price_delta_cents": cents }),
            reason: slug("smaller_pane"),
        };
        let options = CallOptions::default;
        let theirs = manager
            .amend_approval(&amend(HELD_CENTS - 1), &options())
            .await;
        refusal(theirs, ErrorCode::Forbidden);
        // What needs nobody's word is not held, and what makes no sense is refused.
        for cents in [100, -5] {
            let refused = technician.amend_approval(&amend(cents), &options()).await;
            let refused = refusal(refused, ErrorCode::InvalidField);
            assert_eq!(refused.errors[0].pointer, "/body", "{cents}");
        }
        technician
            .amend_approval(&amend(HELD_CENTS - 1), &options())
            .await
            .unwrap();
        let after = stands(&stack, before.id).await;
        assert_eq!((after.version, after.state), (2, ApprovalState::Pending));
        assert_ne!(after.request_sha256, before.request_sha256);
        assert_eq!(after.request["price_delta_cents"], HELD_CENTS - 1);
        assert_eq!(job.ticket().await.approvals[0].version, 2);

        // Who looked at the first version decides nothing about the second.
        let decide = |version| DecideApproval {
            version,
            ..yes(before.id)
        };
        let stale = manager.decide(&decide(Some(1)), &options()).await;
        let stale = refusal(stale, ErrorCode::ApprovalStale);
        assert_eq!(stale.meta["why"], "amended");
        let blind = manager.decide(&decide(None), &options()).await;
        assert_eq!(
            refusal(blind, ErrorCode::InvalidField).errors[0].pointer,
            "/version"
        );
        manager.decide(&decide(Some(2)), &options()).await.unwrap();
        refusal(
            execute(&stack, before.id, 1).await,
            ErrorCode::ApprovalStale,
        );
        let receipt = execute(&stack, before.id, 2).await.unwrap();
        let open = receipt.ticket.open_change.unwrap();
        assert_eq!(
            open.price_delta_cents,
            HELD_CENTS - 1,
            "what was approved, and nothing else"
        );
    });
}

/// What was amended another bundle decided about than what was asked for first: people are told why they
/// are asked by it, and a void is said by it.
#[test]
fn an_amendment_has_a_decision_of_its_own() {
    with_api(async |stack| {
        let (_, before) = held(&stack).await;
        quiet(&stack, 6, 12).await;
        bundle_of(&stack, at_night(&["request_change"])).await;
        let technician = stack.client(stack.tenant(), Who::Technician);
        let manager = stack.client(stack.tenant(), Who::AccountManager);
        let amend = AmendApproval {
            approval_id: before.id,
            body: json!({ "scope": "shopfront", "price_delta_cents": HELD_CENTS - 1 }),
            reason: slug("smaller_pane"),
        };
        let options = CallOptions::default;
        let ApprovalAnswer::OfTicket(amended) =
            technician.amend_approval(&amend, &options()).await.unwrap()
        else {
            panic!("it has a ticket")
        };
        let after = manager.approval(before.id).await.unwrap();
        let ground = after.ground.unwrap();
        let approval = after.summary.approval;
        assert_ne!(approval.decision_id, before.decision_id);
        assert_eq!(approval.decision_id, Some(ground.decision_id));
        assert_eq!(ground.result, PolicyResult::RequireApproval);
        let reasons: Vec<_> = ground.reasons.iter().map(|it| it.code.clone()).collect();
        assert_eq!(reasons, codes(&approval));
        let asked = manager.decision(ground.decision_id).await.unwrap();
        assert_eq!(asked.record.operation, Operation::RequestChange);
        assert_eq!(asked.input["body"]["price_delta_cents"], HELD_CENTS - 1);
        let row = attempt(stack.admin(), amended.command_id).await.unwrap();
        assert_eq!(
            (row.operation.as_str(), row.result.as_str()),
            ("amend_approval", "ALLOW")
        );
        assert_eq!(
            row.payload["amended"]["decision_id"],
            json!(ground.decision_id)
        );

        let decide = DecideApproval {
            version: Some(2),
            ..yes(before.id)
        };
        manager.decide(&decide, &options()).await.unwrap();
        quiet(&stack, -6, 6).await;
        let receipt = execute(&stack, before.id, 2).await.unwrap();
        assert_eq!(receipt.approval_state, Some(ApprovalState::Stale));
        // By the same bundle, because it is night; not because there is another bundle than at first.
        let reason = stands(&stack, before.id).await.reason;
        assert_eq!(reason, Some(slug("quiet_hours")));
    });
}

#[test]
fn facts_that_change_void_it_in_the_same_transaction() {
    with_api(async |stack| {
        let (mut job, approval) = held(&stack).await;
        job.is_released().await;
        let done = job.does(Operation::ReturnVisit).await;
        assert_eq!(done.ticket.approvals, []);
        let row = attempt(stack.admin(), done.command_id).await.unwrap();
        let events: Vec<_> = row.changes.as_array().unwrap().iter().collect();
        let stale = events
            .iter()
            .find(|e| e["event"]["type"] == "approval.stale");
        assert_eq!(stale.unwrap()["event"]["data"]["reason"], "facts_changed");
        let after = stands(&stack, approval.id).await;
        assert_eq!(
            (after.state, after.reason),
            (ApprovalState::Stale, Some(slug("facts_changed")))
        );
        let why = refusal(
            execute(&stack, approval.id, 1).await,
            ErrorCode::ApprovalStale,
        );
        assert_eq!(why.meta["why"], "facts_changed");
        // Those whom the rules list, and both sides.
        let told: i64 = sqlx::query_scalar(
            "select count(*) from comms_messages where purpose = 'approval_ended'",
        )
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(told, 2);

        let (mut job, approval) = held(&stack).await;
        job.does(Operation::CustomerAwait).await;
        let ended = json!({ "reason": "customer_request" });
        job.sends(Operation::Cancel, &ended).await;
        let after = stands(&stack, approval.id).await;
        assert_eq!(after.state, ApprovalState::Withdrawn);
        assert_eq!(after.reason, Some(slug("ticket_ended")));
    });
}

#[test]
fn what_is_not_what_was_approved_is_not_carried_out() {
    with_api(async |stack| {
        for (table, column, key, wrong) in [
            (
                "held_commands",
                "command",
                "approval_id",
                "replace(command, '100000', '99000')",
            ),
            ("approvals", "request_sha256", "id", "repeat('0', 64)"),
        ] {
            let (job, approval) = held(&stack).await;
            job.is_released().await;
            let before = job.ticket().await;
            let row = format!("{key} = '{}'", approval.id.as_uuid());
            let right: String = sqlx::query_scalar(AssertSqlSafe(format!(
                "select {column} from {table} where {row}"
            )))
            .fetch_one(stack.admin())
            .await
            .unwrap();
            sql(
                &stack,
                &format!("update {table} set {column} = {wrong} where {row}"),
            )
            .await;
            let receipt = execute(&stack, approval.id, 1).await.unwrap();
            let stale = Some(ApprovalState::Stale);
            assert_eq!(receipt.approval_state, stale, "{table}");
            assert_eq!(receipt.ticket.state, before.state);
            let reason = stands(&stack, approval.id).await.reason;
            assert_eq!(reason, Some(slug("request_changed")), "{table}");
            // As it was, or the check at the end finds it, as it should.
            sql(
                &stack,
                &format!("update {table} set {column} = '{right}' where {row}"),
            )
            .await;
        }
    });
}

#[test]
fn another_bundle_voids_it_only_where_it_is_stricter() {
    with_api(async |stack| {
        let (job, laxer) = held(&stack).await;
        job.is_released().await;
        let (other, stricter) = held(&stack).await;
        other.is_released().await;
        bundle_with(&stack, "nte/data.json", |mut data| {
            data["delta_percent"] = 200.into();
            data
        })
        .await;
        let receipt = execute(&stack, laxer.id, 1).await.unwrap();
        assert_eq!(receipt.approval_state, Some(ApprovalState::Executed));
        bundle_with(&stack, "approvals/data.json", |mut data| {
            data["rules"]["NTE_PERCENT"]["count"] = 2.into();
            data
        })
        .await;
        let receipt = execute(&stack, stricter.id, 1).await.unwrap();
        assert_eq!(receipt.approval_state, Some(ApprovalState::Stale));
        let reason = stands(&stack, stricter.id).await.reason;
        assert_eq!(reason, Some(slug("policy_stricter")));
    });
}

/// A change order takes effect with its last yes: under another bundle than let it be asked for only if
/// that one would still let it be asked for with these votes, and they are enough for it.
#[test]
fn a_change_order_is_judged_anew_under_another_bundle() {
    with_api(async |stack| {
        let approver = person(&stack, "usr_approver", &[Role::Approver]);
        let manager = person(&stack, "usr_manager", &[Role::AccountManager]);
        let (same, narrower, wider) = tokio::join!(asked(&stack), asked(&stack), asked(&stack));
        let (for_one, for_two, refused) = tokio::join!(asked(&stack), asked(&stack), asked(&stack));
        // Asked for with the account manager's yes, which counts for whatever comes.
        let (dear, held) = held(&stack).await;
        say_yes(&manager, held.id).await.unwrap();
        let opened = execute(&stack, held.id, 1).await.unwrap().ticket;
        let dear_one = opened.open_change.unwrap().approval_id;
        assert_ne!(dear_one, held.id);
        let before = same.0.ticket().await.nte_cents;
        let decided = async |client: &Client, job: &Job, id| {
            say_yes(client, id).await.unwrap();
            let approval = stands(&stack, id).await;
            let said = approval.votes.last().unwrap().command_id;
            let row = attempt(stack.admin(), said).await.unwrap();
            let released = row.payload["released"]["decision_id"].clone();
            (approval, job.ticket().await, released)
        };

        let (approval, ticket, released) = decided(&approver, &same.0, same.1).await;
        assert_eq!(approval.state, ApprovalState::Approved);
        assert_eq!(ticket.nte_cents, before + 35_000);
        assert_eq!(released, Value::Null, "the same bundle is not asked twice");

        // Not stricter. What is dear stays dear there too, and was released.
        bundle_with(&stack, "nte/data.json", |mut data| {
            data["delta_percent"] = 120.into();
            data
        })
        .await;
        for (job, id, delta) in [(&wider.0, wider.1, 35_000), (&dear, dear_one, HELD_CENTS)] {
            let (approval, ticket, released) = decided(&approver, job, id).await;
            assert_eq!(approval.state, ApprovalState::Approved);
            assert_eq!(ticket.nte_cents, before + delta);
            let result: String = sqlx::query_scalar(
                "select d.result from policy_decisions d join deployment b using (bundle_sha256)
                 where wire_id('dec', d.id) = $1 and d.ticket_id = $2",
            )
            .bind(released.as_str())
            .bind(ticket.id.as_uuid())
            .fetch_one(stack.admin())
            .await
            .unwrap();
            assert_eq!(result, "ALLOW");
        }

        // More people must agree to any change order.
        bundle_with(&stack, "approvals/data.json", |mut data| {
            data["rules"]["CHANGE_ORDER"]["count"] = 2.into();
            data
        })
        .await;
        let (job, id) = for_two;
        let answer = say_yes(&approver, id).await.unwrap();
        assert_eq!(answer.state(), Some(ApprovalState::Stale));
        let (approval, ticket) = (stands(&stack, id).await, job.ticket().await);
        assert_eq!(approval.state, ApprovalState::Stale);
        assert_eq!(approval.reason, Some(slug("policy_stricter")));
        assert_eq!(approval.decided_by.as_deref(), Some("usr_approver"));
        assert_eq!(approval.votes.len(), 1, "what was said stands");
        assert_eq!(
            (ticket.state, ticket.nte_cents),
            (TicketState::OnSite, before)
        );
        assert_eq!((ticket.open_change, ticket.approvals), (None, Vec::new()));
        let again = refusal(say_yes(&manager, id).await, ErrorCode::ApprovalStale);
        assert_eq!(again.meta["why"], "policy_stricter");
        // The one who asked and the one who had agreed are told.
        let told: Vec<_> = told(&stack).await;
        let of_it = (concerned(id), stood(id, &["stale"]));
        let ended = ("approval_ended".to_owned(), of_it.0, of_it.1);
        assert!(told.contains(&ended), "{told:?}");
        let found: Vec<String> = sqlx::query_scalar(
            "select jsonb_array_elements_text(comms_concerned($1, $2, 'approval_ended'))",
        )
        .bind(stack.tenant().id.as_uuid())
        .bind(id.as_uuid())
        .fetch_all(stack.admin())
        .await
        .unwrap();
        let technician = Who::Technician.actor(stack.tenant()).id;
        let mut names = [technician, "usr_approver".to_owned()];
        names.sort();
        assert_eq!(found, names);
        // A no needs nobody's leave.
        let no = DecideApproval {
            verdict: Verdict::Reject,
            reason: Some(slug("too_dear")),
            ..yes(refused.1)
        };
        let answer = approver.decide(&no, &CallOptions::default()).await.unwrap();
        assert_eq!(answer.state(), Some(ApprovalState::Rejected));
        // Whoever still wants it asks anew, of two.
        let mut job = job;
        job.does(Operation::RequestChange).await;
        let anew = stands(&stack, job.approval()).await;
        assert_eq!(anew.demands[0].count, 2);

        // So much is not even asked for any more without the account manager's yes.
        bundle_with(&stack, "nte/data.json", |mut data| {
            data["delta_percent"] = 30.into();
            data
        })
        .await;
        let (approval, ticket, released) = decided(&approver, &narrower.0, narrower.1).await;
        assert_eq!(approval.state, ApprovalState::Stale);
        assert_eq!(ticket.nte_cents, before);
        let (result, code): (String, String) = sqlx::query_as(
            "select result, reasons -> 0 ->> 'code' from policy_decisions
             where wire_id('dec', id) = $1",
        )
        .bind(released.as_str())
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!((&*result, &*code), ("REQUIRE_APPROVAL", "NTE_PERCENT"));
        let (approval, ticket, _) = decided(&manager, &for_one.0, for_one.1).await;
        assert_eq!(
            approval.state,
            ApprovalState::Approved,
            "theirs is that yes"
        );
        assert_eq!(ticket.nte_cents, before + 35_000);
    });
}

#[test]
fn what_was_approved_is_carried_out_once_and_names_everybody() {
    with_api(async |stack| {
        let (job, approval) = held(&stack).await;
        job.is_released().await;
        let version = job.ticket().await.version;
        let tries = (0..8).map(|_| execute(&stack, approval.id, 1));
        let results = futures::future::join_all(tries).await;
        let (done, not): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!((done.len(), not.len()), (1, 7));
        for refused in not {
            refusal(refused, ErrorCode::AlreadyDecided);
        }
        let receipt = done.into_iter().next().unwrap().unwrap();
        assert_eq!(receipt.ticket.version, version + 1);
        let row = attempt(stack.admin(), receipt.command_id).await.unwrap();
        assert_eq!(row.operation, "request_change");
        assert_eq!(row.actor_kind, "workflow");
        let named = &row.payload["approval"];
        let (technician, manager) = (
            Who::Technician.actor(stack.tenant()).id,
            Who::AccountManager.actor(stack.tenant()).id,
        );
        assert_eq!(named["proposed_by"], technician);
        assert_eq!(named["approved_by"], json!([manager]));
        assert_eq!(named["approval_id"], approval.id.to_string());
        let input: PolicyInput = serde_json::from_str(&row.input).unwrap();
        assert_eq!(
            input.actor.id, technician,
            "the rules are asked about the proposer"
        );
        let after = stands(&stack, approval.id).await;
        assert_eq!(after.state, ApprovalState::Executed);
        assert_eq!(after.executed_command_id, Some(receipt.command_id));
        // The change order that it opened is another approval, which goes on.
        assert_eq!(
            receipt.ticket.open_change.map(|o| o.price_delta_cents),
            Some(HELD_CENTS)
        );
    });
}

/// At its first end a dispatch asks others once more. Until they are asked nothing was denied: a yes that
/// is given meanwhile counts.
#[test]
fn a_yes_counts_between_an_end_that_escalates_and_its_record() {
    with_api(async |stack| {
        let tenant = stack.tenant().id.as_uuid();
        sql(
            &stack,
            &format!(
                "insert into autonomy_stages (tenant_id, operation, mode, version, set_by, set_at,
                                              reason, command_id)
                 values ('{tenant}', 'dispatch', 'APPROVE', 1, 'test', now(), 'test',
                         gen_random_uuid())"
            ),
        )
        .await;
        let job = Job::at(&stack, stack.tenant(), TicketState::Scheduled).await;
        let body = job.body(Operation::Dispatch).await;
        let asked = stack
            .command(Who::Workflow, Operation::Dispatch, job.id(), &body)
            .expecting(job.ticket().await.version)
            .send()
            .await;
        assert_eq!(asked.status, 202, "{}", asked.text());
        let receipt: HeldReceipt = serde_json::from_value(asked.json()).unwrap();
        let approval = receipt.approval;
        let planned = approval.steps.iter().rev().nth(1).unwrap();
        assert_eq!(planned.step, StepKind::Escalation);
        assert_eq!(planned.at - approval.requested_at, TimeDelta::minutes(30));

        // Forty minutes later nothing is on record yet.
        let moved = async |minutes: i32| {
            let by = format!("make_interval(mins => {minutes})");
            let id = approval.id.as_uuid();
            let text =
                format!("update approvals set expires_at = expires_at + {by} where id = '{id}'");
            sql(&stack, &text).await;
        };
        moved(-40).await;
        let dispatcher = stack.client(stack.tenant(), Who::Dispatcher);
        let answer = say_yes(&dispatcher, approval.id).await.unwrap();
        assert_eq!(answer.state(), Some(ApprovalState::Approved));
        let receipt = execute(&stack, approval.id, 1).await.unwrap();
        assert_eq!(receipt.approval_state, Some(ApprovalState::Executed));
        assert_eq!(job.ticket().await.state, TicketState::Dispatched);
        // As its plan has it, or the check at the end finds it, as it should.
        moved(40).await;
    });
}

#[test]
fn silence_reminds_asks_others_and_denies() {
    with_api(async |stack| {
        let (job, approval) = held(&stack).await;
        let workflow = stack.client(stack.tenant(), Who::Workflow);
        let admin = stack.client(stack.tenant(), Who::TenantAdmin);
        refusal(say_yes(&admin, approval.id).await, ErrorCode::Forbidden);
        let record = |step: StepKind, at: DateTime<Utc>| RecordApprovalStep {
            approval_id: approval.id,
            version: 1,
            step,
            at,
            applied_seq: 1,
        };
        let last = approval.steps.last().unwrap();
        let early = record(last.step, last.at);
        let options = CallOptions::default;
        let refused = workflow.record_approval_step(&early, &options()).await;
        refusal(refused, ErrorCode::AlreadyDecided);
        for step in &approval.steps {
            let taken = record(step.step, step.at);
            workflow
                .record_approval_step(&taken, &options())
                .await
                .unwrap();
            if step.step == StepKind::Escalation {
                let seen = admin.approval(approval.id).await.unwrap();
                assert!(seen.may_decide, "{:?}", seen.why_not);
            }
        }
        let after = stands(&stack, approval.id).await;
        assert_eq!(
            (after.state, after.decided_by),
            (ApprovalState::Expired, None)
        );
        let over = refusal(say_yes(&admin, approval.id).await, ErrorCode::Expired);
        assert_eq!(over.meta["why"], "undecided");
        assert_eq!(job.ticket().await.approvals, []);
        assert_eq!(
            job.ticket().await.state,
            TicketState::OnSite,
            "nothing was done"
        );
    });
}

#[test]
fn many_are_decided_each_for_itself() {
    with_api(async |stack| {
        let (_, first) = asked(&stack).await;
        let (_, second) = asked(&stack).await;
        let unknown = ApprovalId::from_uuid(uuid::Uuid::now_v7());
        let manager = stack.client(stack.tenant(), Who::AccountManager);
        let one = |approval_id, verdict| OneDecision {
            approval_id,
            verdict,
            reason: (verdict == Verdict::Reject).then(|| slug("too_dear")),
            version: None,
        };
        let body = DecideMany {
            decisions: vec![
                one(first, Verdict::Approve),
                one(unknown, Verdict::Approve),
                one(second, Verdict::Reject),
            ],
        };
        let options = CallOptions::with_key("many-1");
        let outcome = manager.decide_many(&body, &options).await.unwrap();
        let states: Vec<_> = outcome.items.iter().map(|i| (i.status, i.state)).collect();
        let expected = [
            (200, Some(ApprovalState::Approved)),
            (404, None),
            (200, Some(ApprovalState::Rejected)),
        ];
        assert_eq!(states, expected);
        let problem = outcome.items[1].problem.as_ref().unwrap();
        assert_eq!(problem.code, ErrorCode::NotFound);
        let again = manager.decide_many(&body, &options).await.unwrap();
        assert_eq!(again, outcome, "a repetition repeats each");
        // The same command under the same key, by itself.
        let alone = CallOptions::with_key(&outcome.items[0].request_id);
        let answer = manager.decide(&yes(first), &alone).await.unwrap();
        assert_eq!(answer.state(), Some(ApprovalState::Approved));
        let twice = DecideMany {
            decisions: vec![one(first, Verdict::Approve), one(first, Verdict::Reject)],
        };
        let empty = DecideMany { decisions: vec![] };
        let over = (0..101).map(|_| {
            one(
                ApprovalId::from_uuid(uuid::Uuid::now_v7()),
                Verdict::Approve,
            )
        });
        let over = DecideMany {
            decisions: over.collect(),
        };
        for wrong in [twice, empty, over] {
            let refused = manager.decide_many(&wrong, &CallOptions::default()).await;
            refusal(refused, ErrorCode::InvalidField);
        }
    });
}

#[test]
fn the_inbox_finds_what_is_owed() {
    with_api(async |stack| {
        let (job, approval) = held(&stack).await;
        let (_, change) = asked(&stack).await;
        let manager = stack.client(stack.tenant(), Who::AccountManager);
        let ids = async |filter: ApprovalFilter| {
            let page = manager.approvals(&filter).await.unwrap();
            page.items
                .iter()
                .map(|item| item.approval.id)
                .collect::<Vec<_>>()
        };
        let any = ApprovalFilter::default;
        let all = ids(any()).await;
        let ends: Vec<_> = manager.approvals(&any()).await.unwrap().items;
        assert!(
            ends.is_sorted_by_key(|item| item.approval.expires_at),
            "least time left first"
        );
        assert_eq!(all.len(), 2);
        let by_ticket = ApprovalFilter {
            ticket_id: Some(job.id()),
            ..any()
        };
        assert_eq!(ids(by_ticket).await, [approval.id]);
        let by_role = ApprovalFilter {
            role: vec![Role::Approver],
            ..any()
        };
        assert_eq!(ids(by_role).await, [change]);
        let by_kind = ApprovalFilter {
            kind: vec![contracts::approval::ApprovalKind::HeldCommand],
            operation: vec![Operation::RequestChange],
            ..any()
        };
        assert_eq!(ids(by_kind).await, [approval.id]);
        let waiting = |waiting_minutes| ApprovalFilter {
            waiting_minutes: Some(waiting_minutes),
            ..any()
        };
        assert_eq!(ids(waiting(1)).await, []);
        assert_eq!(ids(waiting(0)).await.len(), 2);
        let due = |minutes| ApprovalFilter {
            sla_within_minutes: Some(minutes),
            ..any()
        };
        assert_eq!(ids(due(0)).await, []);
        assert_eq!(ids(due(100_000)).await.len(), 2);
        let risky = ApprovalFilter {
            sla_at_risk: true,
            ..any()
        };
        let at_risk = ids(risky).await;
        for item in &ends {
            assert_eq!(item.sla_at_risk, at_risk.contains(&item.approval.id));
            assert!(!item.waits_for.is_empty() && item.next_step.is_some());
            assert!(item.seconds_left.is_some_and(|left| left > 0));
            assert!(item.ticket.as_ref().is_some_and(|t| t.due_at.is_some()));
        }
        let page = |cursor| ApprovalFilter {
            limit: Some(1),
            cursor,
            ..any()
        };
        let first = manager.approvals(&page(None)).await.unwrap();
        assert_eq!(first.counts[&ApprovalState::Pending], 2);
        let rest = manager.approvals(&page(first.next_cursor)).await.unwrap();
        assert_eq!(
            [first.items[0].approval.id, rest.items[0].approval.id],
            all[..]
        );
        assert_eq!(rest.next_cursor, None);
        let theirs = stack.client(stack.other(), Who::AccountManager);
        assert_eq!(theirs.approvals(&any()).await.unwrap().items, []);
        let error = theirs.approval(approval.id).await.unwrap_err();
        assert_eq!(error.problem().unwrap().code, ErrorCode::NotFound);
    });
}

#[test]
fn what_is_said_about_it_stands_with_it_alone() {
    with_api(async |stack| {
        let (_, id) = asked(&stack).await;
        let manager = stack.client(stack.tenant(), Who::AccountManager);
        let comment = CommentApproval {
            approval_id: id,
            text: contracts::FreeText::new("Quince says it is too dear.").unwrap(),
        };
        manager
            .comment_approval(&comment, &CallOptions::default())
            .await
            .unwrap();
        let seen = manager.approval(id).await.unwrap();
        assert_eq!(seen.comments[0].text, comment.text);
        for table in [
            "audit_events",
            "outbox_events",
            "policy_decisions",
            "idempotency_keys",
            "approvals",
        ] {
            let found: bool = sqlx::query_scalar(AssertSqlSafe(format!(
                "select exists (select from {table} t where to_jsonb(t)::text like '%Quince%')"
            )))
            .fetch_one(stack.admin())
            .await
            .unwrap();
            assert!(!found, "{table}");
        }
    });
}

#[test]
fn it_is_taken_back_by_the_one_who_asked() {
    with_api(async |stack| {
        let (job, approval) = held(&stack).await;
        let withdraw = WithdrawApproval {
            approval_id: approval.id,
            reason: slug("not_needed"),
        };
        let options = CallOptions::default;
        let billing = stack.client(stack.tenant(), Who::Billing);
        refusal(
            billing.withdraw_approval(&withdraw, &options()).await,
            ErrorCode::Forbidden,
        );
        let technician = stack.client(stack.tenant(), Who::Technician);
        technician
            .withdraw_approval(&withdraw, &options())
            .await
            .unwrap();
        let after = stands(&stack, approval.id).await;
        assert_eq!(
            (after.state, after.reason),
            (ApprovalState::Withdrawn, Some(slug("not_needed")))
        );
        assert_eq!(job.ticket().await.approvals, []);
        let manager = stack.client(stack.tenant(), Who::AccountManager);
        refusal(
            say_yes(&manager, approval.id).await,
            ErrorCode::AlreadyDecided,
        );
        // A change order that is taken back lets the work go on within the old amount.
        let (mut job, change) = asked(&stack).await;
        let nte = job.ticket().await.nte_cents;
        let dispatcher = stack.client(stack.tenant(), Who::Dispatcher);
        let withdraw = WithdrawApproval {
            approval_id: change,
            reason: slug("not_needed"),
        };
        dispatcher
            .withdraw_approval(&withdraw, &options())
            .await
            .unwrap();
        let ticket = job.ticket().await;
        assert_eq!((ticket.state, ticket.nte_cents), (TicketState::OnSite, nte));
        job.does(Operation::Complete).await;
    });
}

#[test]
fn the_old_place_and_the_new_one_are_one_command() {
    with_api(async |stack| {
        let (job, id) = asked(&stack).await;
        let who = Who::AccountManager;
        let token = || who.token(stack.tenant());
        let new = format!("/approvals/{id}/decide");
        let old = |ticket: TicketId| format!("/tickets/{ticket}/approval/decide");
        let send = async |path: String, body: Value| {
            stack
                .http()
                .post(path)
                .key(key())
                .json(&body)
                .token(token())
                .send()
                .await
        };
        // The path says which; the body may repeat it, and not say another.
        let other = ApprovalId::from_uuid(uuid::Uuid::now_v7());
        let wrong = send(
            new.clone(),
            json!({ "approval_id": other, "verdict": "approve" }),
        )
        .await;
        let problem = wrong.problem(ErrorCode::InvalidField);
        assert_eq!(problem.errors[0].pointer, "/approval_id");
        let elsewhere = Job::at(&stack, stack.tenant(), TicketState::New).await;
        // Nobody's, or another ticket's: it is not there.
        for (ticket, approval) in [(elsewhere.id(), id), (job.id(), other)] {
            let body = json!({ "approval_id": approval, "verdict": "approve" });
            send(old(ticket), body).await.problem(ErrorCode::NotFound);
        }
        let done = send(new, json!({ "verdict": "approve" })).await;
        assert_eq!(done.receipt().ticket.state, TicketState::OnSite);
        let late = send(
            old(job.id()),
            json!({ "approval_id": id, "verdict": "approve" }),
        )
        .await;
        late.problem(ErrorCode::AlreadyDecided);
    });
}

/// A no that does not say why is refused as any other body that lacks something, wherever it is sent;
/// with a reason it is taken there.
#[test]
fn a_no_says_why_wherever_it_is_sent() {
    with_api(async |stack| {
        let manager = Who::AccountManager.token(stack.tenant());
        let roles = [Role::PlatformAdmin, Role::TenantAdmin, Role::Dispatcher];
        let first = token(&stack, "usr_first", &roles);
        let second = token(&stack, "usr_second", &roles);
        let send = async |path: &str, token: &str, body: &Value| {
            let ask = stack.http().post(path).key(key()).json(body);
            ask.token(token).send().await
        };
        let lacks = |problem: &Problem| {
            assert_eq!(problem.status, 422, "{problem:?}");
            let [error] = problem.errors.as_slice() else {
                panic!("{problem:?}")
            };
            assert_eq!(error.pointer, "/reason");
            assert!(error.message.contains("such as `too_dear`"), "{error:?}");
        };

        let (job, order) = asked(&stack).await;
        let (_, held) = held(&stack).await;
        // One without a ticket.
        let everything = json!({ "reason": "drill", "scope": { "kind": "everything" } });
        let mut turned = Vec::new();
        for operation in [Operation::EngageKillSwitch, Operation::ReleaseKillSwitch] {
            let ask = stack.http().command(operation, None, &everything);
            turned.push(ask.token(&first).key(key()).send().await);
        }
        let rearm: HeldReceipt = serde_json::from_value(turned[1].json()).unwrap();
        let rearm = rearm.approval.id;

        let ours = format!("/tickets/{}/approval/decide", job.id());
        let of_approval = |id: ApprovalId| format!("/approvals/{id}/decide");
        let places = [
            (of_approval(order), order, &manager),
            (of_approval(held.id), held.id, &manager),
            (of_approval(rearm), rearm, &second),
            (ours, order, &manager),
        ];
        for (path, id, token) in &places {
            let no = json!({ "approval_id": id, "verdict": "reject" });
            let refused = send(path, token, &no).await;
            let problem = refused.problem(ErrorCode::InvalidField);
            lacks(&problem);
            assert!(problem.command_id.is_some(), "an attempt, on record");
            for blank in ["", " "] {
                let no = json!({ "approval_id": id, "verdict": "reject", "reason": blank });
                let refused = send(path, token, &no).await;
                let problem = refused.problem(ErrorCode::InvalidField);
                assert_eq!(problem.errors[0].pointer, "/reason");
            }
            // Who has no word hears that, whatever their no lacks.
            let stranger = Who::Technician.token(stack.tenant());
            let refused = send(path, &stranger, &no).await;
            refused.problem(ErrorCode::Forbidden);
        }
        let no = |id, reason: Option<&str>| OneDecision {
            approval_id: id,
            verdict: Verdict::Reject,
            reason: reason.map(slug),
            version: None,
        };
        let many = DecideMany {
            decisions: vec![no(order, None), no(held.id, Some("too_dear"))],
        };
        let client = stack.client(stack.tenant(), Who::AccountManager);
        let done = client.decide_many(&many, &CallOptions::default()).await;
        let items = done.unwrap().items;
        assert_eq!([items[0].status, items[1].status], [422, 200]);
        lacks(items[0].problem.as_ref().unwrap());
        for id in [order, rearm] {
            assert_eq!(stands(&stack, id).await.state, ApprovalState::Pending);
        }
        for (path, id, token) in &places[2..] {
            let no = json!({ "approval_id": id, "verdict": "reject", "reason": "too_dear" });
            let done = send(path, token, &no).await;
            assert_eq!(done.status, 200, "{}", done.text());
        }
        for id in [order, held.id, rearm] {
            let approval = stands(&stack, id).await;
            assert_eq!(approval.state, ApprovalState::Rejected);
            assert_eq!(approval.reason, Some(slug("too_dear")));
        }
    });
}

/// What our own people are told, oldest first: for what, to whom, and only while what.
async fn told(stack: &Stack) -> Vec<(String, Value, Value)> {
    sqlx::query_as(
        "select purpose, recipient, only_while from comms_messages
          where channel = 'operations' and purpose like 'approval%' order by received_at, id",
    )
    .fetch_all(stack.admin())
    .await
    .unwrap()
}

/// The notices of an approval without a ticket: of the wish, of its end, of either answer.
#[test]
fn approvals_without_a_ticket_tell_people_as_those_of_tickets_do() {
    with_api(async |stack| {
        let roles = [Role::PlatformAdmin, Role::TenantAdmin, Role::Dispatcher];
        let (first, second) = ("usr_first", "usr_second");
        let mut claims = Who::TenantAdmin.claims(stack.tenant(), Utc::now());
        claims.sub = first.to_owned();
        claims.roles = roles.into();
        let token = mint(&claims);
        let second = person(&stack, second, &roles);
        let body = json!({ "reason": "drill", "scope": { "kind": "everything" } });
        let turn = async |operation| {
            let ask = stack.http().command(operation, None, &body);
            ask.token(&token).key(key()).send().await
        };
        let release = async || {
            let reply = turn(Operation::ReleaseKillSwitch).await;
            assert_eq!(reply.status, 202, "{}", reply.text());
            let receipt: HeldReceipt = serde_json::from_value(reply.json()).unwrap();
            receipt.approval
        };
        let engaged = turn(Operation::EngageKillSwitch).await;
        assert!(engaged.status.is_success(), "{}", engaged.text());
        let approval = release().await;
        let id = approval.id;
        let mut expected = vec![waiting(&approval)];

        // Nobody says anything until its end, which comes soon.
        let end = Utc::now() + TimeDelta::milliseconds(1_500);
        let sooner = json!({ "approval_id": id, "expires_at": end, "reason": "soon" });
        let ask = stack
            .http()
            .command(Operation::ChangeApprovalDue, None, &sooner);
        let moved = ask.token(&token).key(key()).send().await;
        assert!(moved.status.is_success(), "{}", moved.text());
        let options = CallOptions::default;
        let step = stands(&stack, id).await.steps[0].clone();
        assert_eq!(step.step, StepKind::Expiry);
        wait::until("its end", wait::BOUND, async || match Utc::now() > end {
            true => Ok(()),
            false => Err(end),
        })
        .await;
        let over = RecordApprovalStep {
            approval_id: id,
            version: 1,
            step: step.step,
            at: step.at,
            applied_seq: 0,
        };
        let workflow = stack.client(stack.tenant(), Who::Workflow);
        workflow
            .record_approval_step(&over, &options())
            .await
            .unwrap();
        assert_eq!(stands(&stack, id).await.state, ApprovalState::Expired);
        let listed = json!({ "to": "roles", "roles": ["dispatcher", "account_manager"] });
        expected.push(("approval_ended".into(), listed, stood(id, &["expired"])));
        expected.push((
            "approval_ended".into(),
            concerned(id),
            stood(id, &["expired"]),
        ));

        for (verdict, states) in [
            (Verdict::Reject, &["rejected"][..]),
            (Verdict::Approve, &["approved", "executed"]),
        ] {
            let approval = release().await;
            expected.push(waiting(&approval));
            let decision = DecideApproval {
                verdict,
                reason: Some(slug("looked_at")),
                ..yes(approval.id)
            };
            second.decide(&decision, &options()).await.unwrap();
            let to = concerned(approval.id);
            expected.push(("approval_decided".into(), to, stood(approval.id, states)));
        }
        assert_eq!(told(&stack).await, expected);
        // What was carried out tells of itself besides.
        let turns: i64 =
            sqlx::query_scalar("select count(*) from comms_messages where purpose = 'kill_switch'")
                .fetch_one(stack.admin())
                .await
                .unwrap();
        assert_eq!(turns, 2);
    });
}

fn waiting(approval: &Approval) -> (String, Value, Value) {
    (
        "approval_waiting".into(),
        json!({ "to": "roles", "roles": approval.required_roles }),
        json!({ "only": "approval_pending", "approval_id": approval.id }),
    )
}

fn concerned(id: ApprovalId) -> Value {
    json!({ "to": "concerned", "approval_id": id })
}

fn stood(id: ApprovalId, states: &[&str]) -> Value {
    json!({ "only": "approval_in", "approval_id": id, "states": states })
}

/// Whoever asked and whoever had agreed hear that it came to nothing, by the subject of their token.
#[test]
fn both_sides_are_told_when_an_approval_becomes_void() {
    with_api(async |stack| {
        bundle_with(&stack, "approvals/data.json", |mut data| {
            data["rules"]["NTE_PERCENT"]["count"] = 2.into();
            data
        })
        .await;
        let (mut job, approval) = held(&stack).await;
        let manager = person(&stack, "usr_m1", &[Role::AccountManager]);
        say_yes(&manager, approval.id).await.unwrap();
        // The work ends: what the approver looked at is no more.
        job.does(Operation::Complete).await;
        assert_eq!(
            stands(&stack, approval.id).await.state,
            ApprovalState::Stale
        );
        let told = told(&stack).await;
        let to = concerned(approval.id);
        let own: Vec<_> = told.iter().filter(|(_, whom, _)| *whom == to).collect();
        let stale = stood(approval.id, &["stale"]);
        assert_eq!(own, [&("approval_ended".to_owned(), to.clone(), stale)]);
        let technician = Who::Technician.actor(stack.tenant()).id;
        // The one who asked and the one who had agreed, as the sender finds them.
        let found: Vec<String> = sqlx::query_scalar(
            "select jsonb_array_elements_text(comms_concerned($1, $2, 'approval_ended'))",
        )
        .bind(stack.tenant().id.as_uuid())
        .bind(approval.id.as_uuid())
        .fetch_all(stack.admin())
        .await
        .unwrap();
        let mut names = [technician, "usr_m1".to_owned()];
        names.sort();
        assert_eq!(found, names);
    });
}

/// What people write and who they are is no part of a decision: the same call with other words is
/// the same question, and has the same answer.
#[test]
fn masking_never_changes_a_decision() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let mut asked = Vec::new();
        for (cents, note) in [
            (HELD_CENTS, "Mrs Quillfeather agrees."),
            (HELD_CENTS, "Mr Barnaby objects!!!!!!"),
            (1_000, "Mrs Quillfeather agrees."),
            (1_000, "Mr Barnaby objects!!!!!!"),
        ] {
            let body = json!({ "scope": "pane", "price_delta_cents": cents, "note": note });
            let call = stack.command(Who::Technician, Operation::RequestChange, job.id(), &body);
            // Refused for its version, after policy was asked: the ticket stays as it is.
            let reply = call.expecting(99).send().await;
            let problem = reply.problem(ErrorCode::VersionConflict);
            let row = attempt(stack.admin(), problem.command_id.unwrap())
                .await
                .unwrap();
            let mut input: Value = serde_json::from_str(&row.input).unwrap();
            input["at"] = Value::Null;
            asked.push((input, row.result, row.reasons));
        }
        assert_eq!(asked[0], asked[1]);
        assert_eq!(asked[2], asked[3]);
        assert_eq!(
            (asked[0].1.as_str(), asked[2].1.as_str()),
            ("REQUIRE_APPROVAL", "ALLOW")
        );
    });
}
