//! The SQL that dispatch-api really issues, as a script for `pgbench`.
//!
//! It is read from the server's own log of a real life of a ticket, statements with parameters, so
//! it cannot drift from the code. What a second run must not repeat, the ids that were minted for
//! the first one, gets a number in its place that `pgbench` counts up; everything else stays as it
//! was. The ids keep the order of UUIDv7: each kind grows at the right end of its index.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, Result, bail};
use sqlx::{PgPool, raw_sql};
use store::bootstrap::APP;
use uuid::Uuid;

use crate::{
    http::Http,
    life::Step,
    load::take,
    servers::{Database, Servers},
    service::Service,
};

/// `log_line_prefix` that [`transactions`] reads: process and database.
pub const LOG_PREFIX: &str = "%q[%p %d] ";
/// Stands for the number in templates; as long as the last group of a UUID.
const NUMBER: &str = "############";

/// One statement with its parameters; `None` is NULL.
#[derive(Debug, Clone, PartialEq)]
struct Statement {
    /// Sent by the simple protocol, perhaps several in one message.
    simple: bool,
    sql: String,
    parameters: Vec<Option<String>>,
}

/// Plays this life on a database and answers the `pgbench` script of it.
pub async fn script(servers: &Servers, database: &Database, life: &[Step]) -> Result<String> {
    let set = |what: &str| format!("alter role {APP} in database \"{}\" {what}", database.name);
    let admin = &database.admin;
    execute(admin, set("set log_statement = 'all'")).await?;
    // The first life fills the caches of statements and types, the second one is what is read.
    let service = Service::start(database, 1).await?;
    let mut http = Http::connect(service.address).await?;
    for _ in 0..2 {
        let mut ticket = None;
        for step in life {
            take(&mut http, step, &mut ticket).await?;
        }
    }
    drop(http);
    service.stop().await?;
    execute(admin, set("reset log_statement")).await?;
    let file = servers
        .postgres
        .log_file()
        .context("the server has a log")?;
    let log = std::fs::read_to_string(file)?;
    let mut all = transactions(&log, &database.name);
    if all.len() < life.len() {
        bail!(
            "the server's log holds {} commands of {}",
            all.len(),
            life.len()
        );
    }
    let last = all.split_off(all.len() - life.len());
    write_script(admin, &last).await
}

async fn execute(pool: &PgPool, sql: String) -> Result<()> {
    raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await?;
    Ok(())
}

/// The command transactions in the log, those of this database, in the order in which they began.
fn transactions(log: &str, database: &str) -> Vec<Vec<Statement>> {
    let mut all: Vec<Vec<Statement>> = Vec::new();
    // The process that is in a transaction; the relays' wake comes from another one.
    let mut open: Option<String> = None;
    for record in records(log) {
        let Some((head, rest)) = record.split_once("] ") else {
            continue;
        };
        let Some((process, of)) = head.split_once(' ') else {
            continue;
        };
        if of != database {
            continue;
        }
        let is_open = open.as_deref() == Some(process);
        if let Some(text) = rest.strip_prefix("DETAIL:  parameters: ") {
            let statement = all.last_mut().and_then(|last| last.last_mut());
            if let Some(statement) = statement.filter(|_| is_open) {
                statement.parameters = parameters(text);
            }
            continue;
        }
        let Some((kind, sql)) = rest
            .strip_prefix("LOG:  ")
            .and_then(|text| text.split_once(": "))
        else {
            continue;
        };
        let begins = sql.starts_with("begin isolation level read committed");
        if begins {
            open = Some(process.to_owned());
            all.push(Vec::new());
        }
        if let Some(last) = all.last_mut().filter(|_| is_open || begins) {
            last.push(Statement {
                simple: kind == "statement",
                sql: sql.to_owned(),
                parameters: Vec::new(),
            });
        }
        if is_open && matches!(sql, "commit" | "rollback") {
            open = None;
        }
    }
    all
}

/// Lines with those that continue them, which begin with a tab.
fn records(log: &str) -> Vec<String> {
    let mut records: Vec<String> = Vec::new();
    for line in log.lines() {
        match (line.strip_prefix('\t'), records.last_mut()) {
            (Some(more), Some(last)) => {
                last.push('\n');
                last.push_str(more);
            }
            _ => records.push(line.to_owned()),
        }
    }
    records
}

/// `$1 = 'it''s', $2 = NULL`
fn parameters(text: &str) -> Vec<Option<String>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, value)) = rest.split_once(" = ") {
        let Some(quoted) = value.strip_prefix('\'') else {
            found.push(None);
            rest = value.strip_prefix("NULL").unwrap_or_default();
            continue;
        };
        let mut end = 0;
        while let Some(quote) = quoted[end..].find('\'') {
            end += quote;
            if quoted[end..].starts_with("''") {
                end += 2;
            } else {
                break;
            }
        }
        found.push(Some(quoted[..end].replace("''", "'")));
        rest = &quoted[end..];
    }
    found
}

async fn write_script(admin: &PgPool, life: &[Vec<Statement>]) -> Result<String> {
    let mut ids = Ids::default();
    let mut script = String::from("\\set i :i + 1\n\\set n :base + :i * 64 + :client_id\n");
    for statement in life.iter().flatten() {
        if statement.simple {
            // One message, one round trip: in `pgbench` that is a pipeline.
            script += "\\startpipeline\n";
            for part in statement.sql.split(';') {
                let _ = writeln!(script, "{};", part.trim());
            }
            script += "\\endpipeline\n";
            continue;
        }
        let mut sql = statement.sql.clone();
        let types = parameter_types(admin, &sql).await?;
        if types.len() != statement.parameters.len() {
            bail!(
                "{sql} has {} parameters of {}",
                statement.parameters.len(),
                types.len()
            );
        }
        let arguments = types.iter().zip(&statement.parameters).enumerate();
        // From the last one, so that $1 does not hit $10.
        for (index, (kind, value)) in arguments.rev() {
            let value = match value {
                None => format!("cast(null as {kind})"),
                Some(text) => argument(&ids.template(text), kind),
            };
            sql = sql.replace(&format!("${}", index + 1), &value);
        }
        let _ = writeln!(script, "{};", sql.replace('\n', " "));
    }
    Ok(script)
}

/// The types of a statement's parameters, as the server takes them.
async fn parameter_types(admin: &PgPool, sql: &str) -> Result<Vec<String>> {
    let mut connection = admin.acquire().await?;
    let prepare = format!("prepare of_the_log as {sql}");
    raw_sql(sqlx::AssertSqlSafe(prepare))
        .execute(&mut *connection)
        .await?;
    let types = sqlx::query_scalar(
        "select parameter_types::text[] from pg_prepared_statements where name = 'of_the_log'",
    )
    .fetch_one(&mut *connection)
    .await?;
    raw_sql("deallocate of_the_log")
        .execute(&mut *connection)
        .await?;
    Ok(types)
}

/// A literal that `pgbench` sends as it is: to it a colon begins a variable, wherever it stands.
fn argument(template: &str, kind: &str) -> String {
    let escaped = template
        .replace('\\', "\\\\")
        .replace('\'', "''")
        .replace(':', "\\x3a");
    if template.contains(NUMBER) {
        format!("cast(replace(E'{escaped}', '{NUMBER}', :n) as {kind})")
    } else {
        format!("cast(E'{escaped}' as {kind})")
    }
}

/// The ids that were minted, in the order in which they were met.
#[derive(Debug, Default)]
struct Ids(BTreeMap<Uuid, usize>);

impl Ids {
    /// The text with [`NUMBER`] in each minted id.
    fn template(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            let found = [36, 32].into_iter().find_map(|length| {
                let id = Uuid::try_parse(text.get(at..at + length)?).ok()?;
                // 32 digits without hyphens are an id only behind its prefix; else a trace id, or
                // a part of a hash.
                let is_id = length == 36 || text[..at].ends_with('_');
                // All ids that commands mint are UUIDv7; the tenant's own were there before.
                (is_id && id.get_version_num() == 7).then_some((id, length))
            });
            if let Some((id, length)) = found {
                let next = self.0.len();
                let kind = *self.0.entry(id).or_insert(next);
                out += &match length {
                    36 => format!("{kind:08x}-0000-7000-8000-{NUMBER}"),
                    _ => format!("{kind:08x}000070008000{NUMBER}"),
                };
                at += length;
            } else {
                let rest = &text[at..];
                let step = rest.chars().next().map_or(1, char::len_utf8);
                out.push_str(&rest[..step]);
                at += step;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::TENANT;

    const LOG: &str = "\
[7 other] LOG:  statement: begin isolation level read committed; select 1
[8 mine] LOG:  statement: begin isolation level read committed; select set_config('a', 'b', true)
[8 mine] LOG:  execute sqlx_s_1: select * from command_open($1, $2)
[8 mine] DETAIL:  parameters: $1 = 'it''s', $2 = NULL
2026-11-21 checkpoint starting
[9 mine] LOG:  execute sqlx_s_1: select pg_notify($1, '')
[9 mine] DETAIL:  parameters: $1 = 'x'
[8 mine] LOG:  statement: commit
";

    #[test]
    fn the_log_is_read_back_into_transactions() {
        let all = transactions(LOG, "mine");
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].len(), 3);
        assert_eq!(all[0][1].sql, "select * from command_open($1, $2)");
        assert_eq!(all[0][1].parameters, [Some("it's".to_owned()), None]);
        assert!(all[0][0].simple && !all[0][1].simple);
    }

    #[test]
    fn minted_ids_become_numbers_and_nothing_else_does() {
        let mut ids = Ids::default();
        let minted = "019aa222-1111-7222-8333-444455556666";
        let site = TENANT.sites[0];
        let text = format!(
            r#"{{"id":"tkt_{}","row":"{minted}","site":"{site}","sha256":"{}"}}"#,
            minted.replace('-', ""),
            "0d".repeat(32),
        );
        let template = ids.template(&text);
        assert_eq!(
            template,
            format!(
                r#"{{"id":"tkt_00000000000070008000{NUMBER}","row":"00000000-0000-7000-8000-{NUMBER}","site":"{site}","sha256":"{}"}}"#,
                "0d".repeat(32),
            )
        );
        assert_eq!(argument("a:'\\", "text"), "cast(E'a\\x3a''\\\\' as text)");
    }
}
