//! What clients meet besides the operations themselves: waiting for an end, news only, problems that
//! show nothing of the inside, the health of parts.

use std::{net::SocketAddr, time::Duration};

use contracts::{
    ApprovalId, ErrorCode, Operation, Role, TicketState,
    approval::{ApprovalState, Verdict},
    command::{CommandReceipt, DecideApproval, HeldReceipt},
    read::Health,
};
use dispatch_tests::{
    http::{Ask, Reply, key},
    job::{HELD_CENTS, Job},
    stack::{ApiOptions, Stack, with_api, with_api_options},
    who::Who,
};
use reqwest::Method;
use serde_json::{Value, json};
use strum::VariantArray;
use tokio::net::TcpListener;

use crate::approvals::bundle_with;

const LONG: &str = "wait=20";

/// A change so dear that it is held.
fn dear(stack: &Stack, job: &Job) -> Ask {
    let body = json!({ "scope": "shopfront", "price_delta_cents": HELD_CENTS });
    stack.command(Who::Technician, Operation::RequestChange, job.id(), &body)
}

async fn execute(stack: &Stack, job: &Job) -> Reply {
    let body = json!({
        "approval_id": job.approval(), "version": 1, "applied_seq": 1,
    });
    let operation = Operation::ExecuteApproval;
    let ask = stack.command(Who::Workflow, operation, job.id(), &body);
    ask.send().await
}

/// As the workflow does once it hears of the yes.
async fn executed(stack: &Stack, job: &Job) -> Reply {
    dispatch_tests::wait::until("the yes", Duration::from_secs(10), async || {
        let reply = execute(stack, job).await;
        match reply.status.as_u16() {
            200 => Ok(reply),
            _ => Err(reply.text()),
        }
    })
    .await
}

async fn decide(
    stack: &Stack,
    approval_id: ApprovalId,
    verdict: Verdict,
    prefer: Option<&str>,
) -> Reply {
    let body = DecideApproval {
        approval_id,
        verdict,
        reason: Some("looked_at".parse().unwrap()),
        version: None,
    };
    let body = serde_json::to_value(body).unwrap();
    let operation = Operation::DecideApproval;
    let ask = stack.command(Who::AccountManager, operation, None, &body);
    match prefer {
        Some(prefer) => ask.header("prefer", prefer).send().await,
        None => ask.send().await,
    }
}

#[test]
fn who_waits_for_what_is_held_is_told_how_it_ended() {
    with_api(async |stack| {
        // Nobody decides: the answer is the 202, after the time.
        let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let key = key();
        let reply = dear(&stack, &job)
            .key(&key)
            .header("prefer", "wait=1")
            .send()
            .await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        assert_eq!(reply.header("preference-applied"), Some("wait=1"));
        let held: HeldReceipt = serde_json::from_slice(&reply.body).unwrap();

        // The same request again waits again, and the end comes meanwhile.
        let again = dear(&stack, &job).key(&key).header("prefer", LONG);
        let again = tokio::spawn(again.send());
        let refused = decide(&stack, held.approval.id, Verdict::Reject, None).await;
        assert_eq!(refused.status, 200, "{}", refused.text());
        let ended = again.await.unwrap();
        assert_eq!(ended.status, 202, "{}", ended.text());
        assert_eq!(ended.header("preference-applied"), Some(LONG));
        let receipt: HeldReceipt = serde_json::from_slice(&ended.body).unwrap();
        assert_eq!(receipt.approval.state, ApprovalState::Rejected);
        assert_eq!(receipt.command_id, held.command_id);
        // Without waiting it is what it was, byte for byte.
        let plain = dear(&stack, &job).key(&key).send().await;
        assert_eq!(plain.body, reply.body);
        assert_eq!(plain.header("preference-applied"), None);
        // Where nothing is to come nothing is waited for.
        let trial = dear(&stack, &job)
            .dry_run()
            .header("prefer", LONG)
            .send()
            .await;
        assert_eq!(
            (trial.status.as_u16(), trial.header("preference-applied")),
            (202, None)
        );
    });
}

#[test]
fn who_waits_for_what_a_yes_releases_is_told_when_it_was_carried_out() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        job.is_held().await;
        let (yes, done) = tokio::join!(
            decide(&stack, job.approval(), Verdict::Approve, Some(LONG)),
            executed(&stack, &job)
        );
        assert_eq!(done.status, 200, "{}", done.text());
        assert_eq!(yes.status, 200, "{}", yes.text());
        assert_eq!(yes.header("preference-applied"), Some(LONG));
        let receipt: CommandReceipt = serde_json::from_slice(&yes.body).unwrap();
        assert_eq!(receipt.approval_state, Some(ApprovalState::Executed));
        assert_eq!(receipt.ticket.state, TicketState::ChangeRequested);
        // A change order takes effect with the yes: there is nothing to wait for.
        let asked = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        let yes = decide(&stack, asked.approval(), Verdict::Approve, Some(LONG)).await;
        assert_eq!(yes.status, 200, "{}", yes.text());
        let receipt: CommandReceipt = serde_json::from_slice(&yes.body).unwrap();
        assert_eq!(receipt.ticket.state, TicketState::OnSite);
    });
}

/// Another bundle decides: everybody of these roles may read this, and nobody else.
async fn readable_by(stack: &Stack, what: &str, roles: &[Role]) {
    let of = |mut reads: Value| {
        reads[what]["person"] = json!(roles);
        reads
    };
    bundle_with(stack, "reads/data.json", of).await;
}

#[test]
fn how_it_ended_is_told_to_whom_may_read_it_then() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        let key = key();
        let held = dear(&stack, &job).key(&key).send().await;
        let receipt: HeldReceipt = serde_json::from_slice(&held.body).unwrap();
        let refused = decide(&stack, receipt.approval.id, Verdict::Reject, None).await;
        assert_eq!(refused.status, 200, "{}", refused.text());
        readable_by(&stack, "approvals", &[Role::AccountManager]).await;
        let again = dear(&stack, &job).key(&key).header("prefer", LONG);
        let again = again.send().await;
        assert_eq!(again.status, 202, "{}", again.text());
        assert_eq!(again.body, held.body, "nothing but what was told before");
        assert_eq!(again.header("preference-applied"), None);

        // The approval's end is theirs to read, what became of the ticket is not.
        let mut job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        job.is_held().await;
        let others: Vec<_> = Role::VARIANTS
            .iter()
            .copied()
            .filter(|role| *role != Role::AccountManager)
            .collect();
        readable_by(&stack, "tickets", &others).await;
        let (yes, _) = tokio::join!(
            decide(&stack, job.approval(), Verdict::Approve, Some(LONG)),
            executed(&stack, &job)
        );
        assert_eq!(yes.status, 200, "{}", yes.text());
        let receipt: CommandReceipt = serde_json::from_slice(&yes.body).unwrap();
        assert_eq!(receipt.approval_state, Some(ApprovalState::Executed));
        assert_eq!(receipt.ticket.state, TicketState::OnSite);
    });
}

#[test]
fn waiting_holds_no_connection_and_ends_with_the_process() {
    let options = ApiOptions {
        pool_size: 2,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        let mut waiting = Vec::new();
        for _ in 0..4 {
            let job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
            waiting.push(tokio::spawn(
                dear(&stack, &job).header("prefer", LONG).send(),
            ));
        }
        // With two connections for all, four that wait leave room for the others.
        for _ in 0..20 {
            let reply = stack
                .ask(Who::Dispatcher, Method::GET, "/tickets?limit=1")
                .send()
                .await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        dispatch_tests::wait::until("all are held", Duration::from_secs(10), async || {
            let list = stack
                .ask(Who::AccountManager, Method::GET, "/approvals")
                .send()
                .await;
            match list.json()["items"].as_array().map(Vec::len) {
                Some(4) => Ok(()),
                other => Err(other),
            }
        })
        .await;
        stack.stop_api().await;
        for waiter in waiting {
            let reply = waiter.await.unwrap();
            assert_eq!(reply.status, 202, "{}", reply.text());
        }
        stack.start_api().await;
    });
}

#[test]
fn who_has_the_newest_is_told_so() {
    with_api(async |stack| {
        let tenant = stack.tenant();
        let mut job = Job::at(&stack, tenant, TicketState::OnSite).await;
        let ticket = format!("/tickets/{}", job.id());
        let ask = async |path: &str, tag: Option<&str>| {
            let ask = stack.ask(Who::Dispatcher, Method::GET, path);
            match tag {
                Some(tag) => ask.header("if-none-match", tag).send().await,
                None => ask.send().await,
            }
        };
        for path in [
            ticket.clone(),
            format!("/sites/{}", tenant.site),
            format!("/assets/{}", tenant.asset),
            format!("/contacts/{}", tenant.contact),
            format!("/technicians/{}", tenant.technicians[0]),
        ] {
            let first = ask(&path, None).await;
            let tag = first.header("etag").expect("a tag").to_owned();
            assert_eq!(tag, format!("\"{}\"", first.json()["version"]), "{path}");
            let second = ask(&path, Some(&tag)).await;
            assert_eq!(
                (second.status.as_u16(), second.body.len()),
                (304, 0),
                "{path}"
            );
            assert_eq!(second.header("etag"), Some(&*tag));
            // Whoever keeps it asks each time, and keeps it for one caller.
            for reply in [&first, &second] {
                let kept = ["cache-control", "vary"].map(|name| reply.header(name).unwrap());
                let wanted = ["private, no-cache", "authorization, dispatch-tenant"];
                assert_eq!(kept, wanted, "{path}");
            }
            assert_eq!(ask(&path, Some("\"0\"")).await.status, 200, "{path}");
        }
        // An approval opens without a new version, and is news all the same.
        let before = ask(&ticket, None).await;
        job.is_held().await;
        let tag = before.header("etag").unwrap();
        let after = ask(&ticket, Some(tag)).await;
        assert_eq!(after.status, 200);
        assert_eq!(after.json()["version"], before.json()["version"]);
        let tag = after.header("etag").unwrap();
        assert_eq!(ask(&ticket, Some(tag)).await.status, 304);
        // And it is taken for the version that it begins with.
        let note = json!({ "text": "The pane is cracked." });
        let expecting = |tag: &str| {
            let ask = stack.command(Who::Dispatcher, Operation::AddNote, job.id(), &note);
            ask.header("if-match", tag).send()
        };
        assert_eq!(expecting(tag).await.status, 200);
        expecting("\"1.00000000\"")
            .await
            .problem(ErrorCode::VersionConflict);
    });
}

#[test]
fn a_fault_of_ours_shows_nothing_of_the_inside() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let set = async |sql: &'static str| {
            sqlx::query(sql).execute(stack.admin()).await.unwrap();
        };
        set("revoke select on tickets from dispatch_app").await;
        let ticket = format!("/tickets/{}", job.id());
        let note = json!({ "text": "x" });
        let mut told = Vec::new();
        for ask in [
            stack.ask(Who::Dispatcher, Method::GET, &ticket),
            stack.ask(Who::Dispatcher, Method::GET, "/tickets"),
            stack.command(Who::Dispatcher, Operation::AddNote, job.id(), &note),
        ] {
            told.push(ask.send().await);
        }
        set("grant select on tickets to dispatch_app").await;
        for reply in told {
            let problem = reply.no_attempt(ErrorCode::Internal);
            assert!(problem.request_id.is_some() && problem.meta.is_empty());
            let text = format!("{} {:?}", reply.text(), reply.headers).to_lowercase();
            for inside in [
                "sql",
                "postgres",
                "permission",
                "tickets",
                "dispatch_app",
                "42501",
                ".rs",
            ] {
                assert!(!text.contains(inside), "{inside}: {text}");
            }
        }
    });
}

#[test]
fn health_names_parts_that_others_need() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let ask = async |stack: &Stack| {
        let reply = stack.http().get("/health/ready").send().await;
        let health: Health = serde_json::from_slice(&reply.body).unwrap();
        (reply.status.as_u16(), health)
    };
    let at = |address: SocketAddr| ApiOptions {
        temporal_at: Some(address),
        ..ApiOptions::default()
    };
    with_api_options(at(nobody), async |stack| {
        let (status, health) = ask(&stack).await;
        assert_eq!(
            (status, health.status.as_str()),
            (200, "degraded"),
            "{health:?}"
        );
        assert!(health.parts["temporal"].starts_with("cannot be reached"));
        assert!(!health.parts["temporal"].contains("127.0.0.1"));
        // It serves all the same.
        Job::at(&stack, stack.tenant(), TicketState::New).await;
    });
    with_api(async |stack| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        drop(stack);
        let options = at(listener.local_addr().unwrap());
        let stack = Stack::api(options).await;
        let (status, health) = ask(&stack).await;
        assert_eq!((status, health.status.as_str()), (200, "ok"), "{health:?}");
        assert_eq!(health.parts["temporal"], "ok");
        assert_eq!(health.parts["object_store"], "not configured");
        stack.end().await;
    });
}
