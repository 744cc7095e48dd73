//! Names, phones, streets and what people wrote stand in two tables, and nowhere else.

use contracts::{Operation, TicketState};
use dispatch_tests::{
    agreement,
    fleet::{Fleet, ProcessRole, with_fleet},
    job::{Job, SECRET_WORDS},
    wait::{self, BOUND},
    who::Who,
};
use sqlx::AssertSqlSafe;

/// Begins each canary: a search for it finds them all.
const CANARY: &str = "Zanzibar";

/// The tables that may hold it.
const ALLOWED: [&str; 3] = ["comms_contents", "contacts", "notes"];

/// In which tables, and how often, a text stands; searched in every column of every table.
async fn tables_with(fleet: &Fleet, text: &str) -> Vec<(String, i64)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables
         where table_schema = 'public' and table_type = 'BASE TABLE' order by 1",
    )
    .fetch_all(fleet.admin())
    .await
    .unwrap();
    let mut found = Vec::new();
    for table in tables {
        let sql = format!("select count(*) from \"{table}\" t where position($1 in t::text) > 0");
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(text)
            .fetch_one(fleet.admin())
            .await
            .unwrap();
        if rows > 0 {
            found.push((table, rows));
        }
    }
    found
}

#[test]
fn no_personal_data_leaves_its_tables() {
    with_fleet(async |fleet| {
        // A canary in each field of each contact, those of the technicians too.
        let sql = format!(
            "update contacts set name = '{CANARY} name', phone = '{CANARY} phone',
                 email = '{CANARY}@mail.test', street = '{CANARY} street'"
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(fleet.admin())
            .await
            .unwrap();
        for role in ProcessRole::ALL {
            fleet.start(role, &[("RUST_LOG", "debug")]);
        }
        fleet.serving().await;
        fleet.promote().await;

        // And in each field that takes a sentence: the examples of the commands say SECRET_WORDS,
        // so a canary stands in for it.
        let mut job = Job::new(&fleet, fleet.tenant());
        let with_canary = |body: serde_json::Value| {
            serde_json::from_str(&body.to_string().replace(SECRET_WORDS, CANARY)).unwrap()
        };
        let mut sentences = 0;
        for operation in [
            Operation::CreateTicket,
            Operation::AddNote,
            Operation::AddEvidence,
            Operation::CommsOutbound,
            Operation::AttachMessage,
            Operation::Triage,
            Operation::ProposeSchedule,
            Operation::ConfirmSchedule,
            Operation::Dispatch,
            Operation::Unassign,
            Operation::Dispatch,
            Operation::EnRoute,
            Operation::NoAccess,
            Operation::ProposeSchedule,
            Operation::ConfirmSchedule,
            Operation::Reschedule,
            Operation::ConfirmSchedule,
            Operation::Dispatch,
            Operation::CheckIn,
            Operation::RequestChange,
            Operation::DecideApproval,
            Operation::ReturnVisit,
            Operation::ProposeSchedule,
            Operation::ConfirmSchedule,
            Operation::Dispatch,
            Operation::CheckIn,
            Operation::Complete,
            Operation::QaVerify,
            Operation::GenerateInvoice,
            Operation::Close,
        ] {
            let body: serde_json::Value = with_canary(job.body(operation).await);
            sentences += body.to_string().matches(CANARY).count();
            job.sends(operation, &body).await;
        }
        assert_eq!(
            sentences, 4,
            "description, note, message, words of the technician"
        );
        // Refusals quote what they refuse: a sentence in a field that takes none, one too long.
        let id = Some(job.id());
        for body in [
            serde_json::json!({ "text": CANARY.repeat(1000) }),
            serde_json::json!({ "text": "x", "colour": CANARY }),
            serde_json::json!({ "text": { "inner": CANARY } }),
        ] {
            let reply = fleet
                .command(Who::Dispatcher, Operation::AddNote, id, &body)
                .send()
                .await;
            assert!(reply.status.is_client_error(), "{}", reply.text());
        }
        let body = serde_json::json!({ "reason": CANARY });
        let open = Job::at(&fleet, fleet.tenant(), TicketState::Triaged).await;
        let ask = fleet.command(Who::Dispatcher, Operation::Cancel, Some(open.id()), &body);
        assert!(ask.send().await.status.is_client_error());
        fleet.settle().await;

        let found = tables_with(&fleet, CANARY).await;
        let names: Vec<_> = found.iter().map(|(table, _)| table.as_str()).collect();
        assert_eq!(names, ALLOWED, "{found:?}");
        // What a stranger wrote to us stands in one place too; the note is the other ticket's.
        let inbound = tables_with(&fleet, SECRET_WORDS).await;
        let once = |table: &str| (table.to_owned(), 1);
        assert_eq!(inbound, [once("comms_contents"), once("notes")]);
        // The search would have found it: it finds the ticket's id, which is everywhere.
        let id = job.id().to_string();
        let everywhere = [
            tables_with(&fleet, &id).await,
            tables_with(&fleet, &job.id().as_uuid().to_string()).await,
        ]
        .concat();
        for table in [
            "audit_events",
            "idempotency_keys",
            "outbox_events",
            "policy_decisions",
        ] {
            assert!(
                everywhere.iter().any(|(name, _)| name == table),
                "{table}: {everywhere:?}"
            );
        }

        let key = (fleet.tenant().id, job.id());
        for run in fleet.namespace().runs(key).await {
            let history = fleet.namespace().history_of(key, &run).await;
            let text = serde_json::to_string(&history).unwrap();
            let decoded = dispatch_tests::namespace::payload_texts(&text);
            assert!(decoded.contains(&id) && decoded.contains("emergency_glass"));
            assert!(!text.contains(CANARY) && !decoded.contains(CANARY));
        }
        let details = fleet.namespace().describe(key).await.unwrap();
        assert!(!format!("{details:?}").contains(CANARY));

        for role in ProcessRole::ALL {
            wait::until("a log", BOUND, async || match fleet.log(role).len() {
                0 => Err("empty"),
                _ => Ok(()),
            })
            .await;
            let log = fleet.log(role);
            let line = log.lines().find(|line| line.contains(CANARY));
            assert_eq!(line, None, "the log of {role:?}");
        }
        assert!(
            fleet.log(ProcessRole::Relay).contains(&id),
            "the relay logs what it sends"
        );
        agreement::all_agree(fleet.admin(), fleet.namespace())
            .await
            .unwrap();
    });
}
