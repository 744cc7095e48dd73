//! Recorded decisions: filters, pages, the export, and who may read them.

use client::Client;
use contracts::{
    ErrorCode, Operation, TicketState,
    policy::PolicyResult,
    read::{DecisionDetail, DecisionFilter, DecisionRecord},
};
use dispatch_tests::{
    job::{Job, SECRET_WORDS},
    stack::{Stack, with_api},
    who::Who,
};
use reqwest::Method;
use serde_json::json;

/// All pages, newest first.
async fn all_pages(client: &Client, filter: &DecisionFilter) -> Vec<DecisionRecord> {
    let (mut items, mut filter) = (Vec::new(), filter.clone());
    loop {
        let page = client.decisions(&filter).await.unwrap();
        items.extend(page.items);
        match page.next_cursor {
            Some(next) => filter.cursor = Some(next),
            None => return items,
        }
    }
}

/// A job with denials of two kinds, and another tenant's.
async fn some(stack: &Stack) -> Job {
    let job = Job::at(stack, stack.tenant(), TicketState::OnSite).await;
    Job::at(stack, stack.tenant(), TicketState::New).await;
    Job::at(stack, stack.other(), TicketState::Triaged).await;
    let body = job.body(Operation::Complete).await;
    let by_auditor = stack.command(Who::Auditor, Operation::Complete, job.id(), &body);
    by_auditor.send().await.problem(ErrorCode::Forbidden);
    let nothing = json!({ "evidence": [] });
    let bare = stack.command(Who::Technician, Operation::Complete, job.id(), &nothing);
    bare.send().await.problem(ErrorCode::PolicyDenied);
    job
}

#[test]
fn each_filter_leaves_what_it_says() {
    with_api(async |stack| {
        let job = some(&stack).await;
        let client = stack.client(stack.tenant(), Who::Auditor);
        let filter = DecisionFilter::default;
        let all = all_pages(&client, &filter()).await;
        assert!(all.is_sorted_by(|a, b| a.id > b.id), "newest first");
        let entries = job.timeline().await;
        for entry in &entries {
            let record = all.iter().find(|record| record.id == entry.decision_id);
            let record = record.expect("each attempt has a decision");
            assert_eq!(record.audit_id, entry.audit_id);
            assert_eq!(record.command_id, entry.command_id);
            assert_eq!(record.ticket_id, Some(job.id()));
            assert_eq!(record.decision.result, entry.decision);
            assert_eq!(record.refused, entry.refused);
            assert_eq!(record.actor_id, entry.actor_id);
            assert_eq!((record.operation, record.at), (entry.operation, entry.at));
        }
        let denied = all
            .iter()
            .filter(|r| r.decision.result == PolicyResult::Deny);
        let reasons = denied.flat_map(|record| &record.decision.reasons);
        let code = reasons.map(|reason| reason.code.clone()).next().unwrap();
        let middle = all[all.len() / 2].at;
        let technician = Who::Technician.actor(stack.tenant()).id;
        type Keeps = Box<dyn Fn(&DecisionRecord) -> bool>;
        let (id, by, why) = (job.id(), technician.clone(), code.clone());
        let cases: Vec<(DecisionFilter, Keeps)> = vec![
            (
                DecisionFilter {
                    operation: vec![Operation::Complete, Operation::Triage],
                    ..filter()
                },
                Box::new(|r| [Operation::Complete, Operation::Triage].contains(&r.operation)),
            ),
            (
                DecisionFilter {
                    result: vec![PolicyResult::Deny],
                    ..filter()
                },
                Box::new(|r| r.decision.result == PolicyResult::Deny),
            ),
            (
                DecisionFilter {
                    actor: Some(technician),
                    ..filter()
                },
                Box::new(move |r| r.actor_id == by),
            ),
            (
                DecisionFilter {
                    ticket_id: Some(id),
                    ..filter()
                },
                Box::new(move |r| r.ticket_id == Some(id)),
            ),
            (
                DecisionFilter {
                    reason: Some(code),
                    ..filter()
                },
                Box::new(move |r| r.decision.reasons.iter().any(|reason| reason.code == why)),
            ),
            (
                DecisionFilter {
                    from: Some(middle),
                    ..filter()
                },
                Box::new(move |r| r.at >= middle),
            ),
            (
                DecisionFilter {
                    to: Some(middle),
                    ticket_id: Some(id),
                    result: vec![PolicyResult::Allow],
                    ..filter()
                },
                Box::new(move |r| {
                    r.at < middle
                        && r.ticket_id == Some(id)
                        && r.decision.result == PolicyResult::Allow
                }),
            ),
        ];
        for (filter, keeps) in cases {
            let kept: Vec<_> = all.iter().filter(|r| keeps(r)).cloned().collect();
            assert!(
                (1..all.len()).contains(&kept.len()),
                "{filter:?} tells nothing"
            );
            for limit in [None, Some(1), Some(3)] {
                let filter = DecisionFilter {
                    limit,
                    ..filter.clone()
                };
                assert_eq!(all_pages(&client, &filter).await, kept, "{filter:?}");
            }
        }
    });
}

#[test]
fn the_export_is_the_pages_from_the_other_end() {
    with_api(async |stack| {
        let job = some(&stack).await;
        // More than one part of an export.
        let mut noted = Job::at(&stack, stack.tenant(), TicketState::New).await;
        for _ in 0..520 {
            noted.does(Operation::AddNote).await;
        }
        let client = stack.client(stack.tenant(), Who::Auditor);
        for (query, filter) in [
            ("", DecisionFilter::default()),
            (
                "?result=DENY",
                DecisionFilter {
                    result: vec![PolicyResult::Deny],
                    ..DecisionFilter::default()
                },
            ),
            (
                &format!("?ticket_id={}", job.id()),
                DecisionFilter {
                    ticket_id: Some(job.id()),
                    ..DecisionFilter::default()
                },
            ),
        ] {
            let path = format!("/decisions/export{query}");
            let reply = stack.ask(Who::Auditor, Method::GET, &path).send().await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
            let text = reply.text();
            for word in SECRET_WORDS.split(", ") {
                assert!(!text.contains(word), "{word} in {path}");
            }
            let lines = text.lines().map(serde_json::from_str::<DecisionDetail>);
            let mut exported: Vec<_> = lines.map(|line| line.unwrap().record).collect();
            exported.reverse();
            let filter = DecisionFilter {
                limit: Some(200),
                ..filter
            };
            let pages = all_pages(&client, &filter).await;
            assert!(!pages.is_empty());
            assert!(
                exported == pages,
                "{path}: {} of {}",
                exported.len(),
                pages.len()
            );
        }
    });
}

#[test]
fn a_decision_shows_what_was_asked() {
    with_api(async |stack| {
        let job = some(&stack).await;
        let client = stack.client(stack.tenant(), Who::TenantAdmin);
        for entry in job.timeline().await {
            let detail = client.decision(entry.decision_id).await.unwrap();
            assert_eq!(detail.record.id, entry.decision_id);
            assert_eq!(detail.input["operation"], entry.operation.to_string());
            assert_eq!(detail.input["actor"]["id"], entry.actor_id);
            let stranger = stack.client(stack.other(), Who::Auditor);
            let error = stranger.decision(entry.decision_id).await.unwrap_err();
            assert_eq!(error.code(), Some(ErrorCode::NotFound));
        }
        let other = stack.client(stack.other(), Who::Auditor);
        let theirs = all_pages(&other, &DecisionFilter::default()).await;
        assert_eq!(theirs.len(), 2);
        let ours = DecisionFilter {
            ticket_id: Some(job.id()),
            ..DecisionFilter::default()
        };
        assert_eq!(all_pages(&other, &ours).await, []);
    });
}

#[test]
fn decisions_are_for_those_who_answer_for_what_is_done() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let decision = job.timeline().await[0].decision_id;
        for path in [
            "/decisions".to_owned(),
            "/decisions/export".to_owned(),
            format!("/decisions/{decision}"),
        ] {
            for who in [Who::Auditor, Who::TenantAdmin, Who::AccountManager] {
                let reply = stack.ask(who, Method::GET, &path).send().await;
                assert_eq!(reply.status, 200, "{path} by {who:?}: {}", reply.text());
            }
            for who in [
                Who::Dispatcher,
                Who::Technician,
                Who::Qa,
                Who::Billing,
                Who::Intake,
                Who::Workflow,
                Who::Agent,
            ] {
                let reply = stack.ask(who, Method::GET, &path).send().await;
                reply.no_attempt(ErrorCode::Forbidden);
            }
        }
    });
}

#[test]
fn what_cannot_be_read_is_named() {
    with_api(async |stack| {
        for (path, name, value) in [
            ("/decisions", "operation", "undo"),
            ("/decisions", "result", "MAYBE"),
            ("/decisions", "ticket_id", "1"),
            ("/decisions", "from", "once"),
            ("/decisions", "to", "later"),
            ("/decisions", "limit", "0"),
            ("/decisions", "cursor", "64"),
            ("/decisions/export", "cursor", "64"),
            ("/decisions/export", "limit", "5"),
        ] {
            let ask = stack.ask(Who::Auditor, Method::GET, path);
            let reply = ask.query(name, value).send().await;
            let problem = reply.no_attempt(ErrorCode::InvalidParameter);
            assert!(problem.detail.contains(name), "{name}: {}", problem.detail);
        }
        let reply = stack.ask(Who::Auditor, Method::GET, "/decisions/dec_1");
        reply.send().await.no_attempt(ErrorCode::InvalidParameter);
    });
}
