//! Random lives on the real thing, compared step by step with the state table.
//!
//! A step is any command, sent by somebody who may, with a body that is good where it is possible.
//! What the table forbids must be refused, what is accepted must lead where the table says, and
//! nothing else may happen: no other status, no lost or invented version.

use contracts::{
    ErrorCode, Operation, Problem, TicketState, command::CommandClass, ticket::Ticket,
};
use dispatch_tests::{
    job::{Job, ROUTED, example},
    stack::{Stack, with_api},
    who::Who,
};
use domain::ticket::table::{legal_operations, next_state};
use futures::{StreamExt, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

const LIVES: u64 = 200;
const MOST_STEPS: usize = 60;

/// How many steps were accepted and refused.
#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    ended: usize,
}

#[test]
fn random_lives_follow_the_state_table() {
    with_api(async |stack| {
        let tallies: Vec<Tally> = stream::iter(0..LIVES)
            .map(|seed| live(&stack, seed))
            .buffer_unordered(8)
            .collect()
            .await;
        let sum = |count: fn(&Tally) -> usize| tallies.iter().map(count).sum::<usize>();
        let (accepted, refused) = (sum(|t| t.accepted), sum(|t| t.refused));
        // A walk that gets nowhere, or that is never refused, says little.
        assert!(accepted > 10 * tallies.len(), "{accepted} accepted");
        assert!(refused > 5 * tallies.len(), "{refused} refused");
        assert!(
            sum(|t| t.ended) > tallies.len() / 4,
            "too few came to an end"
        );
    });
}

async fn live(stack: &Stack, seed: u64) -> Tally {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut job = Job::at(stack, stack.tenant(), TicketState::New).await;
    let mut ticket = job.ticket().await;
    let mut tally = Tally::default();
    for step in 0..rng.random_range(10..=MOST_STEPS) {
        let operation = choose(&mut rng, &ticket);
        let possible = next_state(operation, ticket.state);
        match attempt(stack, &mut job, operation).await {
            Ok(after) => {
                let place = format!("life {seed}, step {step}: {operation} in {}", ticket.state);
                // A change order that ends lets the work go on.
                let ended = ticket.open_change.is_some() && after.open_change.is_none();
                let waiting = operation.class() == CommandClass::Waiting;
                let possible = match waiting && ended {
                    true => Some(TicketState::OnSite),
                    false => possible,
                };
                assert_eq!(Some(after.state), possible, "{place}");
                let rise =
                    u64::from(operation.class() == CommandClass::Change || (waiting && ended));
                assert_eq!(after.version, ticket.version + rise, "{place}");
                ticket = after;
                tally.accepted += 1;
            }
            Err(problem) => {
                let place = format!(
                    "life {seed}, step {step}: {operation} in {}: {problem:?}",
                    ticket.state
                );
                assert!(expected(problem.code, operation, &ticket), "{place}");
                // Policy is asked first; whoever passes it meets the table.
                let by_policy = problem.code.status() == 403;
                // Who decides a second time learns who was first, wherever the ticket is.
                let by_table = matches!(
                    problem.code,
                    ErrorCode::IllegalTransition | ErrorCode::AlreadyDecided
                );
                assert!(possible.is_some() || by_policy || by_table, "{place}");
                assert_eq!(job.ticket().await, ticket, "{place}");
                tally.refused += 1;
            }
        }
    }
    let entries = job.timeline().await;
    assert_eq!(job.fold(&entries), Some(ticket.clone()), "life {seed}");
    tally.ended += usize::from(ticket.state.is_terminal());
    tally
}

/// Mostly what leads on, sometimes anything.
fn choose(rng: &mut StdRng, ticket: &Ticket) -> Operation {
    let routed = |operation: &Operation| ROUTED.contains(operation);
    let anything: Vec<_> = ROUTED
        .iter()
        .copied()
        .filter(|operation| *operation != Operation::CreateTicket)
        // A breach needs a clock that runs.
        .filter(|o| *o != Operation::RecordSla || ticket.sla.iter().any(|c| c.due_at().is_some()))
        .collect();
    let decides = ticket.open_change.iter().map(|_| Operation::DecideApproval);
    let ahead: Vec<_> = legal_operations(ticket, None)
        .into_iter()
        .filter(routed)
        .filter(|operation| ![Operation::Cancel, Operation::Merge].contains(operation))
        .chain(decides)
        .collect();
    let from = if rng.random_bool(0.7) && !ahead.is_empty() {
        &ahead
    } else {
        &anything
    };
    *from.choose(rng).expect("there is always a note to write")
}

/// Whether a well-meant command of somebody who may can be refused so.
fn expected(code: ErrorCode, operation: Operation, ticket: &Ticket) -> bool {
    let visit = ticket.current_visit();
    let unassigned = visit.is_none_or(|visit| visit.technician_id.is_none());
    match code {
        ErrorCode::IllegalTransition
        | ErrorCode::PolicyDenied
        | ErrorCode::InvalidField
        | ErrorCode::AlreadyDecided => true,
        // No approval was ever asked for, or it is not what it was.
        ErrorCode::NotFound => operation.path().starts_with("/approvals/"),
        // Somebody else asked for it, or nobody may.
        ErrorCode::Forbidden if operation == Operation::AmendApproval => true,
        // A technician before one is sent.
        ErrorCode::Forbidden => unassigned && example(operation).who == Who::Technician,
        _ => false,
    }
}

async fn attempt(
    stack: &Stack,
    job: &mut Job,
    operation: Operation,
) -> Result<Ticket, Box<Problem>> {
    let body = job.body(operation).await;
    let client = stack.client(job.tenant(), example(operation).who);
    match job
        .tries(&client, operation, &body, &Default::default())
        .await
    {
        Ok(receipt) => Ok(receipt.ticket),
        Err(error) => match error.problem() {
            Some(problem) => Err(Box::new(problem.clone())),
            None => panic!("{operation}: {error}"),
        },
    }
}
