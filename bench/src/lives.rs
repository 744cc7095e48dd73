//! Whole lives of tickets, 17 commands each: through everything that we built, and as signals to a
//! workflow that somebody else would write. Each side has a Temporal server of its own, because the
//! workers serve the same task queue.

use std::{sync::Arc, time::Duration};

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
    baseline::{BaselineWorker, Manner},
    bench::Bench,
    cpu,
    http::Http,
    key::worker_key,
    life::{self, Step},
    load,
    relaying::{self, Relay, Sample},
    servers::{Database, NAMESPACE, client, connection},
    service::Service,
};

/// How fast the commands of one ticket follow each other.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Tickets at the same time.
    pub tickets: usize,
    /// Between two commands of a ticket; zero is at once.
    pub pause: Duration,
}

impl Pace {
    /// Each next command when the last one was answered.
    pub fn at_once(bench: &Bench) -> Self {
        Self {
            tickets: bench.settings.pick(24, 8),
            pause: Duration::ZERO,
        }
    }

    /// A second between two commands: nothing can travel together.
    pub fn calm(bench: &Bench) -> Self {
        Self {
            pause: Duration::from_secs(1),
            ..Self::at_once(bench)
        }
    }
}

/// What a round of lives cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// CPU milliseconds of Temporal's server per life.
    pub cpu_ms: f64,
    /// History events per life.
    pub events: f64,
    /// Lives per second, from the first command to the end of the last workflow.
    pub rate: f64,
}

/// Both sides, warm.
pub struct Sides {
    /// Ours.
    pub ours: Ours,
    /// What it is held against.
    pub baseline: Baseline,
}

impl Sides {
    /// Starts both; `name` is that of the databases.
    pub async fn start(bench: &Bench, name: &str, manner: Manner) -> Result<Self> {
        let ours = Ours::start(bench, name).await?;
        let baseline = Baseline::start(bench, name, &ours, manner).await?;
        let mut sides = Self { ours, baseline };
        // Both workers' caches and the servers' own first steps; then what they cost when nothing
        // happens.
        let few = Pace {
            tickets: 2,
            pause: Duration::ZERO,
        };
        sides.ours.live(few).await?;
        sides.baseline.live(few).await?;
        let idle = bench.settings.pick(10, 3);
        sides.ours.idle = idle_cpu(&sides.ours.server, idle).await?;
        sides.baseline.idle = idle_cpu(&sides.baseline.server, idle).await?;
        Ok(sides)
    }

    /// Stops both.
    pub async fn stop(self) -> Result<()> {
        self.baseline.stop().await?;
        self.ours.stop().await
    }
}

/// Everything that we built.
pub struct Ours {
    server: TemporalServer,
    /// To Temporal.
    pub connection: Connection,
    /// What dispatch-api writes to.
    pub database: Database,
    /// dispatch-api.
    pub service: Service,
    relay: Relay,
    worker: tokio::task::JoinHandle<Result<(), worker::WorkerError>>,
    stop_worker: CancellationToken,
    life: Arc<Vec<Step>>,
    /// CPU seconds of Temporal per second when nothing happens.
    pub idle: f64,
}

impl Ours {
    /// Starts it on a database of this name.
    pub async fn start(bench: &Bench, name: &str) -> Result<Self> {
        let server = bench.servers.temporal().await?;
        let database = bench.database(name).await?;
        let service = Service::start(&database, 16).await?;
        let relay = Relay::start(&server, &database, Tuning::default()).await?;
        let stop_worker = CancellationToken::new();
        let config = WorkerConfig::new(
            connection(&server)?,
            NAMESPACE,
            Url::parse(&format!("http://{}", service.address))?,
            worker_key(service.address).await?,
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

    /// Leads these lives.
    pub async fn live(&self, pace: Pace) -> Result<Cost> {
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

    /// Stops it, when everything is relayed.
    pub async fn stop(self) -> Result<()> {
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

/// A workflow that somebody else would write, and its signals.
pub struct Baseline {
    server: TemporalServer,
    connection: Connection,
    temporal: Temporal,
    worker: BaselineWorker,
    signals: Vec<Sample>,
    /// CPU seconds of Temporal per second when nothing happens.
    pub idle: f64,
}

impl Baseline {
    /// Takes its signals from a life that is really led, before anybody relays it.
    async fn start(bench: &Bench, name: &str, ours: &Ours, manner: Manner) -> Result<Self> {
        let database = bench.database(&format!("{name}_sample")).await?;
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
            worker: BaselineWorker::start(client(&server).await?, manner)?,
            server,
            signals,
            idle: 0.0,
        })
    }

    /// Leads these lives.
    pub async fn live(&self, pace: Pace) -> Result<Cost> {
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
) -> Result<Cost> {
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
    let seconds = begun.elapsed().as_secs_f64();
    let used = cpu::of_process(pid)? - before - idle * seconds;
    let lives = pace.tickets as f64;
    Ok(Cost {
        cpu_ms: used / lives * 1e3,
        events: events.iter().sum::<f64>() / lives,
        rate: lives / seconds,
    })
}
