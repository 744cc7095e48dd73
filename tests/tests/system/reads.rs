//! What can be read: pages, filters, entity tags, and who may ask.

use std::time::Duration;

use contracts::{
    ErrorCode, Operation, TicketState,
    proposal::AdvisorInput,
    read::{Health, IdOrCode, TicketFilter},
};
use dispatch_tests::{job::Job, stack::with_api, wait, who::Who};
use reqwest::Method;

#[test]
fn the_list_is_paged_and_filtered() {
    with_api(async |stack| {
        let mut created = Vec::new();
        for n in 0..7 {
            let state = if n < 4 {
                TicketState::New
            } else {
                TicketState::Triaged
            };
            created.push(Job::at(&stack, stack.tenant(), state).await.id());
        }
        created.reverse();
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let all = async |filter: TicketFilter| {
            let (mut ids, mut cursor) = (Vec::new(), None);
            loop {
                let filter = TicketFilter {
                    cursor: cursor.clone(),
                    ..filter.clone()
                };
                let page = client.tickets(&filter).await.unwrap();
                ids.extend(page.items.iter().map(|item| item.ticket.id));
                match page.next_cursor {
                    Some(next) => cursor = Some(next),
                    None => return ids,
                }
            }
        };
        for limit in [None, Some(1), Some(3), Some(7)] {
            let filter = TicketFilter {
                limit,
                ..TicketFilter::default()
            };
            assert_eq!(
                all(filter).await,
                created,
                "newest first, {limit:?} per page"
            );
        }
        let new = TicketFilter {
            state: vec![TicketState::New],
            limit: Some(2),
            ..TicketFilter::default()
        };
        assert_eq!(all(new.clone()).await, created[3..]);
        let elsewhere = TicketFilter {
            site: Some(IdOrCode::Id(stack.other().site)),
            ..new.clone()
        };
        assert_eq!(all(elsewhere).await, []);
        let here = TicketFilter {
            site: Some(IdOrCode::Id(stack.tenant().site)),
            ..new
        };
        assert_eq!(all(here).await, created[3..]);
    });
}

#[test]
fn a_known_version_is_not_sent_again() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let path = format!("/tickets/{}", job.id());
        let get = || stack.ask(Who::Dispatcher, Method::GET, &path);
        let first = get().send().await;
        let etag = first.header("etag").unwrap().to_owned();
        assert_eq!(etag, "\"1\"");
        let same = get().header("if-none-match", &etag).send().await;
        assert_eq!((same.status.as_u16(), same.body.len()), (304, 0));
        job.does(Operation::Triage).await;
        let newer = get().header("if-none-match", &etag).send().await;
        assert_eq!(
            (newer.status.as_u16(), newer.header("etag")),
            (200, Some("\"2\""))
        );
    });
}

#[test]
fn what_the_workflow_reads_is_not_for_everybody() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        for read in [
            "snapshot",
            "advisor-input?kind=triage",
            "advisor-input?kind=technician",
        ] {
            let path = format!("/tickets/{}/{read}", job.id());
            for who in [Who::Workflow, Who::Auditor] {
                let reply = stack.ask(who, Method::GET, &path).send().await;
                assert_eq!(reply.status, 200, "{read} by {who:?}: {}", reply.text());
            }
            for who in [
                Who::Dispatcher,
                Who::Technician,
                Who::Intake,
                Who::TenantAdmin,
            ] {
                let reply = stack.ask(who, Method::GET, &path).send().await;
                reply.no_attempt(ErrorCode::Forbidden);
            }
        }
    });
}

#[test]
fn the_advisor_sees_who_could_go_and_no_names() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Scheduled).await;
        let busy = Job::at(&stack, stack.tenant(), TicketState::Dispatched).await;
        let workflow = stack.client(stack.tenant(), Who::Workflow);
        let kind = contracts::proposal::ProposalKind::Technician;
        let input = workflow.advisor_input(job.id(), kind).await.unwrap();
        let text = serde_json::to_string(&input).unwrap();
        assert!(!text.contains("Quillfeather"));
        let AdvisorInput::Technician(input) = input else {
            panic!("{text}");
        };
        assert_eq!(input.version, job.ticket().await.version);
        assert_eq!(input.window, job.ticket().await.visits[0].window);
        assert_eq!(input.candidates.len(), 3);
        let sent = busy.ticket().await.visits[0].technician_id.unwrap();
        for candidate in &input.candidates {
            let open = u32::from(candidate.technician_id == sent);
            assert_eq!(candidate.open_visits, open, "{candidate:?}");
            assert_eq!(candidate.busy.len(), usize::try_from(open).unwrap());
        }
    });
}

#[test]
fn health_tells_what_is_missing() {
    with_api(async |stack| {
        let health = async |path: &str| {
            let reply = stack.http().get(path).send().await;
            let health: Health = serde_json::from_slice(&reply.body).unwrap();
            (reply.status.as_u16(), health)
        };
        for path in ["/health", "/health/live", "/health/ready"] {
            let (status, health) = health(path).await;
            assert_eq!((status, health.status.as_str()), (200, "ok"), "{health:?}");
        }
        let set = async |sql: &'static str| {
            sqlx::query(sql).execute(stack.admin()).await.unwrap();
        };
        set("create table kept as select bundle_version, bundle_sha256 from deployment").await;
        set("update deployment set bundle_version = null, bundle_sha256 = null").await;
        let until = async |expected: u16| {
            wait::until("readiness follows", Duration::from_secs(10), async || {
                let (status, health) = health("/health/ready").await;
                if status == expected {
                    Ok(health)
                } else {
                    Err(health)
                }
            })
            .await
        };
        let unready = until(503).await;
        assert_eq!(unready.parts["database"], "ok");
        assert_ne!(unready.parts["policy"], "ok");
        assert_eq!(health("/health/live").await.0, 200);
        set("update deployment d set bundle_version = k.bundle_version, bundle_sha256 = k.bundle_sha256 from kept k").await;
        until(200).await;
        set("drop table kept").await;
    });
}
