//! `dispatch policy diff`.

use std::path::PathBuf;

use clap::Args;
use replay::{
    DecisionChange,
    diff::{DiffReport, Group},
};

use super::write;
use crate::{
    cli::{Global, JsonArgs},
    commands::{
        load, print, print_json,
        shadow::record::{self, CODE_VERSION, Meter, SpanArgs, failed},
    },
    exit::Failure,
    table::{Facts, Mark, Screen, Table, clean},
    words,
};

/// `dispatch policy diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The bundle that would decide: a folder, an archive, or the sha256 of one that this
    /// installation has
    #[arg(long, value_name = "PATH|SHA256")]
    pub candidate: String,

    #[command(flatten)]
    pub span: SpanArgs,

    /// Only these tenants' decisions: by id or name (several with commas) [default: all]
    #[arg(long, value_name = "TENANT", value_delimiter = ',')]
    pub tenant: Vec<String>,

    /// Writes the report into this file; its sha256 is the one that is printed
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    pub output: JsonArgs,
}

/// Compares, and says what would be different.
pub async fn run(global: &Global, args: &DiffArgs) -> Result<(), Failure> {
    let settings = load(global, Vec::new())?.settings;
    let pool = record::open(&settings).await?;
    let candidate = record::bundle(&settings, &pool, Some(&args.candidate)).await?;
    let range = record::range(&pool, &args.span, &args.tenant, None).await?;
    let mut meter = Meter::new("decisions");
    let report = replay::diff::diff(&pool, &candidate, &range, CODE_VERSION, |done, total| {
        meter.tell(done, total);
    })
    .await;
    meter.end();
    let report = report.map_err(failed)?;
    if let Some(path) = &args.out {
        let bytes = report.bytes().map_err(Failure::failed)?;
        write(path, bytes.as_bytes())?;
    }
    if args.output.json {
        return print_json(&report);
    }
    let sha256 = report.sha256().map_err(Failure::failed)?;
    print(&text(&report, &sha256, Screen::of_stdout()))
}

fn text(report: &DiffReport, sha256: &str, screen: Screen) -> String {
    let mut facts = Facts::default();
    let candidate = &report.candidate;
    facts.add(
        "candidate",
        format!("{}, sha256 {}", clean(&candidate.version), candidate.sha256),
    );
    for by in &report.decided_by {
        facts.add(
            "decided by",
            format!(
                "{}, sha256 {}: {} decisions",
                clean(&by.bundle.version),
                by.bundle.sha256,
                by.decisions
            ),
        );
    }
    facts.add("from", words::time(report.range.since));
    let end = || "the end of the record".to_owned();
    facts.add("to", report.range.until.map_or_else(end, words::time));
    facts.add("decisions", report.total.to_string());
    for change in DecisionChange::ALL {
        let count = report.count(change);
        let shown = match (change, count) {
            (DecisionChange::Same, _) | (_, 0) => count.to_string(),
            (DecisionChange::NotEvaluable | DecisionChange::NewlyDenied, _) => {
                Mark::Bad.on(&count.to_string())
            }
            _ => Mark::Warn.on(&count.to_string()),
        };
        facts.add(change.words(), shown);
    }
    let mut text = facts.render(screen);
    if !report.groups.is_empty() {
        let mut table = Table::new(&["WOULD BE", "RULE", "COMMAND", "COUNT", "FOR EXAMPLE"]);
        for group in &report.groups {
            table.row([
                group.change.words().to_owned(),
                clean(&group.rule),
                clean(&group.operation),
                group.count.to_string(),
                example(group),
            ]);
        }
        text += "\n";
        text += &table.render(screen, &[1]);
    }
    text += &format!("\nreport sha256 {sha256}\n");
    text
}

/// The latest one of a group, with the rule's words.
fn example(group: &Group) -> String {
    let Some(example) = group.examples.first() else {
        return String::new();
    };
    let to_pass = match example.to_pass.as_str() {
        "" => String::new(),
        to_pass => format!(" To pass: {}", clean(to_pass)),
    };
    format!(
        "{}: {}{to_pass}",
        example.decision_id,
        clean(&example.message)
    )
}
