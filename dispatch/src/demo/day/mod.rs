//! `dispatch demo --count N`: a realistic day through the public API.
//!
//! A seed gives the stories of a day ([`stories`]): emergencies at night, planned jobs by day, and
//! all that goes wrong, wrong input too. Each story is a small state machine that sends its next
//! command by what was answered to the one before ([`player`]), with keys that follow from the seed:
//! the same day played again does nothing twice. Only the pauses are simulated. Time stamps, windows
//! and SLA clocks are real, so a day that takes a minute breaks no promise of two hours.
//!
//! Every refusal is either foreseen by its story, with its code, or a failure. At the end the
//! records must agree with what callers were told, and each workflow with the database ([`settle`]).

mod clock;
mod live;
mod messages;
mod outcome;
mod people;
mod plan;
mod player;
mod props;
mod rhythm;
mod settle;
mod stories;
mod tale;
mod tally;

use std::{io::Write, sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use client::Client;
use contracts::template::IncidentTemplate;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, interval},
};
use tokio_util::sync::CancellationToken;

use self::{
    clock::Clock, live::Live, outcome::Outcome, people::People, plan::Story, player::Theatre,
    tally::Tally,
};
use super::Stage;
use crate::exit::Failure;

pub use self::clock::Speed;

/// How fast a day goes when nobody says: 24 hours in a minute.
pub const USUAL_SPEED: Speed = Speed::Times(1440.0);

/// Requests that are under way at once.
const REQUESTS: usize = 16;
/// Stories that are under way at once when there are no pauses; else the hours decide.
const STORIES: usize = 32;
/// Stories go on after midnight; people stay signed in.
const TOKEN_HOURS: u32 = 48;
const TOKEN_SPARE: TimeDelta = TimeDelta::hours(2);

/// What is to be played.
#[derive(Debug)]
pub struct Day {
    /// At least so many tickets.
    pub count: u32,
    /// How fast.
    pub speed: Speed,
    /// Gives the same day again.
    pub seed: u64,
    templates: Vec<IncidentTemplate>,
}

impl Day {
    /// A day with the templates of the bundle that comes with the program.
    pub fn new(count: u32, speed: Speed, seed: Option<u64>) -> Result<Self, Failure> {
        let bundle = policy::Bundle::starter().map_err(Failure::failed)?;
        Ok(Self {
            count,
            speed,
            // Short, because people type it again.
            seed: seed.unwrap_or_else(|| rand::RngExt::random_range(&mut rand::rng(), 1..1 << 32)),
            templates: bundle.templates().cloned().collect(),
        })
    }
}

/// Plays the day; prints the outcome to `out`, as text or as one JSON document.
pub async fn run(
    stage: &Stage,
    day: &Day,
    json: bool,
    stop: CancellationToken,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let temporal = stage.temporal.connect().await?;
    let api = Client::new(&stage.api_url, "")?;
    let stories = stories::tell(day.seed, day.count, &day.templates);
    let clock = Clock::start(day.speed);
    let shift = TimeDelta::from_std(clock.length(TOKEN_HOURS * 60)).map_err(Failure::failed)?;
    let theatre = Arc::new(Theatre {
        seed: day.seed,
        world: stage.world.clone(),
        people: People::new(&api, &stage.minter, &stage.world, shift + TOKEN_SPARE)?,
        clock,
        requests: Semaphore::new(REQUESTS),
        tally: Tally::default(),
        stop,
    });
    eprintln!(
        "a day of {} stories, seed {}, speed {}",
        stories.len(),
        day.seed,
        day.speed
    );
    let (begun, since) = (Instant::now(), Utc::now());
    let mut live = Live::new();
    play(&theatre, stories, &mut live).await?;
    if theatre.stop.is_cancelled() {
        return Err(Failure::failed(format!(
            "stopped; `--seed {}` goes on where it stopped",
            day.seed
        )));
    }
    let counts = theatre.tally.read();
    let auditor = theatre.people.auditor();
    let settled = settle::run(stage.world.tenant, auditor, &temporal, &counts, &mut live).await?;
    let dispatcher = theatre.people.client(plan::By::Dispatcher, None)?;
    let messages = messages::read(&dispatcher, &counts, since).await?;
    let outcome = Outcome::new(day, counts, settled, messages, begun.elapsed());
    let text = if json {
        serde_json::to_string_pretty(&outcome).map_err(Failure::failed)? + "\n"
    } else {
        outcome.text()
    };
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(format!("cannot print: {error}")))?;
    if outcome.ok {
        Ok(())
    } else {
        Err(Failure::reported())
    }
}

/// All stories, each when its hour comes.
async fn play(theatre: &Arc<Theatre>, stories: Vec<Story>, live: &mut Live) -> Result<(), Failure> {
    let count = stories.len();
    let players = tokio::spawn(begin(Arc::clone(theatre), stories));
    tokio::pin!(players);
    let mut ticks = interval(live.interval());
    loop {
        tokio::select! {
            ended = &mut players => {
                live.day(&theatre.clock, &theatre.tally.read(), count);
                return ended.map_err(|error| Failure::failed(format!("the day broke off: {error}")))?;
            }
            _ = ticks.tick() => live.day(&theatre.clock, &theatre.tally.read(), count),
        }
    }
}

async fn begin(theatre: Arc<Theatre>, stories: Vec<Story>) -> Result<(), Failure> {
    let breathless = theatre.clock.length(1) == Duration::ZERO;
    let mut players = JoinSet::new();
    let mut result = Ok(());
    for story in stories {
        tokio::select! {
            () = theatre.clock.until(story.arrives) => {}
            () = theatre.stop.cancelled() => break,
        }
        while breathless && players.len() >= STORIES {
            result = result.and(ended(players.join_next().await));
        }
        players.spawn(player::play(Arc::clone(&theatre), story));
    }
    while !players.is_empty() {
        result = result.and(ended(players.join_next().await));
    }
    result
}

fn ended(
    player: Option<Result<Result<(), Failure>, tokio::task::JoinError>>,
) -> Result<(), Failure> {
    match player {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(Failure::failed(format!("a story crashed: {error}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
