//! R1p: policy's share of what a command costs, under the load of R1 with the bundle that comes with
//! the program. A command's CPU is that of dispatch-api and Postgres, as R1b counts it; dispatch-api
//! alone is published beside it. Policy's is that of one thread which decides once more, in process,
//! on exactly the inputs that those commands left on record: from the typed input to the typed
//! decision, as dispatch-api does, plus the canonical text of the input, which nobody would write
//! but for the decision's record. It runs while the same load does, so caches and cores are shared
//! as they are in the service.

use std::{hint::black_box, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use contracts::{
    canonical::canonical_json,
    policy::{PolicyInput, PolicyResult},
};
use policy::Bundle;
use sqlx::PgPool;

use crate::{
    bench::Bench,
    beside::beside,
    cpu,
    life::{self, Step},
    load,
    report::{Good, Line, number},
    service::Service,
    stats::interleaved,
};

const CLIENTS: usize = 32;
/// Decisions in a batch: the latest on record, at most so many.
const INPUTS: i64 = 500;

/// Measures it.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let life = Arc::new(life::short(Utc::now())?);
    let bundle = Arc::new(Bundle::starter()?);
    let database = bench.database("r1p").await?;
    let postgres = bench.servers.postgres_pid()?;
    let service = Service::start(&database, CLIENTS as u32).await?;
    let time = bench.settings.round_time();
    load::play(service.address, &life, CLIENTS, time).await?;

    let [of_all, of_service, text_of_all] = interleaved(
        "R1p (CPU µs: policy / a command; policy / dispatch-api; with the record / a command)",
        bench.settings.rounds,
        async |_| {
            let inputs = recorded(&database.admin, &bundle).await?;
            let [decide, write] = under_load(&service, &life, time, &bundle, inputs).await?;
            Ok([decide, decide, decide + write])
        },
        async |_| {
            let own = || cpu::of_process(service.pid);
            let (own_before, before) = (own()?, cpu::of_family(postgres)?);
            let done = load::play(service.address, &life, CLIENTS, time).await?;
            let per_command = |seconds: f64| seconds / done.commands as f64 * 1e6;
            let own = own()? - own_before;
            let all = own + cpu::of_family(postgres)? - before;
            Ok([per_command(all), per_command(own), per_command(all)])
        },
    )
    .await?;
    let (p50, mean): (f64, f64) = sqlx::query_as(
        "select percentile_cont(0.5) within group (order by evaluation_micros)::float8,
                avg(evaluation_micros)::float8 from policy_decisions",
    )
    .fetch_one(&database.admin)
    .await?;
    service.stop().await?;
    database.close().await;
    let line = |what: &str, of: &str, rounds: &crate::stats::Rounds, notes| Line {
        id: "R1p",
        what: format!("{what}, {CLIENTS} clients"),
        ours: format!("{} µs", number(rounds.ours())),
        baseline: format!("{of} {} µs", number(rounds.baseline())),
        figure: rounds.ratio(),
        unit: "",
        good: Good::AtMost,
        floor: 0.05,
        goal: 0.05,
        notes,
    };
    Ok(vec![
        line(
            "policy's share of a command's CPU",
            "dispatch-api + Postgres",
            &of_all,
            vec![format!(
                "the decision on the inputs that the commands of R1 recorded, made again in process \
                 beside the same load; what dispatch-api itself stored as the time on the clock of \
                 its decisions: p50 {p50:.0} µs, mean {mean:.0} µs (preempted by others at times)",
            )],
        ),
        line(
            "the same with the canonical text for the record",
            "dispatch-api + Postgres",
            &text_of_all,
            Vec::new(),
        ),
        line(
            "policy's share of dispatch-api's own CPU",
            "dispatch-api",
            &of_service,
            Vec::new(),
        ),
    ])
}

/// The latest inputs on record, each of which must be decided now as it was then.
async fn recorded(admin: &PgPool, bundle: &Bundle) -> Result<Vec<PolicyInput>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select input, result from policy_decisions
          where bundle_sha256 = $1 order by id desc limit $2",
    )
    .bind(&bundle.reference().sha256)
    .bind(INPUTS)
    .fetch_all(admin)
    .await?;
    ensure!(!rows.is_empty(), "no decision is on record");
    let mut inputs = Vec::with_capacity(rows.len());
    for (text, result) in rows {
        let input: PolicyInput = serde_json::from_str(&text).context("reading a recorded input")?;
        ensure!(
            canonical_json(&input)? == text,
            "it reads otherwise: {text}"
        );
        let decision = bundle.evaluate(&input)?;
        ensure!(
            decision.result.to_string() == result && decision.result == PolicyResult::Allow,
            "decided otherwise: {text}"
        );
        inputs.push(input);
    }
    Ok(inputs)
}

/// CPU microseconds of one decision, and of one text, of a thread beside the load.
async fn under_load(
    service: &Service,
    life: &Arc<Vec<Step>>,
    time: Duration,
    bundle: &Arc<Bundle>,
    inputs: Vec<PolicyInput>,
) -> Result<[f64; 2]> {
    let (bundle, decisions) = (Arc::clone(bundle), inputs.len() as f64);
    let load = load::play(service.address, life, CLIENTS, time);
    let seconds = beside(load, move || {
        let begun = cpu::of_thread()?;
        for input in &inputs {
            black_box(bundle.evaluate(black_box(input))?);
        }
        let decided = cpu::of_thread()?;
        for input in &inputs {
            black_box(canonical_json(black_box(input))?);
        }
        Ok([decided - begun, cpu::of_thread()? - decided])
    });
    Ok(seconds.await?.map(|seconds| seconds / decisions * 1e6))
}
