//! `kill -9` of the real processes: at places that were chosen with care, and at random.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use client::{CallOptions, RetryPolicy};
use contracts::{Operation, TicketState, command::CommandReceipt};
use dispatch_tests::{
    fleet::{Fleet, ProcessRole, with_fleet},
    gate::{Gate, Passage},
    http::key,
    job::{Job, example},
    namespace::signals,
    wait::{self, BOUND},
    who::Who,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use store::verify::Acknowledged;

const SIGABRT: i32 = 6;

/// The failpoint struck, and nothing else.
async fn struck(fleet: &Fleet, role: ProcessRole) {
    let status = fleet.ended(role).await;
    assert_eq!(
        status.signal(),
        Some(SIGABRT),
        "{status}: {}",
        fleet.log(role)
    );
    assert!(fleet.log(role).contains("failpoint reached"));
}

/// How often a key took effect.
async fn effects(fleet: &Fleet, key: &str) -> i64 {
    sqlx::query_scalar(
        "select count(*) from audit_events where request_id = $1 and refused is null",
    )
    .bind(key)
    .fetch_one(fleet.admin())
    .await
    .unwrap()
}

#[test]
fn a_relay_killed_between_signal_and_mark_sends_again_and_nothing_happens_twice() {
    with_fleet(async |fleet| {
        fleet.start(ProcessRole::Api, &[]);
        fleet.start(ProcessRole::Worker, &[]);
        fleet.start(
            ProcessRole::Relay,
            &[("DISPATCH_FAILPOINT", "after-signal-before-mark:abort:1")],
        );
        fleet.serving().await;
        fleet.promote().await;
        let job = Job::at(&fleet, fleet.tenant(), TicketState::Triaged).await;
        struck(&fleet, ProcessRole::Relay).await;
        let pending: i64 = sqlx::query_scalar("select count(*) from outbox_events where pending")
            .fetch_one(fleet.admin())
            .await
            .unwrap();
        assert!(pending >= 1, "it was marked before the relay was killed");
        let workflow = (fleet.tenant().id, job.id());
        assert!(!signals(&fleet.namespace().history(workflow).await).is_empty());

        fleet.start(ProcessRole::Relay, &[]);
        fleet.settle().await;
        let view = fleet.namespace().view(workflow).await.unwrap();
        assert_eq!((view.applied_seq, view.healed), (2, 0));
        // Its key is for a month: it has heard of that with the answers to its calls.
        wait::until("a warning of the worker", BOUND, async || {
            let log = fleet.log(ProcessRole::Worker);
            log.contains("API key ends soon").then_some(()).ok_or(log)
        })
        .await;
    });
}

#[test]
fn a_command_that_was_done_when_the_api_was_killed_is_answered_at_the_next_try() {
    with_fleet(async |fleet| {
        // The third command is committed, and its caller hears nothing of it.
        fleet.start(
            ProcessRole::Api,
            &[("DISPATCH_FAILPOINT", "after-commit-before-reply:abort:3")],
        );
        fleet.serving().await;
        let mut job = Job::at(&fleet, fleet.tenant(), TicketState::Triaged).await;
        let receipt = interrupted(&fleet, &mut job, Operation::ProposeSchedule).await;
        assert_eq!(receipt.produced_version, 3);

        // The next one dies before its commit: nothing of it is there, and the try after does it.
        fleet.kill(ProcessRole::Api);
        fleet.start(
            ProcessRole::Api,
            &[("DISPATCH_FAILPOINT", "before-commit:abort:1")],
        );
        fleet.serving().await;
        let receipt = interrupted(&fleet, &mut job, Operation::ConfirmSchedule).await;
        assert_eq!(receipt.produced_version, 4);

        fleet.start(ProcessRole::Relay, &[]);
        fleet.start(ProcessRole::Worker, &[]);
        fleet.promote().await;
    });
}

/// Sends a command during which dispatch-api dies; it is started again meanwhile. One effect, and
/// the same answer for ever.
async fn interrupted(fleet: &Arc<Fleet>, job: &mut Job, operation: Operation) -> CommandReceipt {
    let key = key();
    let body = job.body(operation).await;
    let patient = fleet
        .client(fleet.tenant(), example(operation).who)
        .with_retry(RetryPolicy::default());
    let options = CallOptions::with_key(&key);
    let (told, ()) = tokio::join!(job.tries(&patient, operation, &body, &options), async {
        struck(fleet, ProcessRole::Api).await;
        fleet.start(ProcessRole::Api, &[]);
    });
    let receipt = told.unwrap();
    assert_eq!(effects(fleet, &key).await, 1);
    let again = fleet
        .command(example(operation).who, operation, Some(job.id()), &body)
        .key(&key);
    let again = again.send().await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.receipt(), receipt);
    assert_eq!(effects(fleet, &key).await, 1);
    receipt
}

#[test]
fn a_worker_killed_in_an_activity_does_it_once_all_the_same() {
    with_fleet(async |fleet| {
        let gate = Gate::start(fleet.address()).await;
        fleet.reach_api_through(gate.address());
        fleet.start_all().await;
        gate.set(Passage::NoAnswersToPosts);
        let mut job = Job::new(&fleet, fleet.tenant());
        job.does(Operation::CreateTicket).await;
        let proposals = async || -> i64 {
            sqlx::query_scalar("select count(*) from proposals where ticket_id = $1")
                .bind(job.id().as_uuid())
                .fetch_one(fleet.admin())
                .await
                .unwrap()
        };
        // Done in the database, not yet for the worker.
        wait::until("the effect", BOUND, async || match proposals().await {
            0 => Err("no proposal"),
            n => Ok(n),
        })
        .await;
        assert!(fleet.kill(ProcessRole::Worker));
        gate.set(Passage::Open);
        fleet.start(ProcessRole::Worker, &[]);
        fleet.settle().await;
        assert_eq!(proposals().await, 1);
        let view = fleet
            .namespace()
            .view((fleet.tenant().id, job.id()))
            .await
            .unwrap();
        assert_eq!(view.proposed.len(), 1);
    });
}

/// What a caller was told about one command.
struct Told {
    who: Who,
    operation: Operation,
    body: Value,
    key: String,
    receipt: CommandReceipt,
    tries: u32,
}

const LIFE: &[Operation] = &[
    Operation::CreateTicket,
    Operation::AddNote,
    Operation::Triage,
    Operation::ProposeSchedule,
    Operation::ConfirmSchedule,
    Operation::Dispatch,
    Operation::EnRoute,
    Operation::CheckIn,
    Operation::Complete,
    Operation::QaVerify,
    Operation::GenerateInvoice,
    Operation::Close,
];

const KILLS: usize = 5;
/// How long a caller repeats a command that is not answered.
const PATIENCE: Duration = Duration::from_secs(60);
const DRIVERS: u64 = 5;
const TICKETS_EACH: usize = 4;

/// Walks tickets through their lives until the killing is over, at least so many, and repeats each
/// command with its key until it is answered.
async fn drive(fleet: Arc<Fleet>, killers: Arc<AtomicUsize>, seed: u64) -> Vec<Told> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut ledger = Vec::new();
    let mut tickets = 0;
    while tickets < TICKETS_EACH || killers.load(SeqCst) > 0 {
        tickets += 1;
        let mut job = Job::new(&fleet, fleet.tenant());
        for &operation in LIFE {
            let body = job.body(operation).await;
            let (who, key) = (example(operation).who, key());
            let client = fleet.client(fleet.tenant(), who);
            let options = CallOptions::with_key(&key);
            let (begun, mut tries) = (Instant::now(), 0);
            let receipt = loop {
                tries += 1;
                match job.tries(&client, operation, &body, &options).await {
                    Ok(receipt) => break receipt,
                    Err(error) if error.is_retryable() && begun.elapsed() < PATIENCE => {}
                    Err(error) => panic!("{operation}: {error}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            ledger.push(Told {
                who,
                operation,
                body,
                key,
                receipt,
                tries,
            });
            // People think between two steps; without this the load would be over in a second.
            tokio::time::sleep(Duration::from_millis(random.random_range(10..250))).await;
        }
    }
    ledger
}

/// Kills a process so many times, each time when it has work to do.
async fn kill_again_and_again(fleet: Arc<Fleet>, role: ProcessRole, killers: Arc<AtomicUsize>) {
    let mut random = StdRng::seed_from_u64(role as u64 + 41);
    for _ in 0..KILLS {
        match role {
            ProcessRole::Api => fleet.serving().await,
            ProcessRole::Relay => {
                wait::until("the relay's leases", BOUND, async || {
                    let held: i64 = sqlx::query_scalar(
                        "select count(*) from relay_leases where expires_at > clock_timestamp()
                        and holder is not null",
                    )
                    .fetch_one(fleet.admin())
                    .await
                    .map_err(|error| error.to_string())?;
                    if held == 64 {
                        Ok(())
                    } else {
                        Err(format!("{held} leases"))
                    }
                })
                .await
            }
            ProcessRole::Worker | ProcessRole::Comms => {}
        }
        // The moment is the point of this test, so it is drawn, from a seed.
        tokio::time::sleep(Duration::from_millis(random.random_range(200..1500))).await;
        assert!(
            fleet.kill(role),
            "{role:?} ended by itself: {}",
            fleet.log(role)
        );
        fleet.start(role, &[]);
    }
    killers.fetch_sub(1, SeqCst);
}

#[test]
fn killed_at_random_times_nothing_is_lost_and_nothing_happens_twice() {
    with_fleet(async |fleet| {
        fleet.start_all().await;
        let killers = Arc::new(AtomicUsize::new(ProcessRole::ALL.len()));
        let killing = ProcessRole::ALL
            .map(|role| tokio::spawn(kill_again_and_again(fleet.clone(), role, killers.clone())));
        let driving: Vec<_> = (0..DRIVERS)
            .map(|seed| tokio::spawn(drive(fleet.clone(), killers.clone(), seed)))
            .collect();
        for killer in killing {
            killer.await.unwrap();
        }
        let mut ledger = Vec::new();
        for driver in driving {
            ledger.extend(driver.await.unwrap());
        }
        fleet.serving().await;
        fleet.settle().await;

        // It was hurt, or this proves nothing, but not beaten: most commands were answered at once.
        assert!(ledger.len() >= DRIVERS as usize * TICKETS_EACH * LIFE.len());
        let at_once = ledger.iter().filter(|told| told.tries == 1).count();
        assert!(at_once < ledger.len(), "nobody noticed anything");
        assert!(
            at_once * 10 >= ledger.len() * 7,
            "{at_once} of {} at once",
            ledger.len()
        );

        // What callers were told is in the database, once, and nothing else is.
        let acknowledged: Vec<_> = ledger
            .iter()
            .map(|told| Acknowledged {
                tenant_id: fleet.tenant().id,
                command_id: told.receipt.command_id,
                status: if told.operation == Operation::CreateTicket {
                    201
                } else {
                    200
                },
                body: None,
            })
            .collect();
        let untrue = store::verify::receipts(&fleet.database().maintenance, &acknowledged).await;
        assert_eq!(untrue.unwrap(), []);
        let effects: i64 = sqlx::query_scalar(
            "select count(*) from audit_events
              where refused is null and actor_kind = 'person' and tenant_id = $1",
        )
        .bind(fleet.tenant().id.as_uuid())
        .fetch_one(fleet.admin())
        .await
        .unwrap();
        assert_eq!(usize::try_from(effects), Ok(ledger.len()));
        let mut versions: BTreeMap<_, u64> = BTreeMap::new();
        for told in &ledger {
            let id = told.receipt.ticket.id;
            let version = versions.entry(id).or_default();
            assert_eq!(
                told.receipt.applied_to_version, *version,
                "{id}: a change came in between"
            );
            *version = told.receipt.produced_version;
            let target = (told.operation != Operation::CreateTicket).then_some(id);
            let ask = fleet
                .command(told.who, told.operation, target, &told.body)
                .key(&told.key);
            assert_eq!(ask.send().await.receipt(), told.receipt);
        }
    });
}
