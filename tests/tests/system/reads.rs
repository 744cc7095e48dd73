//! What can be read: pages, filters, entity tags, and who may ask.

use std::time::Duration;

use client::Client;
use contracts::{
    ActorKind, ErrorCode, Operation, Priority, TicketId, TicketState,
    event::{EventType, WaitingFor},
    proposal::AdvisorInput,
    read::{
        AttemptOutcome, Health, IdOrCode, TicketFilter, TicketSort, TicketSummary, TimelineEntry,
        TimelineFilter,
    },
    sla::{SlaClock, SlaRecordKind},
    ticket::Ticket,
};
use dispatch_tests::{
    job::{Job, SECRET_WORDS},
    stack::{Stack, with_api},
    wait,
    who::Who,
};
use reqwest::Method;
use serde_json::json;
use strum::VariantArray;

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

/// All pages of the list.
async fn all_pages(client: &Client, filter: &TicketFilter) -> Vec<TicketSummary> {
    let (mut items, mut filter) = (Vec::new(), filter.clone());
    loop {
        let page = client.tickets(&filter).await.unwrap();
        items.extend(page.items);
        match page.next_cursor {
            Some(next) => filter.cursor = Some(next),
            None => return items,
        }
    }
}

fn ids(items: &[TicketSummary]) -> Vec<TicketId> {
    items.iter().map(|item| item.ticket.id).collect()
}

/// Tickets in many states, of two kinds and three priorities, with and without a technician.
async fn many(stack: &Stack) -> Vec<Job> {
    let mut jobs = Vec::new();
    for state in [
        TicketState::New,
        TicketState::Triaged,
        TicketState::ScheduleProposed,
        TicketState::Dispatched,
        TicketState::OnSite,
        TicketState::Invoiced,
        TicketState::Closed,
        TicketState::Cancelled,
    ] {
        jobs.push(Job::at(stack, stack.tenant(), state).await);
    }
    let mut urgent = Job::at(stack, stack.tenant(), TicketState::New).await;
    let body = json!({
        "priority": "P1", "template": "emergency_door",
        "details": { "door_kind": "sliding", "building_secure": true },
    });
    urgent.sends(Operation::Triage, &body).await;
    jobs.push(urgent);
    let mut awaited = Job::at(stack, stack.tenant(), TicketState::Triaged).await;
    awaited.does(Operation::CustomerAwait).await;
    jobs.push(awaited);
    Job::at(stack, stack.other(), TicketState::Triaged).await;
    jobs
}

type Keeps = Box<dyn Fn(&TicketSummary) -> bool>;

#[test]
fn each_filter_leaves_what_it_says_and_the_counts_agree() {
    with_api(async |stack| {
        many(&stack).await;
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let all = all_pages(&client, &TicketFilter::default()).await;
        assert_eq!(all.len(), 10);
        let technician = stack.tenant().technicians[0];
        let mut dues: Vec<_> = all.iter().filter_map(|item| item.due_at).collect();
        dues.sort();
        let middle = dues[dues.len() / 2];
        let filter = TicketFilter::default;
        let cases: Vec<(TicketFilter, Keeps)> = vec![
            (
                TicketFilter {
                    state: vec![TicketState::New, TicketState::Closed],
                    ..filter()
                },
                Box::new(|item| {
                    [TicketState::New, TicketState::Closed].contains(&item.ticket.state)
                }),
            ),
            (
                TicketFilter {
                    priority: vec![Priority::P1],
                    ..filter()
                },
                Box::new(|item| item.ticket.priority == Priority::P1),
            ),
            (
                TicketFilter {
                    incident_type: vec!["emergency_door".parse().unwrap()],
                    ..filter()
                },
                Box::new(|item| item.ticket.template.as_str() == "emergency_door"),
            ),
            (
                TicketFilter {
                    waiting_for: vec![WaitingFor::Customer, WaitingFor::Arrival],
                    ..filter()
                },
                Box::new(|item| {
                    [WaitingFor::Customer, WaitingFor::Arrival].contains(&item.waiting_for)
                }),
            ),
            (
                TicketFilter {
                    technician: Some(IdOrCode::Id(technician)),
                    ..filter()
                },
                Box::new(move |item| {
                    let visit = item.ticket.current_visit().unwrap();
                    visit.technician_id == Some(technician)
                }),
            ),
            (
                TicketFilter {
                    due_before: Some(middle),
                    ..filter()
                },
                Box::new(move |item| item.due_at.is_some_and(|due_at| due_at < middle)),
            ),
            (
                TicketFilter {
                    state: vec![TicketState::Triaged],
                    waiting_for: vec![WaitingFor::Schedule],
                    priority: vec![Priority::P1, Priority::P2],
                    site: Some(IdOrCode::Code("harbour_shop".parse().unwrap())),
                    ..filter()
                },
                Box::new(|item| {
                    item.ticket.state == TicketState::Triaged
                        && item.waiting_for == WaitingFor::Schedule
                }),
            ),
        ];
        for (filter, keeps) in cases {
            let kept: Vec<_> = all.iter().filter(|item| keeps(item)).cloned().collect();
            assert!(
                (1..all.len()).contains(&kept.len()),
                "{filter:?} tells nothing"
            );
            for limit in [None, Some(1), Some(2)] {
                let filter = TicketFilter {
                    limit,
                    ..filter.clone()
                };
                assert_eq!(all_pages(&client, &filter).await, kept, "{filter:?}");
            }
            let mut due: Vec<_> = kept.iter().filter(|item| item.due_at.is_some()).collect();
            due.sort_by_key(|item| (item.due_at, item.ticket.id));
            let by_due = TicketFilter {
                sort: TicketSort::Due,
                limit: Some(1),
                ..filter.clone()
            };
            let found = all_pages(&client, &by_due).await;
            assert_eq!(
                found.iter().collect::<Vec<_>>(),
                due,
                "{filter:?} by deadline"
            );

            let counted = TicketFilter {
                counts: true,
                limit: Some(1),
                ..filter.clone()
            };
            let counts = client.tickets(&counted).await.unwrap().counts.unwrap();
            assert!(counts.complete);
            assert_eq!(counts.total, u64::try_from(kept.len()).unwrap());
            for &state in TicketState::VARIANTS {
                let of = kept.iter().filter(|item| item.ticket.state == state);
                let count = counts.by_state.get(&state).copied().unwrap_or_default();
                assert_eq!(
                    count,
                    u64::try_from(of.count()).unwrap(),
                    "{filter:?} {state}"
                );
            }
        }
        for item in &all {
            assert_eq!(item.waiting_for, domain::waiting_for(&item.ticket));
            let due_at = item.ticket.sla.iter().filter_map(SlaClock::due_at).min();
            assert_eq!(item.due_at, due_at);
        }
        let by_code = TicketFilter {
            technician: Some(IdOrCode::Code("technician_1".parse().unwrap())),
            ..filter()
        };
        let by_id = TicketFilter {
            technician: Some(IdOrCode::Id(technician)),
            ..filter()
        };
        assert_eq!(
            all_pages(&client, &by_code).await,
            all_pages(&client, &by_id).await
        );
        for unknown in ["nowhere", "harbour_shop2"] {
            let filter = TicketFilter {
                site: Some(IdOrCode::Code(unknown.parse().unwrap())),
                ..filter()
            };
            assert_eq!(all_pages(&client, &filter).await, []);
        }
    });
}

#[test]
fn a_text_finds_what_it_names_and_no_personal_data() {
    with_api(async |stack| {
        let jobs = many(&stack).await;
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let all = all_pages(&client, &TicketFilter::default()).await;
        let find = async |text: &str| {
            let filter = TicketFilter {
                q: Some(text.to_owned()),
                limit: Some(2),
                counts: true,
                ..TicketFilter::default()
            };
            let found = all_pages(&client, &filter).await;
            let counts = client.tickets(&filter).await.unwrap().counts.unwrap();
            assert_eq!(counts.total, u64::try_from(found.len()).unwrap(), "{text}");
            ids(&found)
        };
        let id = jobs[3].id();
        let hex = id.as_uuid().simple().to_string();
        for text in [
            id.to_string(),
            hex.clone(),
            id.short(),
            id.short().to_uppercase(),
        ] {
            assert_eq!(find(&text).await, [id], "{text}");
        }
        assert_eq!(find(&format!("tkt_{}", &hex[..6])).await, ids(&all));
        let invoiced = all
            .iter()
            .find(|item| item.ticket.state == TicketState::Invoiced);
        let invoiced = &invoiced.unwrap().ticket;
        let number = &invoiced.invoice.as_ref().unwrap().number;
        for text in [number.clone(), number.to_lowercase()] {
            assert_eq!(find(&text).await, [invoiced.id], "{text}");
        }
        for text in ["harbour_shop", "harbour_pane", "public_hazard", " HARBOUR "] {
            assert_eq!(find(text).await, ids(&all), "{text}");
        }
        let triaged: Vec<_> = all
            .iter()
            .filter(|item| {
                item.ticket
                    .details
                    .keys()
                    .any(|key| key.as_str() == "pane_count")
            })
            .cloned()
            .collect();
        assert!(!triaged.is_empty() && triaged.len() < all.len());
        assert_eq!(find("pane_count").await, ids(&triaged));
        for personal in SECRET_WORDS
            .split(", ")
            .chain(["Quillfeather", "31205550199"])
        {
            assert_eq!(find(personal).await, [], "{personal}");
        }

        // Nothing of it is another tenant's to find.
        let other = stack.client(stack.other(), Who::Dispatcher);
        for text in [id.to_string(), id.short(), number.clone()] {
            let filter = TicketFilter {
                q: Some(text),
                counts: true,
                ..TicketFilter::default()
            };
            let page = other.tickets(&filter).await.unwrap();
            assert_eq!((page.items, page.counts.unwrap().total), (Vec::new(), 0));
        }
    });
}

#[test]
fn pages_neither_lose_nor_repeat_while_tickets_come_in() {
    with_api(async |stack| {
        let jobs = many(&stack).await;
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        for sort in [TicketSort::Newest, TicketSort::Due] {
            let whole = TicketFilter {
                sort,
                ..TicketFilter::default()
            };
            let before = all_pages(&client, &whole).await;
            assert!(before.len() >= 6);
            let mut filter = TicketFilter {
                limit: Some(2),
                ..whole
            };
            let mut seen = Vec::new();
            loop {
                let page = client.tickets(&filter).await.unwrap();
                seen.extend(ids(&page.items));
                Job::at(&stack, stack.tenant(), TicketState::New).await;
                match page.next_cursor {
                    Some(next) => filter.cursor = Some(next),
                    None => break,
                }
                assert!(seen.len() <= 40, "the list has an end");
            }
            let known: Vec<_> = seen.iter().filter(|id| ids(&before).contains(id)).collect();
            assert_eq!(known, ids(&before).iter().collect::<Vec<_>>(), "{sort}");
            let once: std::collections::BTreeSet<_> = seen.iter().collect();
            assert_eq!(once.len(), seen.len(), "{sort}");
        }
        drop(jobs);
    });
}

#[test]
fn what_cannot_be_read_is_named() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Closed).await;
        let timeline = format!("/tickets/{}/timeline", job.id());
        for (path, name, value) in [
            ("/tickets", "state", "NEW,OPEN"),
            ("/tickets", "priority", "P5"),
            ("/tickets", "incident_type", "Has Space"),
            ("/tickets", "waiting_for", "godot"),
            ("/tickets", "site", "not a code"),
            ("/tickets", "site_id", "harbour_shop"),
            ("/tickets", "technician", "No!"),
            ("/tickets", "due_before", "tomorrow"),
            ("/tickets", "q", " "),
            ("/tickets", "sort", "oldest"),
            ("/tickets", "counts", "yes"),
            ("/tickets", "limit", "201"),
            ("/tickets", "cursor", "74"),
            ("/tickets", "colour", "red"),
            (timeline.as_str(), "operation", "triage,undo"),
            (timeline.as_str(), "actor_kind", "robot"),
            (timeline.as_str(), "outcome", "maybe"),
            (timeline.as_str(), "event", "ticket.undone"),
            (timeline.as_str(), "from", "yesterday"),
            (timeline.as_str(), "cursor", "70"),
            (timeline.as_str(), "limit", "0"),
        ] {
            let ask = stack.ask(Who::Dispatcher, Method::GET, path);
            let reply = ask.query(name, value).send().await;
            let problem = reply.no_attempt(ErrorCode::InvalidParameter);
            assert!(problem.detail.contains(name), "{name}: {}", problem.detail);
        }
        let both = "/tickets?template=emergency_door&incident_type=emergency_door";
        let reply = stack.ask(Who::Dispatcher, Method::GET, both).send().await;
        reply.no_attempt(ErrorCode::InvalidParameter);
    });
}

#[test]
fn a_time_that_nothing_waits_for_is_asked_for_in_vain() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        let found = async |filter: &str| {
            let path = format!("/approvals?{filter}={}", u32::MAX);
            let reply = stack.ask(Who::AccountManager, Method::GET, &path).send();
            let reply = reply.await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            reply.json()["items"].as_array().expect("a page").len()
        };
        assert_eq!(found("waiting_minutes").await, 0);
        assert_eq!(found("sla_within_minutes").await, 1, "of {}", job.id());
    });
}

#[test]
fn a_cursor_belongs_to_its_question() {
    with_api(async |stack| {
        let jobs = many(&stack).await;
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let filter = TicketFilter {
            limit: Some(1),
            ..TicketFilter::default()
        };
        let cursor = client.tickets(&filter).await.unwrap().next_cursor;
        assert!(cursor.is_some());
        let same = TicketFilter {
            cursor: cursor.clone(),
            limit: Some(7),
            counts: true,
            ..filter.clone()
        };
        assert_eq!(client.tickets(&same).await.unwrap().items.len(), 7);
        for other in [
            TicketFilter {
                sort: TicketSort::Due,
                ..same.clone()
            },
            TicketFilter {
                state: vec![TicketState::New],
                ..same.clone()
            },
        ] {
            let error = client.tickets(&other).await.unwrap_err();
            assert_eq!(error.code(), Some(ErrorCode::InvalidParameter));
        }
        let page = TimelineFilter {
            limit: Some(1),
            ..TimelineFilter::default()
        };
        let first = client.timeline_where(jobs[3].id(), &page).await.unwrap();
        let of_another = TimelineFilter {
            cursor: first.next_cursor,
            ..page
        };
        assert!(of_another.cursor.is_some());
        let error = client.timeline_where(jobs[4].id(), &of_another).await;
        assert_eq!(error.unwrap_err().code(), Some(ErrorCode::InvalidParameter));
    });
}

#[test]
fn a_program_of_version_0_1_0_reads_the_list_as_before() {
    with_api(async |stack| {
        many(&stack).await;
        #[derive(serde::Deserialize)]
        struct OldPage {
            items: Vec<Ticket>,
            next_cursor: Option<String>,
        }
        let site = stack.tenant().site;
        let path = format!("/tickets?template=emergency_door&site_id={site}&state=TRIAGED&limit=1");
        let reply = stack.ask(Who::Dispatcher, Method::GET, path).send().await;
        let page: OldPage = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!(page.items[0].template.as_str(), "emergency_door");
        assert_eq!(page.next_cursor, None);
    });
}

#[test]
fn the_status_says_what_is_waited_for_and_what_is_possible() {
    with_api(async |stack| {
        for &state in TicketState::VARIANTS {
            let job = Job::at(&stack, stack.tenant(), state).await;
            let client = stack.client(stack.tenant(), Who::Dispatcher);
            let status = client.ticket_status(job.id()).await.unwrap();
            assert_eq!(status.ticket, job.ticket().await);
            assert_eq!(status.waiting_for, domain::waiting_for(&status.ticket));
            // A change order's approval is one event more.
            let asked = u64::from(status.event_seq != status.ticket.version);
            assert_eq!(status.event_seq, status.ticket.version + asked);
            let changed = state == TicketState::ChangeRequested;
            assert_eq!(status.open_approvals.len(), usize::from(changed));
            assert_eq!(
                status.possible.contains(&Operation::DecideApproval),
                changed,
                "{state}"
            );
            // What it says is possible is what a refusal calls possible.
            let body = json!({
                "priority": "P2", "details": { "pane_count": 2, "public_hazard": true },
            });
            let triage = stack.command(Who::Dispatcher, Operation::Triage, job.id(), &body);
            let reply = triage.send().await;
            let triaged = status.possible.contains(&Operation::Triage);
            assert_eq!(reply.status == 200, triaged, "{state}");
            if !triaged {
                let problem = reply.problem(ErrorCode::IllegalTransition);
                assert_eq!(problem.meta["legal_operations"], json!(status.possible));
            }
            let stranger = stack.client(stack.other(), Who::Dispatcher);
            let error = stranger.ticket_status(job.id()).await.unwrap_err();
            assert_eq!(error.code(), Some(ErrorCode::NotFound));
        }
    });
}

#[test]
fn a_recorded_breach_is_no_deadline_any_more() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let before = client.ticket_status(job.id()).await.unwrap();
        let next = before.next_deadline.unwrap();
        assert_eq!(next.kind, SlaRecordKind::Warning);
        job.does(Operation::RecordSla).await;
        let after = client.ticket_status(job.id()).await.unwrap();
        assert_eq!(after.sla_records.len(), 1);
        let record = &after.sla_records[0];
        assert_eq!(record.key.kind, SlaRecordKind::Breach);
        let clock = after.ticket.sla.iter().find(|c| c.name == record.key.clock);
        assert_eq!(clock.unwrap().due_at(), Some(record.effective_at));
    });
}

#[test]
fn a_timeline_is_filtered_and_explained() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::OnSite).await;
        job.does(Operation::AddNote).await;
        let refused = job.body(Operation::Complete).await;
        let ask = stack.command(Who::Auditor, Operation::Complete, job.id(), &refused);
        ask.send().await.problem(ErrorCode::Forbidden);
        job.does(Operation::RecordSla).await;
        let all = job.timeline().await;
        let from = all[2].at;
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let filter = TimelineFilter::default;
        type Keeps = Box<dyn Fn(&TimelineEntry) -> bool>;
        let technician = Who::Technician.actor(stack.tenant()).id;
        let by = technician.clone();
        let cases: Vec<(TimelineFilter, Keeps)> = vec![
            (
                TimelineFilter {
                    operation: vec![Operation::Triage, Operation::CheckIn],
                    ..filter()
                },
                Box::new(|e| [Operation::Triage, Operation::CheckIn].contains(&e.operation)),
            ),
            (
                TimelineFilter {
                    actor_kind: vec![ActorKind::Workflow],
                    ..filter()
                },
                Box::new(|e| e.actor_kind == ActorKind::Workflow),
            ),
            (
                TimelineFilter {
                    actor: Some(technician),
                    ..filter()
                },
                Box::new(move |e| e.actor_id == by),
            ),
            (
                TimelineFilter {
                    outcome: Some(AttemptOutcome::Refused),
                    ..filter()
                },
                Box::new(|e| e.refused.is_some()),
            ),
            (
                TimelineFilter {
                    outcome: Some(AttemptOutcome::Accepted),
                    actor_kind: vec![ActorKind::Person],
                    ..filter()
                },
                Box::new(|e| e.refused.is_none() && e.actor_kind == ActorKind::Person),
            ),
            (
                TimelineFilter {
                    event: Some(EventType::NoteAdded),
                    ..filter()
                },
                Box::new(|e| {
                    let mut types = e.changes.iter().map(|c| c.event.event_type());
                    types.any(|event| event == EventType::NoteAdded)
                }),
            ),
            (
                TimelineFilter {
                    from: Some(from),
                    ..filter()
                },
                Box::new(move |e| e.at >= from),
            ),
            (
                TimelineFilter {
                    to: Some(from),
                    ..filter()
                },
                Box::new(move |e| e.at < from),
            ),
        ];
        for (filter, keeps) in cases {
            let kept: Vec<_> = all.iter().filter(|e| keeps(e)).cloned().collect();
            assert!(
                (1..all.len()).contains(&kept.len()),
                "{filter:?} tells nothing"
            );
            for limit in [None, Some(1)] {
                let (mut found, mut filter) = (Vec::new(), filter.clone());
                filter.limit = limit;
                loop {
                    let page = client.timeline_where(job.id(), &filter).await.unwrap();
                    found.extend(page.items);
                    match page.next_cursor {
                        Some(next) => filter.cursor = Some(next),
                        None => break,
                    }
                }
                assert_eq!(found, kept, "{filter:?}");
            }
        }
        for entry in &all {
            let text = &entry.explanation;
            assert!(text.ends_with('.') && text.len() > 10, "{text}");
            assert_eq!(
                entry.refused.is_some(),
                text.starts_with("Refused"),
                "{text}"
            );
            for word in SECRET_WORDS.split(", ") {
                assert!(!text.contains(word), "{text}");
            }
        }
        let refusal = all.iter().find(|entry| entry.refused.is_some()).unwrap();
        assert!(
            refusal.explanation.contains("To pass:"),
            "{}",
            refusal.explanation
        );
        assert!(
            all[0].explanation.contains("EUR "),
            "{}",
            all[0].explanation
        );
    });
}

#[test]
fn a_rare_entry_of_a_long_timeline_costs_no_long_page() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        for _ in 0..1_000 {
            job.does(Operation::AddNote).await;
        }
        job.does(Operation::Triage).await;
        let client = stack.client(stack.tenant(), Who::Dispatcher);
        let filter = TimelineFilter {
            operation: vec![Operation::Triage],
            ..TimelineFilter::default()
        };
        let first = client.timeline_where(job.id(), &filter).await.unwrap();
        assert_eq!(
            first.items,
            [],
            "a thousand attempts were looked at, not more"
        );
        let rest = TimelineFilter {
            cursor: first.next_cursor,
            ..filter
        };
        assert!(rest.cursor.is_some());
        let second = client.timeline_where(job.id(), &rest).await.unwrap();
        assert_eq!(second.items.len(), 1);
        assert_eq!(second.items[0].position, 1_002);
        assert_eq!(second.next_cursor, None);
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
