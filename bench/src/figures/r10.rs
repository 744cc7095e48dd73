//! R10: tenants beside each other.
//!
//! - Commands per second, spread over many tenants, against all of them of one tenant: the same clients,
//!   database and dispatch-api. Without quotas, or the one tenant would be held back.
//! - p99 of a quiet tenant at a constant rate while another one floods, against the same without a flood,
//!   with the quotas that are usual. The flood takes whatever it is given: its clients send the next
//!   request at once, whatever the answer says, and wait for nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use chrono::Utc;
use contracts::{Operation, TenantId};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use store::seed::{self, SeededTenant};
use tokio::time::{MissedTickBehavior, interval_at, sleep};
use uuid::Uuid;

use crate::{
    bench::Bench,
    http::{Http, ticket_of},
    life::{self, Step},
    load,
    report::{Good, Line, number},
    servers::{Database, pool},
    service::Service,
    stats::interleaved,
};

/// Clients of the first figure.
const CLIENTS: usize = 32;
/// Clients of the flood.
const FLOOD: usize = 64;
/// The quiet tenant's commands per second, of a generator that waits for nobody.
const PER_SECOND: u32 = 50;
/// Connections that they come by in turn.
const LANES: u32 = 8;
/// Until a flood has used up what may come at once: what it is then held to is what goes on.
const UNDER_WAY: Duration = Duration::from_secs(8);

type Life = Arc<Vec<Step>>;

/// Measures both.
pub async fn run(bench: &Bench) -> Result<Vec<Line>> {
    let mut lines = spread(bench).await?;
    lines.extend(flooded(bench).await?);
    Ok(lines)
}

/// So many tenants with places, things and people, and a life in each.
async fn tenants(database: &Database, count: usize) -> Result<Vec<Life>> {
    let owner = pool(&database.addresses.owner, 4).await?;
    let now = Utc::now();
    let mut lives = Vec::with_capacity(count);
    for n in 0..count {
        let (id, slug) = (TenantId::from_uuid(Uuid::new_v4()), format!("bench_{n}"));
        seed::tenant(&owner, id, &slug).await?;
        lives.push(Arc::new(life::short_of(&SeededTenant::of(id, &slug), now)?));
    }
    owner.close().await;
    Ok(lives)
}

async fn spread(bench: &Bench) -> Result<Vec<Line>> {
    let database = bench.database("r10_spread").await?;
    let counts: &[usize] = bench.settings.pick(&[10, 100, 1_000], &[10, 100]);
    let most = counts.iter().copied().max().unwrap_or(1);
    crate::say(&format!("R10: making {most} tenants"));
    let lives = tenants(&database, most).await?;
    let service = Service::start(&database, CLIENTS as u32).await?;
    let time = bench.settings.round_time();
    let mut lines = Vec::new();
    for &count in counts {
        // What a process knows of each tenant, it knows.
        play(&service, &lives[..count], time).await?;
        let [rates] = interleaved(
            &format!("R10 at {count} tenants (commands/s)"),
            bench.settings.rounds,
            async |_| Ok([play(&service, &lives[..count], time).await?]),
            async |_| Ok([play(&service, &lives[..1], time).await?]),
        )
        .await?;
        lines.push(Line {
            id: "R10",
            what: format!("commands/s of {count} tenants, {CLIENTS} clients"),
            ours: format!("{}/s", number(rates.ours())),
            baseline: format!("1 tenant {}/s", number(rates.baseline())),
            figure: rates.ratio(),
            unit: "",
            good: Good::AtLeast,
            floor: 0.9,
            goal: 0.97,
            notes: Vec::new(),
        });
    }
    service.stop().await?;
    database.close().await;
    Ok(lines)
}

/// Plays lives for about this long, each in the next tenant; commands per second.
async fn play(service: &Service, lives: &[Life], time: Duration) -> Result<f64> {
    let mut connections = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        connections.push(Http::connect(service.address).await?);
    }
    let (commands, turn) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let tasks = connections.into_iter().map(|mut http| {
        let (commands, turn) = (Arc::clone(&commands), Arc::clone(&turn));
        let lives = lives.to_vec();
        tokio::spawn(async move {
            'lives: loop {
                let next = turn.fetch_add(1, Ordering::Relaxed);
                let life = &lives[next as usize % lives.len()];
                let mut ticket = None;
                for step in life.iter() {
                    if begun.elapsed() >= time {
                        break 'lives;
                    }
                    load::take(&mut http, step, &mut ticket).await?;
                    commands.fetch_add(1, Ordering::Relaxed);
                }
            }
            anyhow::Ok(())
        })
    });
    for ended in try_join_all(tasks).await? {
        ended?;
    }
    Ok(commands.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

async fn flooded(bench: &Bench) -> Result<Vec<Line>> {
    let database = bench.database("r10_flood").await?;
    let lives = tenants(&database, 2).await?;
    let (quiet, loud) = (&lives[0], &lives[1]);
    let service = Service::start_limited(&database, 16).await?;
    let count = bench.settings.pick(1_000, 200);
    let under_way = bench.settings.pick(UNDER_WAY, UNDER_WAY / 2);
    // Warms up; and the flood has nothing left that may come at once.
    p99(&service, quiet, count / 2).await?;
    let flood = Flood::begin(&service, loud).await?;
    sleep(under_way).await;
    flood.end().await?;
    let mut answers = Answers::default();
    let [p99s, p50s] = interleaved(
        "R10 quiet tenant (p99, p50 ms; flooded / alone)",
        bench.settings.rounds,
        async |_| {
            let flood = Flood::begin(&service, loud).await?;
            let measured = p99(&service, quiet, count).await;
            answers.add(&flood.end().await?);
            measured
        },
        async |_| p99(&service, quiet, count).await,
    )
    .await?;
    service.stop().await?;
    database.close().await;
    let note = format!(
        "{PER_SECOND} commands per second over {LANES} connections, HDR, counted from when each was due; \
         p50 {} ms, without a flood {} ms; the flood: {FLOOD} clients that never wait. Of its requests \
         {}/s were carried out and {}/s refused",
        number(p50s.ours()),
        number(p50s.baseline()),
        number(answers.per_second(answers.done)),
        number(answers.per_second(answers.refused)),
    );
    Ok(vec![Line {
        id: "R10",
        what: "p99 of a quiet tenant while another floods".to_owned(),
        ours: format!("{} ms", number(p99s.ours())),
        baseline: format!("no flood {} ms", number(p99s.baseline())),
        figure: p99s.ratio(),
        unit: "",
        good: Good::AtMost,
        floor: 3.0,
        goal: 1.5,
        notes: vec![note],
    }])
}

/// What a flood was answered.
#[derive(Debug, Clone, Copy, Default)]
struct Answers {
    done: u64,
    refused: u64,
    seconds: f64,
}

impl Answers {
    fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.refused += other.refused;
        self.seconds += other.seconds;
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }
}

/// Clients of one tenant that send as much as they are answered.
struct Flood {
    stop: Arc<AtomicBool>,
    begun: Instant,
    clients: Vec<tokio::task::JoinHandle<Result<Answers>>>,
}

impl Flood {
    async fn begin(service: &Service, life: &Life) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::with_capacity(FLOOD);
        for _ in 0..FLOOD {
            let http = Http::connect(service.address).await?;
            clients.push(tokio::spawn(flood(
                http,
                Arc::clone(life),
                Arc::clone(&stop),
            )));
        }
        Ok(Self {
            stop,
            begun: Instant::now(),
            clients,
        })
    }

    async fn end(self) -> Result<Answers> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Answers::default();
        for ended in try_join_all(self.clients).await? {
            all.add(&ended?);
        }
        all.seconds = self.begun.elapsed().as_secs_f64();
        Ok(all)
    }
}

async fn flood(mut http: Http, life: Life, stop: Arc<AtomicBool>) -> Result<Answers> {
    let mut answers = Answers::default();
    let mut ticket = None;
    for step in life.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match (step.operation, ticket) {
            (Operation::CreateTicket, _) => ticket = None,
            // Its creation was refused.
            (_, None) => continue,
            (_, Some(_)) => {}
        }
        let key = Uuid::now_v7();
        let (status, answer) = http
            .send(&step.token, step.operation, ticket, key, &step.body)
            .await?;
        match status {
            200..300 => {
                answers.done += 1;
                if ticket.is_none() {
                    ticket = Some(ticket_of(answer)?);
                }
            }
            429 => answers.refused += 1,
            // What came before it was refused.
            409 => {}
            _ => bail!(
                "{}: {status} {}",
                step.operation,
                String::from_utf8_lossy(answer)
            ),
        }
    }
    Ok(answers)
}

/// p99 and p50 in milliseconds of so many commands at the constant rate, counted from when each was
/// due; each must be carried out.
async fn p99(service: &Service, life: &Life, count: usize) -> Result<[f64; 2]> {
    let lanes = (0..LANES).map(|lane| async move {
        let mut http = Http::connect(service.address).await?;
        let period = Duration::from_secs(1) / PER_SECOND;
        let begin = tokio::time::Instant::now() + period * lane;
        let mut due = interval_at(begin, period * LANES);
        due.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut taken = Vec::new();
        let mut ticket = None;
        for step in life.iter().cycle().take(count / LANES as usize) {
            if step.operation == Operation::CreateTicket {
                ticket = None;
            }
            let due = due.tick().await;
            load::take(&mut http, step, &mut ticket).await?;
            taken.push(due.elapsed());
        }
        anyhow::Ok(taken)
    });
    let mut histogram = Histogram::<u64>::new(3)?;
    for time in try_join_all(lanes).await?.into_iter().flatten() {
        histogram.record(time.as_micros().try_into()?)?;
    }
    ensure!(!histogram.is_empty(), "nothing was measured");
    Ok([0.99, 0.5].map(|quantile| histogram.value_at_quantile(quantile) as f64 / 1e3))
}
