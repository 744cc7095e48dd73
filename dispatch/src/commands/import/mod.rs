//! `dispatch import`: rows of a file become commands, one each.
//!
//! There is no way around the API: what a row may say and who may bring it is decided there. A file
//! of any length is read row by row; rows are sent some at a time and answered in their order, so
//! "so many rows are done" is all that has to be remembered to go on later. Run twice, killed in the
//! middle, mended and run again: nothing is there twice (see [`send`]).

mod args;
mod hours;
mod legacy;
mod progress;
mod rows;
mod send;
mod shape;

use std::{
    collections::HashSet,
    io::{self, IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use contracts::Problem;
use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

pub use self::args::{ImportArgs, Kind};
use self::{
    progress::{Fresh, Journal, Start},
    rows::{Row, Rows},
    send::{Done, Refused, Sender},
    shape::Wrong,
};
use crate::{cli::Global, desk::Desk, exit::Failure, shutdown};

/// After so many rows or so long, whichever is first, progress is saved.
const SAVE_ROWS: u64 = 200;
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often a person is told; a log file less often.
const TELL_PERSON: Duration = Duration::from_millis(200);
const TELL_LOG: Duration = Duration::from_secs(10);

/// A line of `FILE.errors.jsonl`.
#[derive(Debug, Serialize)]
struct ErrorLine<'a> {
    /// The row, from 1.
    row: u64,
    /// Its line in the file, from 1.
    line: u64,
    /// `INVALID_ROW`, or the code of dispatch-api.
    code: String,
    /// The column, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    /// What is wrong and what is expected.
    detail: String,
    /// What dispatch-api answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a Problem>,
    /// The row as it stands in the file, when it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a Map<String, Value>>,
}

/// What a run came to; `--json`.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// What the rows are.
    kind: String,
    /// Nothing was changed.
    dry_run: bool,
    /// Rows that an earlier run had done.
    resumed_after: u64,
    /// Rows that are done, those of the earlier run included.
    rows: u64,
    /// New things; of tickets also those that an earlier run had made.
    written: u64,
    /// Things that were there and are other now.
    changed: u64,
    /// Things that were so already.
    unchanged: u64,
    /// Rows that could not be imported, those of the earlier run included.
    failed: u64,
    /// Where they are, with what is wrong.
    errors_file: Option<String>,
    /// The last row was reached.
    finished: bool,
    /// How long it took.
    seconds: f64,
}

/// Imports a file.
pub async fn run(global: &Global, args: ImportArgs) -> Result<(), Failure> {
    let Some(kind) = args.what.kind() else {
        return legacy::run(global, args).await;
    };
    let desk = Desk::open(global, &args.connection, kind.role())?;
    let result = import(&desk, &args, kind).await;
    desk.ended(result)
}

async fn import(desk: &Desk, args: &ImportArgs, kind: Kind) -> Result<(), Failure> {
    let stop = shutdown::on_signal();
    let file = &args.file;
    let format = args.format().map_err(Failure::usage)?;
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot read {}: {error}", file.display()))
    };
    let rows = Rows::open(file, format, args.delimiter).map_err(|error| unreadable(&error))?;
    if let Some(headers) = rows.headers() {
        kind.check_header(headers)
            .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    }
    let (mut journal, start) = Journal::open(file, &kind.to_string(), args.restart, args.dry_run)
        .map_err(|error| trouble(file, &error))?;
    say_start(&start);
    let mut summary = Summary {
        kind: kind.to_string(),
        dry_run: args.dry_run,
        resumed_after: journal.progress().rows,
        ..Summary::default()
    };
    let size = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    let mut teller = Teller::new(size, journal.progress().rows);
    let sender = Sender::new(desk.api.clone(), args.dry_run);

    let skipped = journal.progress().rows;
    let mut names = HashSet::new();
    let read = rows.take_while(|_| !stop.is_cancelled()).map(|row| {
        let row = row?;
        // Also of rows that are done: their names are taken.
        let draft = check(kind, &row, &mut names);
        Ok::<_, io::Error>((row, draft))
    });
    let rest = read.filter(|read| !matches!(read, Ok((row, _)) if row.number <= skipped));
    let mut answers = stream::iter(rest)
        .map(|read| {
            let sender = &sender;
            async move {
                let (row, draft) = read?;
                let sent = match draft {
                    Ok(draft) => sender.send(draft).await,
                    Err(wrong) => Err(Refused::Wrong(wrong)),
                };
                Ok::<_, io::Error>((row, sent))
            }
        })
        .buffered(usize::from(args.concurrency));

    let mut stopped = None;
    let mut saved = Instant::now();
    let mut unsaved = 0;
    while let Some(answer) = answers.next().await {
        let (row, sent) = answer.map_err(|error| unreadable(&error))?;
        let written = match sent {
            Err(Refused::Everything(error)) => {
                stopped = Some((row.number, Failure::from(error)));
                break;
            }
            Err(refused) => journal.failed(&error_line(&row, &refused)),
            Ok(done) => {
                match done {
                    Done::Written => summary.written += 1,
                    Done::Changed => summary.changed += 1,
                    Done::Unchanged => summary.unchanged += 1,
                }
                journal.done();
                Ok(())
            }
        };
        unsaved += 1;
        let save = match unsaved >= SAVE_ROWS || saved.elapsed() >= SAVE_EVERY {
            true => {
                (saved, unsaved) = (Instant::now(), 0);
                journal.save()
            }
            false => Ok(()),
        };
        written.and(save).map_err(|error| trouble(file, &error))?;
        teller.tell(
            journal.progress().rows,
            journal.progress().failed,
            row.bytes,
        );
    }
    drop(answers);
    teller.end();

    summary.rows = journal.progress().rows;
    summary.failed = journal.progress().failed;
    summary.finished = stopped.is_none() && !stop.is_cancelled();
    summary.seconds = teller.begun.elapsed().as_secs_f64();
    let errors_file = journal.errors_file().display().to_string();
    summary.errors_file = (summary.failed > 0).then_some(errors_file);
    let kept = match summary.finished {
        true => journal.finish(),
        false => journal.save(),
    };
    kept.map_err(|error| trouble(file, &error))?;
    if desk.json {
        desk.print_json(&summary)?;
    } else {
        desk.print(&summary.text())?;
    }
    match stopped {
        Some((row, failure)) => Err(Failure {
            message: format!(
                "row {row}: {}\nstopped there; the same command goes on with that row",
                failure.message
            ),
            // The summary is the document.
            problem: None,
            ..failure
        }),
        None if !summary.finished => Err(Failure::failed(format!(
            "interrupted after row {}; the same command goes on there",
            summary.rows
        ))),
        None if summary.failed > 0 => Err(Failure::reported()),
        None => Ok(()),
    }
}

/// A row that is well formed, and the first of its name.
fn check(kind: Kind, row: &Row, names: &mut HashSet<Uuid>) -> Result<shape::Draft, Wrong> {
    let record = row
        .record
        .as_ref()
        .map_err(|error| Wrong::row(error.clone()))?;
    let draft = kind.read(record)?;
    // Sixteen bytes a row, however long the names are.
    let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, draft.name().as_bytes());
    if names.insert(name) {
        Ok(draft)
    } else {
        let column = kind.name_column();
        let name = draft.name();
        let detail = format!("`{name}` stands in an earlier row: it must be the only one");
        Err(Wrong::new(column, detail))
    }
}

fn error_line<'a>(row: &'a Row, refused: &'a Refused) -> ErrorLine<'a> {
    let (code, column, detail, problem) = match refused {
        Refused::Wrong(wrong) => (
            "INVALID_ROW".to_owned(),
            wrong.column.clone(),
            wrong.detail.clone(),
            None,
        ),
        Refused::Problem(problem) => (
            problem.code.to_string(),
            None,
            problem.detail.clone(),
            Some(&**problem),
        ),
        Refused::Everything(error) => ("UNREACHABLE".to_owned(), None, error.to_string(), None),
    };
    ErrorLine {
        row: row.number,
        line: row.line,
        code,
        column,
        detail,
        problem,
        record: row.record.as_ref().ok(),
    }
}

fn trouble(file: &Path, error: &io::Error) -> Failure {
    Failure::infrastructure(format!(
        "cannot keep the progress of the import beside {}: {error}; the folder must be writable",
        file.display()
    ))
}

fn say_start(start: &Start) {
    match start {
        Start::Resumed(left) => eprintln!(
            "goes on after row {} of the interrupted run ({} failed); --restart begins with the \
             first row",
            left.rows, left.failed
        ),
        Start::Fresh(Fresh::Changed) => eprintln!(
            "the file is another than that of the interrupted run: begins with its first row; what \
             was imported before is recognised"
        ),
        Start::Fresh(Fresh::First | Fresh::Asked) => {}
    }
}

impl Summary {
    fn text(&self) -> String {
        let mut text = format!(
            "{} {} row{} in {:.1} s: ",
            if self.dry_run { "dry run, " } else { "" },
            self.rows,
            if self.rows == 1 { "" } else { "s" },
            self.seconds
        )
        .trim_start()
        .to_owned();
        text += &match self.kind.as_str() {
            "tickets" => format!("{} there", self.written),
            _ => format!(
                "{} new, {} changed, {} unchanged",
                self.written, self.changed, self.unchanged
            ),
        };
        if self.resumed_after > 0 {
            text += &format!(", {} done before", self.resumed_after);
        }
        text += &format!(", {} failed\n", self.failed);
        if let Some(file) = &self.errors_file {
            text += &format!("what is wrong with them: {file}\n");
        }
        text
    }
}

/// Tells how far it is.
struct Teller {
    begun: Instant,
    told: Option<Instant>,
    person: bool,
    size: u64,
    before: u64,
}

impl Teller {
    fn new(size: u64, before: u64) -> Self {
        Self {
            begun: Instant::now(),
            told: None,
            person: io::stderr().is_terminal(),
            size,
            before,
        }
    }

    fn tell(&mut self, rows: u64, failed: u64, bytes: u64) {
        let every = if self.person { TELL_PERSON } else { TELL_LOG };
        let last = self.told.unwrap_or(self.begun);
        if last.elapsed() < every {
            return;
        }
        self.told = Some(Instant::now());
        let seconds = self.begun.elapsed().as_secs_f64();
        let rate = (rows - self.before) as f64 / seconds;
        let percent = (bytes * 100).checked_div(self.size).unwrap_or(100).min(100);
        let line = format!("{percent:>3} %  {rows} rows, {rate:.0}/s, {failed} failed");
        // Best effort: a closed terminal is no reason to stop.
        let _ = match self.person {
            true => write!(io::stderr(), "\r{line}\u{1b}[K"),
            false => writeln!(io::stderr(), "{line}"),
        };
    }

    fn end(&self) {
        if self.person && self.told.is_some() {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(number: u64, record: Value) -> Row {
        let Value::Object(record) = record else {
            panic!("no row: {record}");
        };
        Row {
            number,
            line: number + 1,
            bytes: 0,
            record: Ok(record),
        }
    }

    #[test]
    fn a_name_stands_once_in_a_file() {
        let mut names = HashSet::new();
        let site = |number| row(number, json!({"code": "canal", "lat": "1", "lon": "1"}));
        assert!(check(Kind::Sites, &site(1), &mut names).is_ok());
        let wrong = check(Kind::Sites, &site(2), &mut names).unwrap_err();
        assert_eq!(wrong.column.as_deref(), Some("code"));
        assert!(wrong.detail.contains("`canal` stands in an earlier row"));
    }

    #[test]
    fn an_error_line_says_where_what_and_which_row() {
        let row = row(7, json!({"code": "Big", "lat": "1", "lon": "1"}));
        let wrong = check(Kind::Sites, &row, &mut HashSet::new()).unwrap_err();
        let refused = Refused::Wrong(wrong);
        let line = serde_json::to_value(error_line(&row, &refused)).unwrap();
        assert_eq!(line["row"], 7);
        assert_eq!(line["line"], 8);
        assert_eq!(line["code"], "INVALID_ROW");
        assert_eq!(line["column"], "code");
        assert_eq!(line["record"]["code"], "Big");
        assert!(
            line["detail"].as_str().unwrap().contains("a-z, 0-9"),
            "{line}"
        );
        assert!(line.get("problem").is_none());
    }

    #[test]
    fn the_summary_says_what_happened() {
        let summary = Summary {
            kind: "sites".to_owned(),
            rows: 12,
            written: 3,
            unchanged: 4,
            resumed_after: 5,
            errors_file: Some("sites.csv.errors.jsonl".to_owned()),
            failed: 2,
            ..Summary::default()
        };
        assert_eq!(
            summary.text(),
            "12 rows in 0.0 s: 3 new, 0 changed, 4 unchanged, 5 done before, 2 failed\n\
             what is wrong with them: sites.csv.errors.jsonl\n"
        );
    }
}
