//! R1c: what audit chain, row-level security and policy cost one tenant at 32 clients. Measured at
//! the pipeline, without HTTP in front of it, which would only dilute the difference.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use api::bundles::Bundles;
use api::pipeline::{Call, Pipeline, PipelineOptions, Without};
use chrono::Utc;
use contracts::{CorrelationId, TraceContext};
use futures::future::try_join_all;
use policy::{StarterBundles, Trust};
use store::{OutboxWaker, bootstrap::create_login_without_rls};
use uuid::Uuid;

use crate::{
    bench::Bench,
    http::ticket_of,
    life::{self, Step},
    report::{Good, Line, number},
    servers::{Database, pool},
    stats::interleaved,
};

const CLIENTS: usize = 32;

/// Measures the three.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let life = Arc::new(life::short(Utc::now())?);
    let time = bench.settings.round_time();
    let mut lines = Vec::new();
    for feature in ["audit chain", "row-level security", "policy"] {
        let with = bench.database("r1c_with").await?;
        let (without, omitted) = match feature {
            // Its rows are not chained, which the checker would find.
            "audit chain" => (
                bench.unchecked_database("r1c_unchained").await?,
                Without {
                    chain: true,
                    policy: false,
                },
            ),
            "policy" => (
                bench.database("r1c_without").await?,
                Without {
                    chain: false,
                    policy: true,
                },
            ),
            _ => (bench.database("r1c_without").await?, Without::default()),
        };
        let password = Uuid::new_v4().simple().to_string();
        let url = if feature == "row-level security" {
            create_login_without_rls(&without.admin_url, &without.name, &password).await?
        } else {
            without.addresses.app.clone()
        };
        let ours = Arc::new(pipeline(&with.addresses.app, Without::default()).await?);
        let baseline = Arc::new(pipeline(&url, omitted).await?);
        play(&ours, &life, time / 4).await?;
        play(&baseline, &life, time / 4).await?;
        let [rates] = interleaved(
            &format!("R1c {feature} (commands/s)"),
            bench.settings.rounds,
            async |_| Ok([play(&ours, &life, time).await?]),
            async |_| Ok([play(&baseline, &life, time).await?]),
        )
        .await?;
        lines.push(Line {
            id: "R1c",
            what: format!("commands/s with {feature}, {CLIENTS} clients, 1 tenant"),
            ours: format!("{}/s", number(rates.ours())),
            baseline: format!("without {}/s", number(rates.baseline())),
            figure: rates.ratio(),
            unit: "",
            good: Good::AtLeast,
            floor: 0.85,
            goal: 0.95,
            notes: Vec::new(),
        });
        end(&with, ours).await;
        end(&without, baseline).await;
    }
    Ok(lines)
}

async fn end(database: &Database, pipeline: Arc<Pipeline>) {
    drop(pipeline);
    database.close().await;
}

async fn pipeline(url: &str, without: Without) -> Result<Pipeline> {
    let pool = pool(url, CLIENTS as u32).await?;
    let waker = OutboxWaker::start((*pool.connect_options()).clone());
    let options = PipelineOptions {
        without,
        ..PipelineOptions::default()
    };
    Ok(Pipeline::new(
        pool,
        Arc::new(Bundles::new(
            Arc::new(StarterBundles::new()?),
            Trust::Anybody,
        )),
        waker,
        options,
    ))
}

/// Commands per second of 32 clients in this time.
async fn play(pipeline: &Arc<Pipeline>, life: &Arc<Vec<Step>>, time: Duration) -> Result<f64> {
    let commands = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let tasks = (0..CLIENTS).map(|_| {
        let (pipeline, life) = (Arc::clone(pipeline), Arc::clone(life));
        let commands = Arc::clone(&commands);
        tokio::spawn(async move {
            'tickets: loop {
                let mut ticket = None;
                for step in life.iter() {
                    if begun.elapsed() >= time {
                        break 'tickets;
                    }
                    let answer = pipeline.execute(call(step, ticket)?).await;
                    if answer.status >= 300 {
                        bail!("{}: {} {}", step.operation, answer.status, answer.body);
                    }
                    if ticket.is_none() {
                        ticket = Some(ticket_of(answer.body.as_bytes())?);
                    }
                    commands.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(())
        })
    });
    for ended in try_join_all(tasks).await? {
        ended?;
    }
    Ok(commands.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

fn call(step: &Step, ticket_id: Option<contracts::TicketId>) -> Result<Call> {
    let key = Uuid::now_v7();
    let trace = format!("00-{}-0123456789abcdef-01", key.simple());
    Ok(Call {
        actor: step.who.actor(),
        scopes: api::identity::Scopes::ALL,
        request_id: key.to_string(),
        correlation_id: CorrelationId::new(key.to_string())?,
        trace: TraceContext::parse(&trace, None).context("a trace of an id")?,
        tool_name: None,
        of_list: None,
        home: None,
        taken: false,
        untold: false,
        ticket_id,
        expected_version: None,
        dry_run: false,
        received_at: Utc::now(),
        command: step.command.clone(),
    })
}
