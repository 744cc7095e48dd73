//! `dispatch policy test`.

use std::{fmt::Write, path::PathBuf};

use clap::Args;
use policy::{Bundle, TestReport, Trust};
use serde_json::json;

use super::{open, refused};
use crate::{
    cli::JsonArgs,
    commands::{print, print_json},
    exit::Failure,
};

/// `dispatch policy test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The bundle: a folder or an archive
    #[arg(value_name = "PATH")]
    pub path: PathBuf,

    /// Only tests with this in their full name
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub run: String,

    /// Names the tests that passed, too
    #[arg(short, long)]
    pub verbose: bool,

    #[command(flatten)]
    pub output: JsonArgs,
}

/// Runs the tests; exit code 1 if one fails, or if there is none.
pub fn run(args: &TestArgs) -> Result<(), Failure> {
    let mut report = Trust::Anybody
        .accept(open(&args.path)?)
        .and_then(Bundle::load)
        .and_then(|bundle| bundle.run_tests())
        .map_err(|error| refused(&error))?;
    report.outcomes.retain(|test| test.name.contains(&args.run));
    let (all, failed) = (report.outcomes.len(), report.failures().count());
    if args.output.json {
        let tests: Vec<_> = report
            .outcomes
            .iter()
            .map(|test| {
                json!({
                    "name": test.name,
                    "ok": test.failure.is_none(),
                    "failure": test.failure,
                })
            })
            .collect();
        print_json(&json!({ "passed": all - failed, "failed": failed, "tests": tests }))?;
    } else if all > 0 {
        print(&text(&report, args.verbose))?;
    }
    match (all, failed) {
        (0, _) if !args.output.json => Err(Failure::failed(format!(
            "no test to run: add a `*_test.rego` file with a rule `test_…`{}",
            if args.run.is_empty() {
                ""
            } else {
                ", or look for something else with --run"
            }
        ))),
        (0, _) | (_, 1..) => Err(Failure::reported()),
        _ => Ok(()),
    }
}

fn text(report: &TestReport, verbose: bool) -> String {
    let mut text = String::new();
    for test in &report.outcomes {
        match &test.failure {
            Some(failure) => {
                let _ = writeln!(text, "FAIL  {}: {failure}", test.name);
            }
            None if verbose => {
                let _ = writeln!(text, "pass  {}", test.name);
            }
            None => {}
        }
    }
    let (all, failed) = (report.outcomes.len(), report.failures().count());
    let _ = writeln!(text, "{} of {all} tests passed", all - failed);
    text
}
