//! Side-by-side benchmarks of Real Dispatch: `cargo run --release -p dispatch-bench`.
//!
//! Absolute speed depends on the machine, so nothing here is one: each figure is a ratio to a
//! baseline that runs in the same minute on the same servers, in interleaved rounds, and stands next
//! to the floor that it must reach and the goal that it should. Everything is durable. A run ends
//! with the invariant check over all that it wrote; one violation, and nothing is published.

mod baseline;
mod bench;
mod beside;
mod check;
mod cpu;
mod dump;
mod figures;
mod http;
mod key;
mod life;
mod lives;
mod load;
mod pgbench;
mod proxy;
mod relaying;
mod report;
mod servers;
mod service;
mod stats;

use std::{io::Write, path::PathBuf, process::ExitCode, thread};

use anyhow::{Context, Result};
use bench::{Bench, Settings};
use chrono::{SecondsFormat, Utc};
use clap::{Parser, ValueEnum};
use embedded::MissingInfrastructure;
use figures::{auth, r1, r1c, r1p, r3, r4, r5, r6, r7, r7c, r9, r10, r11, r13, r14};
use report::{Met, Report};

/// Exit code of a run that could not measure anything.
const MISSING: u8 = 3;

/// Measures Real Dispatch against baselines on this machine.
#[derive(Debug, Parser)]
#[command(name = "dispatch-bench", version)]
struct Arguments {
    /// What to measure; everything without it. R1 includes R1b, R7 includes R7b.
    ids: Vec<Id>,
    /// Interleaved rounds per figure; at least 5 for figures that are published.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Two short rounds of everything, to see that it works.
    #[arg(long)]
    quick: bool,
    /// R9 up to ten million delivered rows instead of one: takes many minutes and gigabytes.
    #[arg(long)]
    huge: bool,
    /// Where the result is written as JSON.
    #[arg(long, default_value = "bench-result.json")]
    json: PathBuf,
    /// This process is the dispatch-api of another one.
    #[arg(long, hide = true)]
    as_dispatch_api: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
enum Id {
    Auth,
    R1,
    R1c,
    R1p,
    R3,
    R4,
    R5,
    R6,
    R7,
    R7c,
    R9,
    R10,
    R11,
    R13,
    R14,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A part of the program may have chosen before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // A slow statement is what is looked for here, not news.
        .with_env_filter("warn,sqlx::query=error")
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(8 << 20)
        .enable_all()
        .build();
    let outcome = runtime
        .context("starting the runtime")
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match outcome {
        Ok(good) => ExitCode::from(u8::from(!good)),
        Err(error) => {
            say(&format!("{error:#}"));
            let missing = error.chain().any(|cause| {
                cause.is::<MissingInfrastructure>()
                    || cause.to_string().starts_with("INFRASTRUCTURE MISSING:")
            });
            ExitCode::from(if missing { MISSING } else { 1 })
        }
    }
}

/// Whether the figures may be published and all floors are met.
async fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.as_dispatch_api {
        service::run().await?;
        return Ok(true);
    }
    let quick = arguments.quick;
    let bench = Bench::start(Settings {
        rounds: if quick { 2 } else { arguments.rounds.into() },
        quick,
        delivered_rows: match (arguments.huge, quick) {
            (true, _) => 10_000_000,
            (false, false) => 1_000_000,
            (false, true) => 10_000,
        },
    })
    .await?;
    let ids = match arguments.ids.as_slice() {
        [] => Id::value_variants(),
        some => some,
    };
    let mut lines = Vec::new();
    for id in ids {
        lines.extend(match id {
            Id::Auth => auth::run(&bench).await?,
            Id::R1 => r1::run(&bench).await?,
            Id::R1c => r1c::run(&bench).await?,
            Id::R1p => r1p::run(&bench).await?,
            Id::R3 => r3::run(&bench).await?,
            Id::R4 => r4::run(&bench).await?,
            Id::R5 => r5::run(&bench).await?,
            Id::R6 => r6::run(&bench).await?,
            Id::R7 => r7::run(&bench).await?,
            Id::R7c => r7c::run(&bench).await?,
            Id::R9 => r9::run(&bench).await?,
            Id::R10 => r10::run(&bench).await?,
            Id::R11 => r11::run(&bench).await?,
            Id::R13 => r13::run(&bench).await?,
            Id::R14 => r14::run(&bench).await?,
        });
    }
    let mut violations = 0;
    for database in bench.checked() {
        say(&format!("checking the invariants of {}", database.name));
        violations += check::violations(&database).await?;
    }
    let mut machine = vec![
        (
            "cores".to_owned(),
            thread::available_parallelism()?.to_string(),
        ),
        (
            "system".to_owned(),
            format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        ),
        (
            "Temporal".to_owned(),
            "development server, SQLite in a file".to_owned(),
        ),
    ];
    machine.extend(bench.servers.durability().await?);
    let rounds = bench.settings.rounds;
    bench.stop().await;
    if violations > 0 {
        say(&format!("{violations} violations: nothing is published"));
        return Ok(false);
    }
    let report = Report {
        at: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        rounds,
        quick,
        machine,
        lines,
    };
    print(&report)?;
    std::fs::write(&arguments.json, serde_json::to_vec_pretty(&report)?)
        .with_context(|| format!("writing {}", arguments.json.display()))?;
    Ok(report.lines.iter().all(|line| line.met() != Met::No))
}

fn print(report: &Report) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{}", report.table())?;
    let machine: Vec<_> = report
        .machine
        .iter()
        .map(|(k, v)| format!("{k} {v}"))
        .collect();
    writeln!(out, "{}; {} rounds", machine.join(", "), report.rounds)?;
    if report.quick {
        writeln!(out, "A quick run: these figures are not to be published.")?;
    }
    Ok(())
}

/// A line of progress, on standard error.
fn say(line: &str) {
    // Nobody is left to tell when the terminal is gone.
    let _ = writeln!(std::io::stderr(), "bench: {line}");
}
