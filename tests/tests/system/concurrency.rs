//! Many writers on one ticket: one winner per version, an answer for everybody, no fault of ours.

use std::collections::BTreeMap;

use contracts::{ErrorCode, Operation, TicketState};
use dispatch_tests::{
    http::{key, patiently},
    job::Job,
    stack::{ApiOptions, with_api_options},
    who::Who,
};
use futures::future::join_all;
use serde_json::{Value, json};

/// Rounds of 64 writers who all saw the same version.
const ROUNDS: u64 = 20;
const WRITERS: u64 = 64;

#[test]
fn of_sixty_four_writers_who_saw_a_version_one_wins() {
    let options = ApiOptions {
        pool_size: 16,
        ..ApiOptions::default()
    };
    with_api_options(options, async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let first = job.ticket().await.version;
        for round in 0..ROUNDS {
            let seen = first + round;
            let body = json!({ "priority": "P2", "details": { "floor": round } });
            let triage = || stack.command(Who::Dispatcher, Operation::Triage, job.id(), &body);
            let replies = join_all((0..WRITERS).map(|_| {
                let key = key();
                patiently(move || triage().key(&key).expecting(seen))
            }))
            .await;
            let mut outcomes = BTreeMap::<u16, u64>::new();
            for reply in &replies {
                *outcomes.entry(reply.status.as_u16()).or_default() += 1;
                match reply.status.as_u16() {
                    200 => assert_eq!(reply.receipt().produced_version, seen + 1),
                    _ => {
                        let problem = reply.problem(ErrorCode::VersionConflict);
                        assert_eq!(problem.meta["actual"], seen + 1);
                    }
                }
            }
            assert_eq!(
                outcomes,
                BTreeMap::from([(200, 1), (409, WRITERS - 1)]),
                "round {round}"
            );
        }
        assert_eq!(job.ticket().await.version, first + ROUNDS);
        let produced: Vec<i64> = sqlx::query_scalar(
            "select produced_version from audit_events where refused is null order by position",
        )
        .fetch_all(stack.admin())
        .await
        .unwrap();
        let expected: Vec<i64> = (1..=i64::try_from(first + ROUNDS).unwrap()).collect();
        assert_eq!(produced, expected);
    });
}

#[test]
fn writers_who_do_not_care_all_get_through() {
    with_api_options(ApiOptions::default(), async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
        let triage =
            |body: &Value| stack.command(Who::Dispatcher, Operation::Triage, job.id(), body);
        let replies = join_all((0..WRITERS).map(|n| {
            let body = json!({ "priority": "P2", "details": { "floor": n } });
            let key = key();
            patiently(move || triage(&body).key(&key))
        }))
        .await;
        let mut versions: Vec<u64> = replies
            .iter()
            .map(|r| r.receipt().produced_version)
            .collect();
        versions.sort_unstable();
        assert_eq!(versions, (3..3 + WRITERS).collect::<Vec<_>>());
        let seqs: Vec<i64> =
            sqlx::query_scalar("select seq from outbox_events where seq is not null order by seq")
                .fetch_all(stack.admin())
                .await
                .unwrap();
        assert_eq!(
            seqs,
            (1..=i64::try_from(WRITERS).unwrap() + 2).collect::<Vec<_>>()
        );
    });
}

#[test]
fn numbers_have_no_gaps_when_many_ask_at_once() {
    with_api_options(ApiOptions::default(), async |stack| {
        let jobs = join_all((0..8).map(|_| Job::at(&stack, stack.tenant(), TicketState::Verified)));
        let jobs = jobs.await;
        let invoices = join_all(jobs.into_iter().map(|mut job| async move {
            job.does(Operation::GenerateInvoice)
                .await
                .ticket
                .invoice
                .unwrap()
                .number
        }));
        let mut numbers = invoices.await;
        numbers.sort();
        let expected: Vec<_> = (1..=8).map(|n| format!("INV-{n:06}")).collect();
        assert_eq!(numbers, expected);
    });
}

#[test]
fn of_two_tickets_merged_into_each_other_one_stays() {
    with_api_options(ApiOptions::default(), async |stack| {
        for round in 0..ROUNDS {
            let one = Job::at(&stack, stack.tenant(), TicketState::New).await;
            let other = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
            let merge = |from: &Job, into: &Job| {
                let body = json!({ "into": into.id() });
                let (stack, from, key) = (stack.clone(), from.id(), key());
                async move {
                    let operation = Operation::Merge;
                    let send = || {
                        stack
                            .command(Who::Dispatcher, operation, Some(from), &body)
                            .key(&key)
                    };
                    patiently(send).await
                }
            };
            let (there, back) = tokio::join!(merge(&one, &other), merge(&other, &one));
            let (won, lost) = match there.status.as_u16() {
                200 => (there, back),
                _ => (back, there),
            };
            assert_eq!(won.receipt().ticket.state, TicketState::Cancelled);
            let problem = lost.problem(ErrorCode::InvalidField);
            assert_eq!(problem.errors[0].pointer, "/into", "round {round}");
            let states = [one.ticket().await.state, other.ticket().await.state];
            let ended = states.iter().filter(|state| state.is_terminal()).count();
            assert_eq!(ended, 1, "round {round}: {states:?}");
        }
    });
}

#[test]
fn a_ticket_is_not_merged_into_one_that_ends_meanwhile() {
    with_api_options(ApiOptions::default(), async |stack| {
        for round in 0..ROUNDS {
            let call = Job::at(&stack, stack.tenant(), TicketState::New).await;
            let stays = Job::at(&stack, stack.tenant(), TicketState::Triaged).await;
            let into = json!({ "into": stays.id() });
            let reason = json!({ "reason": "customer_request" });
            let (merge, cancel) = (key(), key());
            let (merged, cancelled) = tokio::join!(
                patiently(|| {
                    let operation = Operation::Merge;
                    let ask = stack.command(Who::Dispatcher, operation, call.id(), &into);
                    ask.key(&merge)
                }),
                patiently(|| {
                    let operation = Operation::Cancel;
                    let ask = stack.command(Who::Dispatcher, operation, stays.id(), &reason);
                    ask.key(&cancel)
                }),
            );
            cancelled.receipt();
            let order: Vec<String> = sqlx::query_scalar(
                "select operation from outbox_events o
                 join audit_events a using (tenant_id, command_id)
                 where a.operation in ('merge', 'cancel') and a.ticket_id = any($1) order by o.created_at",
            )
            .bind([call.id().as_uuid(), stays.id().as_uuid()])
            .fetch_all(stack.admin())
            .await
            .unwrap();
            match merged.status.as_u16() {
                200 => assert_eq!(order.first().map(String::as_str), Some("merge"), "{round}"),
                _ => {
                    let problem = merged.problem(ErrorCode::InvalidField);
                    assert_eq!(problem.errors[0].pointer, "/into");
                    assert_eq!(order, ["cancel"], "{round}");
                }
            }
        }
    });
}
