//! R14: one hot ticket, 64 clients, all of which want to change it, against `pgbench` with 64
//! clients on a table of one row. Two ways, each against its like:
//!
//! - *in line*: no client says which version it has seen, and each waits for its turn. The command
//!   takes the row's lock, reads it, and writes the next version only over the one that it read; so
//!   does the script, in as many round trips.
//! - *by version*: each client names the version that it saw last, and learns the present one when
//!   it comes too late. The script reads the version and then sets the next one where it still is
//!   that. Only what succeeded counts, on both sides. A refusal of ours is an attempt on record: it
//!   writes its decision and its link of the ticket's audit chain, with the ticket locked; one of
//!   `pgbench` writes nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use contracts::TicketId;
use futures::future::try_join_all;
use sqlx::PgPool;
use store::bootstrap::APP;
use uuid::Uuid;

use crate::{
    bench::Bench,
    http::{Http, ticket_of},
    life::{self, Step},
    pgbench::Pgbench,
    report::{Good, Line, number},
    servers::Database,
    service::Service,
    stats::{Rounds, Spread, interleaved},
};

const CLIENTS: usize = 64;
const IN_LINE: &str = "\
begin;
select version as v from bench_hot where id = 1 for no key update \\gset
update bench_hot set version = :v + 1 where id = 1 and version = :v;
commit;
";
const BY_VERSION: &str = "\
select version as v from bench_hot where id = 1 \\gset
update bench_hot set version = :v + 1 where id = 1 and version = :v;
";

/// What all clients together got.
#[derive(Debug, Clone, Copy, Default)]
struct Answers {
    changed: u64,
    conflicts: u64,
    /// 5xx.
    failed: u64,
}

/// Measures both ways.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let ours = bench.database("r14_ours").await?;
    let theirs = bench.unchecked_database("r14_pgbench").await?;
    make_row(&theirs.admin).await?;
    let service = Service::start(&ours, CLIENTS as u32).await?;
    // The time of `pgbench` includes that it connects.
    let time = bench.settings.round_time() + Duration::from_secs(3);
    let change = life::retriage()?;
    let mut lines = Vec::new();
    let mut failed = 0;
    for (what, by_version, script) in [
        ("in line", false, IN_LINE),
        ("by version", true, BY_VERSION),
    ] {
        let ticket = created(&service).await?;
        let pgbench = Pgbench::new(&bench.servers, &theirs.addresses.app, script)?;
        let pgbench = tokio::sync::Mutex::new(pgbench);
        change_it(&service, ticket, &change, by_version, time).await?;
        pgbench.lock().await.run(CLIENTS, time).await?;
        let [changes, attempts] = interleaved(
            &format!("R14 {what} (changes/s, attempts/s)"),
            bench.settings.rounds,
            async |_| {
                let begun = Instant::now();
                let answers = change_it(&service, ticket, &change, by_version, time).await?;
                let seconds = begun.elapsed().as_secs_f64();
                failed += answers.failed;
                let all = answers.changed + answers.conflicts + answers.failed;
                Ok([answers.changed as f64, all as f64].map(|count| count / seconds))
            },
            async |_| {
                let before = version(&theirs).await?;
                let ran = pgbench.lock().await.run(CLIENTS, time).await?;
                let changed = (version(&theirs).await? - before) as f64;
                let seconds = ran.scripts as f64 / ran.scripts_per_second;
                Ok([changed / seconds, ran.scripts_per_second])
            },
        )
        .await?;
        lines.push(line(what, &changes, &attempts));
    }
    service.stop().await?;
    ours.close().await;
    theirs.close().await;
    lines.push(Line {
        id: "R14",
        what: "5xx among all these answers".to_owned(),
        ours: failed.to_string(),
        baseline: "–".to_owned(),
        figure: Spread::of([failed as f64]),
        unit: "",
        good: Good::AtMost,
        floor: 0.0,
        goal: 0.0,
        notes: Vec::new(),
    });
    Ok(lines)
}

fn line(what: &str, changes: &Rounds, attempts: &Rounds) -> Line {
    let of = |changes: f64, attempts: f64| {
        let per_change = attempts / changes;
        format!("{} attempts a change", number(per_change))
    };
    Line {
        id: "R14",
        what: format!("changes/s of one hot ticket, {CLIENTS} clients, {what}"),
        ours: format!("{}/s", number(changes.ours())),
        baseline: format!("pgbench {}/s", number(changes.baseline())),
        figure: changes.ratio(),
        unit: "",
        good: Good::AtLeast,
        floor: 0.4,
        goal: 0.7,
        notes: vec![format!(
            "{what}: ours {}, pgbench {}; all attempts {}/s and {}/s",
            of(changes.ours(), attempts.ours()),
            of(changes.baseline(), attempts.baseline()),
            number(attempts.ours()),
            number(attempts.baseline()),
        )],
    }
}

async fn make_row(admin: &PgPool) -> Result<()> {
    let sql = format!(
        "create table bench_hot (id int primary key, version bigint not null);
         insert into bench_hot values (1, 1);
         grant select, update on bench_hot to {APP}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(admin)
        .await?;
    Ok(())
}

async fn version(database: &Database) -> Result<i64> {
    let row = sqlx::query_scalar("select version from bench_hot");
    Ok(row.fetch_one(&database.admin).await?)
}

async fn created(service: &Service) -> Result<TicketId> {
    let creation = life::creation()?;
    let mut http = Http::connect(service.address).await?;
    let body = &creation.body;
    ticket_of(
        http.command(&creation.token, creation.operation, None, body)
            .await?,
    )
}

/// Changes the ticket with all clients for about this long.
async fn change_it(
    service: &Service,
    ticket: TicketId,
    change: &Step,
    by_version: bool,
    time: Duration,
) -> Result<Answers> {
    let mut connections = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        connections.push(Http::connect(service.address).await?);
    }
    let begun = Instant::now();
    let tasks = connections.into_iter().map(|mut http| {
        let change = change.clone();
        let named = change
            .body
            .strip_suffix('}')
            .map(|members| format!("{members},\"expected_version\":"));
        tokio::spawn(async move {
            let named = named.context("the body is an object")?;
            let (mut answers, mut seen) = (Answers::default(), 1);
            while begun.elapsed() < time {
                let body = match by_version {
                    true => format!("{named}{seen}}}"),
                    false => change.body.clone(),
                };
                let key = Uuid::now_v7();
                let (status, answer) = http
                    .send(&change.token, change.operation, Some(ticket), key, &body)
                    .await?;
                match status {
                    200 => {
                        answers.changed += 1;
                        seen = member(answer, "\"produced_version\":")?;
                    }
                    409 => {
                        answers.conflicts += 1;
                        seen = member(answer, "\"actual\":")?;
                    }
                    500.. => answers.failed += 1,
                    _ => bail!("{status} {}", String::from_utf8_lossy(answer)),
                }
            }
            Ok(answers)
        })
    });
    let mut all = Answers::default();
    for ended in try_join_all(tasks).await? {
        let answers = ended?;
        all.changed += answers.changed;
        all.conflicts += answers.conflicts;
        all.failed += answers.failed;
    }
    ensure!(all.changed > 0, "nobody could change the ticket");
    Ok(all)
}

/// The number behind a name, without reading all of the document.
fn member(document: &[u8], name: &str) -> Result<u64> {
    let text = std::str::from_utf8(document)?;
    let (_, rest) = text.split_once(name).context(name.to_owned())?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
    Ok(digits.unwrap_or_default().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_behind_its_name() {
        let answer = br#"{"meta":{"actual":17,"expected":3}}"#;
        assert_eq!(member(answer, "\"actual\":").unwrap(), 17);
        assert!(member(answer, "\"produced_version\":").is_err());
    }
}
