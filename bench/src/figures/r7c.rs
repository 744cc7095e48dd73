//! R7c: CPU seconds that the Temporal server uses for the whole life of a ticket, 17 commands, against the
//! same workflow built the ordinary way: a signal per event, ordinary activities. Once with the
//! commands following each other at once, so that events wait and travel together, and once with a
//! second between them, so that they cannot.
//!
//! Each side has a Temporal server of its own: the workers serve the same task queue.

use std::{sync::Arc, time::Duration};

use activities::TokenSource;
use anyhow::{Context, Result, bail};
use chrono::Utc;
use contracts::TicketId;
use embedded::TemporalServer;
use futures::future::try_join_all;
use relay::{Temporal, Tuning};
use temporalio_client::Connection;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;
use worker::{Version, WorkerConfig};

use crate::{
    bench::Bench,
    cpu,
    http::Http,
    life::{self, Step},
    load,
    plain::PlainWorker,
    relaying::{self, Relay, Sample},
    report::{Good, Line, number},
    servers::{Database, NAMESPACE, client, connection},
    service::{AUDIENCE, ISSUER, SECRET, Service},
    stats::interleaved,
};

/// How fast the commands of one ticket follow each other.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Tickets at the same time.
    tickets: usize,
    /// Between two commands of a ticket; zero is at once.
    pause: Duration,
}

/// Measures both.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let mut ours = Ours::start(bench).await?;
    let mut plain = Plain::start(bench, &ours).await?;
    let idle = bench.settings.pick(10, 3);
    // Both workers' caches and the servers' own first steps; then what they cost when nothing
    // happens.
    let few = Pace {
        tickets: 2,
        pause: Duration::ZERO,
    };
    ours.live(few).await?;
    plain.live(few).await?;
    ours.idle = idle_cpu(&ours.server, idle).await?;
    plain.idle = idle_cpu(&plain.server, idle).await?;
    let busy = Pace {
        tickets: bench.settings.pick(24, 8),
        pause: Duration::ZERO,
    };
    let calm = Pace {
        tickets: bench.settings.pick(24, 8),
        pause: Duration::from_secs(1),
    };
    let mut lines = Vec::new();
    for (pace, what, note) in [
        (
            busy,
            "commands at once",
            "17 commands, two visits; all tickets at the same time, each sends its next command when \
             the last one was answered",
        ),
        (
            calm,
            "a command per second",
            "with a second between two commands nothing can travel together, so a signal and a \
             workflow task per event are what both sides pay; what is left to save are the calls, \
             which are local activities",
        ),
    ] {
        let [cpu, events] = interleaved(
            &format!("R7c {what} (Temporal CPU ms, history events, per life)"),
            bench.settings.rounds,
            async |_| ours.live(pace).await,
            async |_| plain.live(pace).await,
        )
        .await?;
        lines.push(Line {
            id: "R7c",
            what: format!("Temporal CPU per ticket life, {what}"),
            ours: format!("{} ms", number(cpu.ours())),
            baseline: format!("plain {} ms", number(cpu.baseline())),
            figure: cpu.ratio(),
            unit: "",
            good: Good::AtMost,
            floor: 0.6,
            goal: 0.35,
            notes: vec![format!(
                "{note}; {} tickets per round; without what the server uses when nothing happens, {} \
                 and {} ms per second; history events per life {} against {}",
                pace.tickets,
                number(ours.idle * 1e3),
                number(plain.idle * 1e3),
                number(events.ours()),
                number(events.baseline()),
            )],
        });
    }
    plain.stop().await?;
    ours.stop().await?;
    Ok(lines)
}

/// Everything that we built.
struct Ours {
    server: TemporalServer,
    connection: Connection,
    database: Database,
    service: Service,
    relay: Relay,
    worker: tokio::task::JoinHandle<Result<(), worker::WorkerError>>,
    stop_worker: CancellationToken,
    life: Arc<Vec<Step>>,
    idle: f64,
}

impl Ours {
    async fn start(bench: &Bench) -> Result<Self> {
        let server = bench.servers.temporal().await?;
        let database = bench.database("r7c").await?;
        let service = Service::start(&database, 16).await?;
        let relay = Relay::start(&server, &database, Tuning::default()).await?;
        let stop_worker = CancellationToken::new();
        let config = WorkerConfig::new(
            connection(&server)?,
            NAMESPACE,
            Url::parse(&format!("http://{}", service.address))?,
            TokenSource::new(SECRET.as_bytes(), ISSUER, AUDIENCE),
        );
        let worker = tokio::spawn(worker::run(config, stop_worker.clone()));
        worker::promote(&client(&server).await?, &Version::of_this_build()).await?;
        Ok(Self {
            connection: Connection::connect(connection(&server)?).await?,
            server,
            database,
            service,
            relay,
            worker,
            stop_worker,
            life: Arc::new(life::whole(Utc::now())?),
            idle: 0.0,
        })
    }

    /// Temporal's CPU milliseconds and history events per life.
    async fn live(&self, pace: Pace) -> Result<[f64; 2]> {
        measure(
            &self.server,
            self.idle,
            &self.connection,
            pace,
            async |start| {
                let mut http = Http::connect(self.service.address).await?;
                let mut ticket = None;
                for (number, step) in self.life.iter().enumerate() {
                    sleep_until(start + pace.pause * u32::try_from(number)?).await;
                    load::take(&mut http, step, &mut ticket).await?;
                }
                ticket.context("the first command creates it")
            },
        )
        .await
    }

    async fn stop(self) -> Result<()> {
        relaying::until_drained(&self.database.admin).await?;
        self.stop_worker.cancel();
        self.worker.await??;
        self.relay.stop().await?;
        self.service.stop().await?;
        self.database.close().await;
        self.server.shutdown().await;
        Ok(())
    }
}

/// The ordinary way.
struct Plain {
    server: TemporalServer,
    connection: Connection,
    temporal: Temporal,
    worker: PlainWorker,
    signals: Vec<Sample>,
    idle: f64,
}

impl Plain {
    /// Takes its signals from a life that is really led, before anybody relays it.
    async fn start(bench: &Bench, ours: &Ours) -> Result<Self> {
        let database = bench.database("r7c_sample").await?;
        let service = Service::start(&database, 2).await?;
        let made = load::tickets(service.address, &ours.life, 1).await?;
        let ticket = *made.first().context("a ticket was created")?;
        let signals = Sample::per_event(&database.relay, ticket).await?;
        service.stop().await?;
        database.close().await;
        if signals.len() != ours.life.len() {
            bail!("{} commands made {} events", ours.life.len(), signals.len());
        }
        let server = bench.servers.temporal().await?;
        Ok(Self {
            connection: Connection::connect(connection(&server)?).await?,
            temporal: relaying::temporal(&server)?,
            worker: PlainWorker::start(client(&server).await?)?,
            server,
            signals,
            idle: 0.0,
        })
    }

    async fn live(&self, pace: Pace) -> Result<[f64; 2]> {
        measure(
            &self.server,
            self.idle,
            &self.connection,
            pace,
            async |start| {
                let ticket = TicketId::from_uuid(Uuid::now_v7());
                for (number, signal) in self.signals.iter().enumerate() {
                    sleep_until(start + pace.pause * u32::try_from(number)?).await;
                    signal.addressed(ticket).send(&self.temporal).await?;
                }
                Ok(ticket)
            },
        )
        .await
    }

    async fn stop(self) -> Result<()> {
        self.worker.stop().await?;
        self.server.shutdown().await;
        Ok(())
    }
}

/// CPU seconds per second of a server whose workers wait.
async fn idle_cpu(server: &TemporalServer, seconds: u64) -> Result<f64> {
    // What the last lives left to do.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pid = server.pid().context("Temporal has ended")?;
    let (begun, before) = (Instant::now(), cpu::of_process(pid)?);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    Ok((cpu::of_process(pid)? - before) / begun.elapsed().as_secs_f64())
}

/// Leads these lives to the end of their workflows.
async fn measure(
    server: &TemporalServer,
    idle: f64,
    connection: &Connection,
    pace: Pace,
    lead: impl AsyncFn(Instant) -> Result<TicketId>,
) -> Result<[f64; 2]> {
    let pid = server.pid().context("Temporal has ended")?;
    let before = cpu::of_process(pid)?;
    let begun = Instant::now();
    let lives = (0..pace.tickets).map(|number| {
        let lead = &lead;
        // Not all in the same instant.
        let start = begun + pace.pause * number as u32 / pace.tickets as u32;
        async move {
            let ticket = lead(start).await?;
            let end = relaying::history(connection, ticket, true).await?;
            let end = end.last().context("a closed workflow has a last event")?;
            if end.event_type() != EventType::WorkflowExecutionCompleted {
                bail!("the workflow of {ticket} ended with {:?}", end.event_type());
            }
            anyhow::Ok(end.event_id as f64)
        }
    });
    let events: Vec<f64> = try_join_all(lives).await?;
    let used = cpu::of_process(pid)? - before - idle * begun.elapsed().as_secs_f64();
    let lives = pace.tickets as f64;
    Ok([used / lives * 1e3, events.iter().sum::<f64>() / lives])
}
