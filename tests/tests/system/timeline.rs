//! The timeline is the ticket: whoever folds its changes holds exactly what the API answers.

use contracts::{Operation, TicketState, command::CommandClass};
use dispatch_tests::{
    job::{Job, SECRET_WORDS},
    stack::with_api,
    who::Who,
};
use serde_json::Value;
use sqlx::FromRow;
use strum::VariantArray;

#[test]
fn a_ticket_in_any_state_is_rebuilt_from_its_timeline() {
    with_api(async |stack| {
        for &state in TicketState::VARIANTS {
            let mut job = Job::at(&stack, stack.tenant(), state).await;
            job.does(Operation::AddNote).await;
            // A refusal is on the timeline and changes nothing.
            let body = job.body(Operation::Complete).await;
            let ask = stack.command(Who::Auditor, Operation::Complete, job.id(), &body);
            ask.send().await;
            let entries = job.timeline().await;
            assert_eq!(job.fold(&entries), Some(job.ticket().await), "{state}");
        }
    });
}

#[test]
fn a_whole_life_with_two_visits_is_rebuilt() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        use Operation::*;
        let life = [
            RecordProposal,
            Triage,
            ProposeSchedule,
            CustomerAwait,
            CustomerResume,
            ConfirmSchedule,
            Dispatch,
            EnRoute,
            CheckIn,
            RequestChange,
            DecideApproval,
            ReturnVisit,
            RecordSla,
            ProposeSchedule,
            ConfirmSchedule,
            Dispatch,
            CheckIn,
            Complete,
            QaVerify,
            GenerateInvoice,
            Close,
            AddNote,
        ];
        for operation in life {
            job.does(operation).await;
        }
        let ticket = job.ticket().await;
        let entries = job.timeline().await;
        assert_eq!(job.fold(&entries).as_ref(), Some(&ticket));
        let attempted: Vec<_> = entries.iter().map(|entry| entry.operation).collect();
        assert_eq!(attempted, [&[CreateTicket], life.as_slice()].concat());
        let changes = attempted
            .iter()
            // A change order's decision changes the job, and is a matter of its approval too.
            .filter(|o| o.class() == CommandClass::Change || **o == DecideApproval)
            .count();
        assert_eq!(ticket.version, u64::try_from(changes).unwrap());
        for (position, entry) in (1..).zip(&entries) {
            assert_eq!(entry.position, position);
            assert_eq!(entry.chain_hash.len(), 64);
        }
        for pair in entries.windows(2) {
            assert_eq!(pair[0].produced_version, pair[1].applied_to_version);
            assert_eq!(pair[0].after, pair[1].before);
            assert!(pair[0].at <= pair[1].at);
        }
    });
}

#[test]
fn every_page_continues_where_the_last_one_ended() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        for _ in 0..120 {
            job.does(Operation::AddNote).await;
        }
        let positions: Vec<_> = job.timeline().await.iter().map(|e| e.position).collect();
        assert_eq!(positions, (1..=121).collect::<Vec<_>>());
    });
}

#[derive(Debug, FromRow)]
struct Event {
    seq: Option<i64>,
    event_type: String,
    payload: Value,
    level: Option<Value>,
    pending: bool,
}

/// Nothing is set and nothing is stopped: as the bundle has it.
fn untouched() -> domain::Autonomy {
    domain::Autonomy {
        at: chrono::Utc::now(),
        stages: Vec::new(),
        switches: Vec::new(),
        ceiling: contracts::event::AutonomyMode::Auto,
        rules: policy::Bundle::starter().unwrap().autonomy().clone(),
    }
}

#[test]
fn the_workflow_hears_the_same_story() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::Closed).await;
        job.does(Operation::AddNote).await;
        let rows: Vec<Event> = sqlx::query_as(
            "select seq, event_type, payload, level, pending from outbox_events
             order by occurred_at, seq nulls last",
        )
        .fetch_all(stack.admin())
        .await
        .unwrap();
        let entries = job.timeline().await;
        let changes: Vec<_> = entries.iter().flat_map(|entry| &entry.changes).collect();
        assert_eq!(rows.len(), changes.len());
        let mut seqs = Vec::new();
        for (row, change) in rows.iter().zip(&changes) {
            assert_eq!(row.event_type, change.event.event_type().name());
            assert_eq!(row.payload, serde_json::to_value(&change.event).unwrap());
            // What is for the workflow is numbered, has the level after it, and waits.
            assert_eq!(row.pending, row.seq.is_some());
            assert_eq!(row.level.is_some(), row.seq.is_some());
            seqs.extend(row.seq);
        }
        let ticket = job.ticket().await;
        assert_eq!(
            seqs,
            (1..=i64::try_from(ticket.version).unwrap()).collect::<Vec<_>>()
        );
        let last = rows.iter().rfind(|row| row.seq.is_some());
        let last = last.and_then(|row| row.level.clone());
        assert_eq!(
            last,
            Some(serde_json::to_value(domain::level(&ticket, &untouched())).unwrap())
        );
        let snapshot = stack
            .client(job.tenant(), Who::Workflow)
            .snapshot(job.id())
            .await
            .unwrap();
        assert_eq!(snapshot.head_seq, ticket.version);
    });
}

#[test]
fn what_people_wrote_stands_in_notes_and_nowhere_else() {
    with_api(async |stack| {
        let mut job = Job::at(&stack, stack.tenant(), TicketState::ChangeRequested).await;
        job.does(Operation::AddNote).await;
        let tables: Vec<String> = sqlx::query_scalar(
            "select relname::text from pg_class
             where relnamespace = 'public'::regnamespace and relkind = 'r'",
        )
        .fetch_all(stack.admin())
        .await
        .unwrap();
        let words: Vec<&str> = SECRET_WORDS.split(", ").collect();
        let mut found = Vec::new();
        for table in tables {
            let sql = format!(
                "select count(*) from {table} t where t::text ilike any(array['%{}%'])",
                words.join("%', '%")
            );
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
                .fetch_one(stack.admin())
                .await
                .unwrap();
            if count > 0 {
                found.push((table, count));
            }
        }
        found.sort();
        // The directory has the name and the phone of each tenant's contact; the notes are those of
        // creation, change request and note.
        assert_eq!(found, [("contacts".to_owned(), 2), ("notes".to_owned(), 3)]);
    });
}
