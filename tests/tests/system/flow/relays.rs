//! Several relays at once, also when one of them is wrong about what is its own; and events that
//! will never be accepted.

use std::{collections::BTreeSet, time::Duration};

use contracts::{Operation, TicketState};
use dispatch_tests::{
    fleet::{Fleet, ProcessRole, with_fleet},
    flow::{Flow, FlowOptions, quick, with_flow},
    job::Job,
    pooler::Pooler,
    wait::{self, BOUND},
};
use relay::{RelayConfig, Tuning};
use serde_json::Value;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use tokio_util::sync::CancellationToken;

/// The relays that sent the signals of these tickets.
async fn senders(flow: &Flow, jobs: &[Job]) -> BTreeSet<String> {
    let mut senders = BTreeSet::new();
    for job in jobs {
        for event in flow.namespace().history(flow.key(job.id())).await {
            if let Some(Attributes::WorkflowExecutionSignaledEventAttributes(it)) = event.attributes
            {
                senders.insert(it.identity);
            }
        }
    }
    senders
}

async fn holders(flow: &Flow) -> Vec<(String, i64)> {
    sqlx::query_as(
        "select holder::text, count(*) from relay_leases
         where holder is not null and expires_at > clock_timestamp() group by holder order by 1",
    )
    .fetch_all(flow.admin())
    .await
    .unwrap()
}

async fn all_held_by(flow: &Flow, relays: usize) {
    wait::until("leases", BOUND, async || {
        let holders = holders(flow).await;
        let held: i64 = holders.iter().map(|(_, n)| n).sum();
        if (holders.len(), held) == (relays, 64) {
            Ok(())
        } else {
            Err(holders)
        }
    })
    .await;
}

#[test]
fn two_relays_share_the_work() {
    with_flow(FlowOptions::default(), async |flow| {
        flow.start_relay();
        all_held_by(&flow, 2).await;
        let mut jobs: Vec<_> = (0..12).map(|_| flow.job()).collect();
        for operation in [
            Operation::CreateTicket,
            Operation::Triage,
            Operation::ProposeSchedule,
        ] {
            for job in &mut jobs {
                job.does(operation).await;
            }
        }
        flow.settle().await;
        assert_eq!(senders(&flow, &jobs).await.len(), 2);
    });
}

#[test]
fn a_relay_that_lost_its_leases_and_does_not_know_it_does_no_harm() {
    let options = FlowOptions {
        relay: false,
        ..FlowOptions::default()
    };
    with_flow(options, async |flow| {
        // The first believes in its leases for ten minutes, and does not look at them before two.
        flow.start_relay_with(RelayConfig {
            tuning: Tuning {
                lease_ttl: Duration::from_secs(600),
                ..quick()
            },
            ..flow.relay_config()
        });
        all_held_by(&flow, 1).await;
        let [(believer, _)] = &holders(&flow).await[..] else {
            panic!("one relay holds everything");
        };
        sqlx::raw_sql("update relay_leases set expires_at = clock_timestamp(); delete from relays")
            .execute(flow.admin())
            .await
            .unwrap();
        flow.start_relay();
        wait::until("theft", BOUND, async || {
            let holders = holders(&flow).await;
            match &holders[..] {
                [(holder, 64)] if holder != believer => Ok(()),
                _ => Err(holders),
            }
        })
        .await;

        // Both deliver the same rows now.
        let (mut jobs, mut both) = (Vec::new(), BTreeSet::new());
        while both.len() < 2 {
            assert!(jobs.len() < 40, "only one of them delivers: {both:?}");
            let job = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
            flow.agreed(job.id()).await;
            jobs.push(job);
            both = senders(&flow, &jobs).await;
        }
        assert!(
            both.iter().any(|sender| sender.contains(believer.as_str())),
            "{both:?}"
        );
        flow.settle().await;
        for job in &jobs {
            let view = flow.agreed(job.id()).await;
            assert_eq!((view.applied_seq, view.healed), (4, 0));
        }
    });
}

#[test]
fn a_relay_behind_a_pooler_asks_instead_of_listening() {
    let options = FlowOptions {
        relay: false,
        ..FlowOptions::default()
    };
    with_flow(options, async |flow| {
        let pooler = Pooler::start(3, &[("server_round_robin", "1")]).await;
        let config = || RelayConfig {
            database_url: pooler.through(&flow.database().addresses.relay),
            ..flow.relay_config()
        };
        for relays in 1..=2 {
            flow.start_relay_with(config());
            all_held_by(&flow, relays).await;
        }
        let mut jobs = Vec::new();
        for _ in 0..6 {
            jobs.push(Job::at(&flow, flow.tenant(), TicketState::Scheduled).await);
        }
        for job in &jobs {
            let view = flow.agreed(job.id()).await;
            assert_eq!((view.applied_seq, view.healed), (4, 0));
        }
        // Nobody left an order to listen on a connection that others get.
        let (connections, listening): (i64, i64) = sqlx::query_as(
            "select count(*), count(*) filter (where query ilike 'listen%')
               from pg_stat_activity where datname = current_database()
                and usename = 'dispatch_relay'",
        )
        .fetch_one(flow.admin())
        .await
        .unwrap();
        assert!((1..=3).contains(&connections), "{connections}");
        assert_eq!(listening, 0);
        flow.settle().await;
        flow.stop_relays().await;
        pooler.end().await;

        let old = Pooler::start(1, &[("max_prepared_statements", "0")]).await;
        let config = RelayConfig {
            database_url: old.through(&flow.database().addresses.relay),
            ..flow.relay_config()
        };
        let refused = relay::run(config, CancellationToken::new()).await;
        let refused = format!("{:?}", refused.unwrap_err());
        assert!(refused.contains("max_prepared_statements"), "{refused}");
        old.end().await;
        flow.start_relay();
    });
}

/// The conversation of the ticket's first event.
async fn conversation_of(fleet: &Fleet, job: &Job) -> String {
    sqlx::query_scalar("select correlation_id from outbox_events where ticket_id = $1 and seq = 1")
        .bind(job.id().as_uuid())
        .fetch_one(fleet.admin())
        .await
        .unwrap()
}

#[test]
fn an_event_that_is_not_accepted_is_put_aside_in_sight_and_the_others_go_on() {
    with_fleet(async |fleet| {
        fleet.start(ProcessRole::Api, &[]);
        fleet.serving().await;
        let mut bad = Job::at(&fleet, fleet.tenant(), TicketState::New).await;
        bad.does(Operation::Triage).await;
        let other = Job::at(&fleet, fleet.tenant(), TicketState::Triaged).await;
        let conversation = conversation_of(&fleet, &bad).await;
        let spoil = "update outbox_events set correlation_id = $2 where ticket_id = $1 and seq = 1";
        let spoilt = sqlx::query(spoil)
            .bind(bad.id().as_uuid())
            .bind("two words")
            .execute(fleet.admin());
        spoilt.await.unwrap();
        fleet.kill(ProcessRole::Api);
        fleet.start_all().await;

        let pool = sqlx::PgPool::connect(&fleet.database().addresses.relay)
            .await
            .unwrap();
        let parked = wait::until("parking", BOUND, async || {
            let parked = relay::admin::parked_list(&pool).await.unwrap();
            if parked.is_empty() {
                Err("nothing is parked")
            } else {
                Ok(parked)
            }
        })
        .await;
        assert_eq!(parked.len(), 1);
        assert_eq!((parked[0].ticket_id, parked[0].seq), (bad.id(), 1));
        assert_eq!((parked[0].waiting_behind, parked[0].attempts), (1, 5));
        assert!(
            parked[0].reason.contains("correlation_id"),
            "{}",
            parked[0].reason
        );
        let (code, text) = fleet.run("relay parked list --json").await;
        assert_eq!(code, Some(0));
        let listed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(listed[0]["ticket_id"], serde_json::json!(bad.id()));
        assert_eq!(listed[0]["waiting_behind"], 1);
        let (_, text) = fleet.run("relay parked list").await;
        assert!(
            text.contains(&bad.id().to_string()) && text.contains("replay"),
            "{text}"
        );

        // The other ticket is not held up, and new events of it are not either.
        let key = (fleet.tenant().id, other.id());
        let mut other = other;
        other.does(Operation::ProposeSchedule).await;
        wait::until("the other ticket", BOUND, || {
            dispatch_tests::agreement::agrees(fleet.admin(), fleet.namespace(), key)
        })
        .await;
        assert_eq!(
            fleet
                .namespace()
                .run_id((fleet.tenant().id, bad.id()))
                .await,
            None
        );

        // The cause is mended: it goes out, and with it what waited behind it.
        let mend = sqlx::query(spoil)
            .bind(bad.id().as_uuid())
            .bind(conversation);
        mend.execute(fleet.admin()).await.unwrap();
        let (code, text) = fleet
            .run(&format!("relay parked replay --ticket {}", bad.id()))
            .await;
        assert_eq!(code, Some(0));
        assert!(text.starts_with("1 event"), "{text}");
        fleet.settle().await;
        assert_eq!(relay::admin::parked_list(&pool).await.unwrap(), []);
        let (_, text) = fleet.run("relay parked list").await;
        assert_eq!(text, "nothing is parked\n");
        pool.close().await;
    });
}
