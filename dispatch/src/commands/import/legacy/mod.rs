//! `dispatch import legacy`: rows of the old system, which knew no tenants, into the default tenant.
//!
//! They come in like everybody's: by commands of dispatch-api, each row under the name that it has for
//! ever, so a second run finds everything there (see [`super::send`]). What is not taken is told with
//! the reason, table by table.

mod dump;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use contracts::{Role, TenantId, read::IdOrCode};
use serde::Serialize;
use uuid::Uuid;

use self::{
    dump::Dump,
    tables::{TABLES, Table, Taken},
};
use super::{
    args::{ImportArgs, Kind},
    send::{Done, Refused, Sender},
    shape::{Draft, Wrong},
    trouble,
};
use crate::{
    cli::Global,
    commands,
    desk::{Connection, Desk},
    exit::{Failure, chain},
    parts,
};

/// The tenant of rows that name none.
const DEFAULT_TENANT: &str = "default";

/// What became of one table.
#[derive(Debug, Default, Serialize)]
struct Account {
    /// Rows in the dump.
    rows: u64,
    /// Rows that are new things here; of tickets also those of an earlier run.
    new: u64,
    /// Rows that changed a thing.
    changed: u64,
    /// Rows that were so already.
    unchanged: u64,
    /// Rows that were left, by the reason.
    skipped: BTreeMap<&'static str, u64>,
    /// Rows that could not be taken.
    failed: u64,
    /// Columns that have no place here.
    columns_left: Vec<String>,
}

/// What a run came to; `--json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Nothing was changed.
    dry_run: bool,
    /// The tables that are taken.
    tables: BTreeMap<&'static str, Account>,
    /// The others, with their rows: they stay in the old system.
    tables_left: BTreeMap<String, u64>,
    /// Where each row that was left or failed is named.
    report_file: Option<PathBuf>,
}

/// A line of `FILE.report.jsonl`. Of the row's values only one that is wrong is in it; it may be
/// personal, so the file is its owner's alone.
#[derive(Debug, Serialize)]
struct Line<'a> {
    table: &'a str,
    id: &'a str,
    line: u64,
    outcome: &'static str,
    code: String,
    detail: String,
}

/// Takes a dump in.
pub async fn run(global: &Global, args: ImportArgs) -> Result<(), Failure> {
    let mut connection = args.connection.clone();
    let settings = commands::load(global, Vec::new())?.settings;
    if connection.tenant.is_none() && settings.api.token.is_none() {
        connection.tenant = Some(default_tenant(&settings.database).await?);
    }
    let desks = Desks::open(global, &connection)?;
    let result = take(&desks, &args).await;
    desks.dispatcher.ended(result)
}

/// Technicians are a matter of another role than the rest.
struct Desks {
    dispatcher: Desk,
    administrator: Desk,
}

impl Desks {
    fn open(global: &Global, connection: &Connection) -> Result<Self, Failure> {
        Ok(Self {
            dispatcher: Desk::open(global, connection, Role::Dispatcher)?,
            administrator: Desk::open(global, connection, Kind::Technicians.role())?,
        })
    }
}

/// The tenant that rows without one belong to.
async fn default_tenant(database: &crate::config::Database) -> Result<TenantId, Failure> {
    const KEY: &str = "database.maintenance_url";
    let pool = parts::pool(KEY, database.maintenance_url.as_ref()).await?;
    let id: Option<Uuid> = sqlx::query_scalar("select tenant_id from tenants where slug = $1")
        .bind(DEFAULT_TENANT)
        .fetch_optional(&pool)
        .await
        .map_err(|error| Failure::infrastructure(chain(&error)))?;
    id.map(TenantId::from_uuid).ok_or_else(|| {
        Failure::usage(format!(
            "there is no tenant `{DEFAULT_TENANT}` to take the rows in: create one of that name, or \
             say with --tenant whose they are to be"
        ))
    })
}

async fn take(desks: &Desks, args: &ImportArgs) -> Result<(), Failure> {
    let unreadable =
        |error: io::Error| Failure::usage(format!("cannot read {}: {error}", args.file.display()));
    let dump = Dump::new(&args.file);
    let content = dump.content().map_err(unreadable)?;
    if !TABLES
        .iter()
        .any(|table| content.rows.contains_key(table.name))
    {
        return Err(Failure::usage(format!(
            "{} has no COPY block of a table that is known ({}): make the dump with `pg_dump \
             --data-only --encoding=UTF8`, without --inserts",
            args.file.display(),
            TABLES
                .iter()
                .map(|table| table.name)
                .collect::<Vec<_>>()
                .join(", ")
        )));
    }
    let file = report_file(&args.file);
    let mut lines = BufWriter::new(private(&file).map_err(|error| trouble(&file, &error))?);
    let mut report = Report {
        dry_run: args.dry_run,
        tables_left: content
            .rows
            .iter()
            .filter(|(name, _)| TABLES.iter().all(|table| table.name != **name))
            .map(|(name, rows)| (name.clone(), *rows))
            .collect(),
        ..Report::default()
    };
    let mut run = Run {
        dispatcher: Sender::new(desks.dispatcher.api.clone(), args.dry_run),
        administrator: Sender::new(desks.administrator.api.clone(), args.dry_run),
        dry_run: args.dry_run,
        planned: BTreeSet::new(),
    };
    let mut told = false;
    for table in TABLES {
        let columns = content.columns.get(table.name).into_iter().flatten();
        let mut account = Account {
            columns_left: columns
                .filter(|column| !table.columns.contains(&column.as_str()))
                .cloned()
                .collect(),
            ..Account::default()
        };
        for row in dump.rows(table.name).map_err(unreadable)? {
            let row = row.map_err(unreadable)?;
            account.rows += 1;
            let outcome = run.row(table, &row).await?;
            let (outcome, code, detail) = match outcome {
                Outcome::Done(Done::Written) => {
                    account.new += 1;
                    continue;
                }
                Outcome::Done(Done::Changed) => {
                    account.changed += 1;
                    continue;
                }
                Outcome::Done(Done::Unchanged) => {
                    account.unchanged += 1;
                    continue;
                }
                Outcome::Skipped(why) => {
                    *account.skipped.entry(why).or_default() += 1;
                    ("skipped", "NOT_TAKEN".to_owned(), why.to_owned())
                }
                Outcome::Failed(code, detail) => {
                    account.failed += 1;
                    ("failed", code, detail)
                }
            };
            told = true;
            let id = row.record.as_ref().ok().and_then(|record| record.get("id"));
            let line = Line {
                table: table.name,
                id: id.and_then(serde_json::Value::as_str).unwrap_or_default(),
                line: row.line,
                outcome,
                code,
                detail,
            };
            serde_json::to_writer(&mut lines, &line)
                .map_err(io::Error::from)
                .and_then(|()| lines.write_all(b"\n"))
                .map_err(|error| trouble(&file, &error))?;
        }
        report.tables.insert(table.name, account);
    }
    lines.flush().map_err(|error| trouble(&file, &error))?;
    report.report_file = told.then_some(file);
    let desk = &desks.dispatcher;
    match desk.json {
        true => desk.print_json(&report)?,
        false => desk.print(&report.text())?,
    }
    match report.tables.values().any(|account| account.failed > 0) {
        true => Err(Failure::reported()),
        false => Ok(()),
    }
}

fn report_file(dump: &Path) -> PathBuf {
    let mut name = dump.as_os_str().to_owned();
    name.push(".report.jsonl");
    name.into()
}

fn private(file: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
}

/// What became of a row.
enum Outcome {
    Done(Done),
    Skipped(&'static str),
    /// Code and what is wrong.
    Failed(String, String),
}

struct Run {
    dispatcher: Sender,
    administrator: Sender,
    dry_run: bool,
    /// Codes that a dry run would have made: what refers to them cannot be asked about yet.
    planned: BTreeSet<String>,
}

impl Run {
    async fn row(&mut self, table: &Table, row: &dump::Row) -> Result<Outcome, Failure> {
        let invalid = |detail: String| Outcome::Failed("INVALID_ROW".to_owned(), detail);
        let taken = match &row.record {
            Ok(record) => table.take(record),
            Err(wrong) => Err(wrong.clone()),
        };
        let records = match taken {
            Ok(Taken::As(records)) => records,
            Ok(Taken::Skipped(why)) => return Ok(Outcome::Skipped(why)),
            Err(wrong) => return Ok(invalid(wrong)),
        };
        // All of a row, or nothing of it.
        let read = records
            .into_iter()
            .map(|(kind, record)| kind.read(&record).map(|draft| (kind, draft)));
        let drafts = match read.collect::<Result<Vec<_>, Wrong>>() {
            Ok(drafts) => drafts,
            Err(wrong) => return Ok(invalid(wrong.detail)),
        };
        // A row that becomes two things is as new as the newer of them.
        let mut came_to = Done::Unchanged;
        for (kind, draft) in drafts {
            let name = draft.name().to_owned();
            let done = match self.dry_run && self.waits(&draft) {
                true => Ok(Done::Written),
                false => match kind {
                    Kind::Technicians => self.administrator.send(draft).await,
                    _ => self.dispatcher.send(draft).await,
                },
            };
            match done {
                Ok(Done::Written) => {
                    self.planned.insert(name);
                    came_to = Done::Written;
                }
                Ok(Done::Changed) if came_to == Done::Unchanged => came_to = Done::Changed,
                Ok(_) => {}
                Err(Refused::Wrong(wrong)) => return Ok(invalid(wrong.detail)),
                Err(Refused::Problem(problem)) => {
                    return Ok(Outcome::Failed(problem.code.to_string(), problem.detail));
                }
                Err(Refused::Everything(error)) => {
                    return Err(Failure {
                        message: format!(
                            "line {} of {}: {error}\nstopped there; the same command takes what is left",
                            row.line, table.name
                        ),
                        problem: None,
                        ..Failure::from(error)
                    });
                }
            }
        }
        Ok(Outcome::Done(came_to))
    }

    /// Whether it refers to what only a real run makes.
    fn waits(&self, draft: &Draft) -> bool {
        fn code<I>(reference: Option<&IdOrCode<I>>) -> Option<&str> {
            match reference? {
                IdOrCode::Code(code) => Some(code.as_str()),
                IdOrCode::Id(_) => None,
            }
        }
        let referred = match draft {
            Draft::Site { .. } => [None; 3],
            Draft::Asset { site, .. } => [code(Some(site)), None, None],
            Draft::Contact { site, .. } => [code(site.as_ref()), None, None],
            Draft::Technician { contact, .. } => [code(Some(contact)), None, None],
            Draft::Ticket {
                site,
                asset,
                contact,
                ..
            } => [
                code(Some(site)),
                code(asset.as_ref()),
                code(contact.as_ref()),
            ],
        };
        referred
            .into_iter()
            .flatten()
            .any(|code| self.planned.contains(code))
    }
}

impl Report {
    fn text(&self) -> String {
        let mut text = String::new();
        if self.dry_run {
            text += "dry run: nothing was changed\n";
        }
        for (table, account) in &self.tables {
            let skipped: u64 = account.skipped.values().sum();
            text += &format!(
                "{table:<12} {} rows: {} new, {} changed, {} unchanged, {skipped} skipped, {} failed\n",
                account.rows, account.new, account.changed, account.unchanged, account.failed
            );
            for (why, rows) in &account.skipped {
                text += &format!("{:<12} {rows} skipped: {why}\n", "");
            }
            if !account.columns_left.is_empty() {
                let columns = account.columns_left.join(", ");
                text += &format!("{:<12} columns left in the old system: {columns}\n", "");
            }
        }
        for (table, rows) in &self.tables_left {
            text += &format!("{table:<12} {rows} rows left in the old system\n");
        }
        if let Some(file) = &self.report_file {
            text += &format!("row by row: {}\n", file.display());
        }
        text
    }
}
