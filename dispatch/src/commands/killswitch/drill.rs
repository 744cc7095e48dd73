//! `dispatch killswitch drill`: how soon does a switch stop software?
//!
//! Several callers try to act as one agent while its switch, and no other, is engaged. What they try
//! is a note with an expected version that no ticket has: it goes the whole way (the locks of the
//! kill switch, the policy, a decision, an audit row) and is then refused for its version, so it leaves
//! no note. Before the engagement each attempt is answered VERSION_CONFLICT: the policy let it pass.
//! After it, KILL_SWITCH. An attempt that is *sent* after the engagement was answered and still passes
//! is what must never be; the time to the last one that passed at all is what is measured.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{TimeDelta, Utc};
use clap::Args;
use client::{CallOptions, Client, FilingAnswer, RetryPolicy};
use contracts::{
    ActorKind, ErrorCode, FreeText, Slug, TicketId,
    actor::TokenClaims,
    command::{AddNote, EngageKillSwitch, RecordDrill, ReleaseKillSwitch},
    kill_switch::{KillScope, StopPhase},
    read::TicketFilter,
};
use tokio::{task::JoinSet, time::sleep};
use uuid::Uuid;

use crate::{
    commands::ticket::resolve,
    demo::World,
    desk::{Connection, Desk},
    exit::Failure,
    token::{Caller, Minter},
};

/// No ticket has it.
const NO_VERSION: u64 = 1 << 40;
/// Between two attempts of one caller: each leaves an audit row.
const PAUSE: Duration = Duration::from_millis(20);
/// The callers act before it, and go on after it.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_secs(1);
/// Longer than any drill.
const TOKEN_TTL: TimeDelta = TimeDelta::minutes(10);
/// A drill that dies leaves nothing engaged for long.
const EXPIRES: TimeDelta = TimeDelta::minutes(5);

/// `dispatch killswitch drill`.
#[derive(Debug, Args)]
pub struct DrillArgs {
    /// Callers at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub clients: u32,

    /// Whose record gets the attempts, as refused ones: a ticket's id, the beginning of it, or its short
    /// form [default: the newest ticket]
    #[arg(long, value_name = "ID")]
    pub ticket: Option<String>,

    /// The agent that tries, where no token can be minted: the token of one that does nothing else
    #[arg(
        long,
        value_name = "TOKEN",
        env = "DISPATCH_DRILL_TOKEN",
        hide_env_values = true
    )]
    pub agent_token: Option<String>,

    #[command(flatten)]
    pub connection: Connection,
}

/// One attempt, timed on this machine's steady clock.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    sent: Instant,
    answered: Instant,
    passed: bool,
}

/// What a drill measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Measured {
    stop_millis: u64,
    attempts: u64,
    passed: u64,
}

/// Makes a drill and keeps its report.
pub async fn run(desk: &Desk, args: &DrillArgs) -> Result<(), Failure> {
    let (agent, actor_id) = agent(desk, args)?;
    let ticket = ticket(desk, args).await?;
    let scope = KillScope::Agent { actor_id };
    let reason: Slug = "drill".parse().map_err(Failure::failed)?;

    let (stop, attempts) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let mut callers = JoinSet::new();
    for _ in 0..args.clients {
        callers.spawn(act(
            agent.clone(),
            ticket,
            Arc::clone(&stop),
            Arc::clone(&attempts),
        ));
    }
    sleep(BEFORE).await;
    let (engaged_at, sent) = (Utc::now(), Instant::now());
    let engage = EngageKillSwitch {
        reason: reason.clone(),
        scope: scope.clone(),
        expires_at: Some(engaged_at + EXPIRES),
    };
    let options = CallOptions::default();
    let engaged = desk.api.engage_kill_switch(&engage, &options).await;
    let answered = Instant::now();
    if engaged.is_ok() {
        sleep(AFTER).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut failure = None;
    while let Some(ended) = callers.join_next().await {
        failure = failure.or(ended.map_err(Failure::failed)?.err());
    }
    engaged?;
    let phase = desk.api.kill_switch().await?;
    let release = ReleaseKillSwitch {
        reason,
        scope: scope.clone(),
    };
    let released = desk
        .api
        .release_kill_switch(&release, &CallOptions::default())
        .await?;
    if let Some(failure) = failure {
        return Err(failure);
    }

    let (measured, let_pass) = {
        let attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = attempts.iter().filter(|attempt| attempt.passed).count();
        (measure(&attempts, sent, answered), passed)
    };
    if let_pass == 0 {
        return Err(Failure::failed(
            "no attempt passed before the engagement, so nothing was measured: is another kill \
             switch engaged?",
        ));
    }
    let report = RecordDrill {
        scope: scope.clone(),
        clients: args.clients,
        engaged_at,
        stop_millis: measured.stop_millis,
        attempts: measured.attempts,
        passed: measured.passed,
    };
    let receipt = desk
        .api
        .record_drill(&report, &CallOptions::default())
        .await?;
    if desk.json {
        desk.print_json(&receipt)?;
    } else {
        let key = scope.key();
        let stopped = phase
            .switches
            .iter()
            .any(|switch| switch.scope == key && switch.phase == StopPhase::Stopped);
        let mut text = format!(
            "{key}: {} callers; the last attempt passed {} ms after the engagement was sent, which \
             was answered after {} ms; of {} attempts sent after that answer {} passed\n",
            args.clients,
            measured.stop_millis,
            (answered - sent).as_millis(),
            measured.attempts,
            measured.passed,
        );
        if !stopped {
            text += "the workflows were not told within the drill: does a relay run?\n";
        }
        if let FilingAnswer::Held(held) = &released {
            text += &format!(
                "its switch waits for a second person ({}) and releases itself within {} minutes\n",
                held.approval.id,
                EXPIRES.num_minutes(),
            );
        }
        desk.print(&text)?;
    }
    match measured.passed {
        0 => Ok(()),
        n => Err(Failure::failed(format!(
            "{n} attempts of software passed after the kill switch was engaged"
        ))),
    }
}

/// Somebody who does nothing but drills.
fn agent(desk: &Desk, args: &DrillArgs) -> Result<(Client, String), Failure> {
    let (token, actor_id) = match &args.agent_token {
        Some(token) => {
            let claims = claims(token)?;
            if claims.kind != ActorKind::Agent {
                return Err(Failure::usage("--agent-token is not the token of an agent"));
            }
            (token.trim().to_owned(), claims.sub)
        }
        None => {
            let tenant = match &desk.settings.api.token {
                Some(token) => claims(token.expose())?.tenant,
                None => args.connection.tenant.unwrap_or(World::seeded().tenant),
            };
            let caller = Caller {
                tenant,
                sub: format!("drill-{}", Uuid::now_v7().simple()),
                kind: ActorKind::Agent,
                roles: [].into(),
                technician: None,
            };
            let minter = Minter::new(&desk.settings.auth).map_err(|_| {
                Failure::usage(
                    "a drill acts as an agent, and no token for one can be minted here: give \
                     --agent-token (DISPATCH_DRILL_TOKEN), the token of an agent that does nothing \
                     else",
                )
            })?;
            let token = minter.mint(&caller, Utc::now(), TOKEN_TTL)?;
            (token, caller.sub)
        }
    };
    let client = desk
        .api
        .with_token(token.as_str())
        .with_retry(RetryPolicy::once());
    Ok((client, actor_id))
}

/// What a token says; whether it is good is dispatch-api's to say.
fn claims(token: &str) -> Result<TokenClaims, Failure> {
    let payload = token.trim().split('.').nth(1);
    let bytes = payload.and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok());
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Failure::usage("the token is no token of dispatch-api"))
}

async fn ticket(desk: &Desk, args: &DrillArgs) -> Result<TicketId, Failure> {
    if let Some(ticket) = &args.ticket {
        return resolve(&desk.api, ticket).await;
    }
    let filter = TicketFilter {
        limit: Some(1),
        ..TicketFilter::default()
    };
    let page = desk.api.tickets(&filter).await?;
    page.items
        .first()
        .map(|summary| summary.ticket.id)
        .ok_or_else(|| {
            Failure::failed("a drill needs a ticket, open or not, and this tenant has none")
        })
}

async fn act(
    agent: Client,
    ticket: TicketId,
    stop: Arc<AtomicBool>,
    attempts: Arc<Mutex<Vec<Attempt>>>,
) -> Result<(), Failure> {
    let note = AddNote {
        text: FreeText::new("drill of the kill switch").map_err(Failure::failed)?,
    };
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let options = CallOptions::default().expecting(NO_VERSION);
        let passed = match agent.add_note(ticket, &note, &options).await {
            Ok(_) => {
                return Err(Failure::failed(
                    "an attempt was carried out that never should be",
                ));
            }
            Err(error) => match error.code() {
                Some(ErrorCode::VersionConflict) => Some(true),
                Some(ErrorCode::KillSwitch) => Some(false),
                // It waited for a lock behind the engagement: neither.
                _ if error.is_retryable() => None,
                _ => return Err(error.into()),
            },
        };
        if let Some(passed) = passed {
            let attempt = Attempt {
                sent,
                answered: Instant::now(),
                passed,
            };
            let mut attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
            attempts.push(attempt);
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// `sent` and `answered` are the engagement's.
fn measure(attempts: &[Attempt], sent: Instant, answered: Instant) -> Measured {
    let passed = || attempts.iter().filter(|attempt| attempt.passed);
    let last = passed().map(|attempt| attempt.answered).max();
    let stop = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(sent));
    let after = |attempt: &&Attempt| attempt.sent > answered;
    Measured {
        stop_millis: u64::try_from(stop.as_millis()).unwrap_or(u64::MAX),
        attempts: attempts.iter().filter(after).count() as u64,
        passed: passed().filter(after).count() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_sent_after_the_answer_must_not_pass() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let attempt = |sent, answered, passed| Attempt {
            sent: at(sent),
            answered: at(answered),
            passed,
        };
        let attempts = [
            attempt(0, 10, true),
            // Under way when the engagement came: it waited for this one.
            attempt(95, 107, true),
            attempt(101, 120, false),
            attempt(130, 140, false),
        ];
        let measured = measure(&attempts, at(100), at(110));
        let expected = Measured {
            stop_millis: 7,
            attempts: 1,
            passed: 0,
        };
        assert_eq!(measured, expected);
        let wrong = [attempts[0], attempt(111, 130, true)];
        let found = measure(&wrong, at(100), at(110));
        assert_eq!((found.passed, found.stop_millis), (1, 30));
        assert_eq!(measure(&attempts[..1], at(100), at(110)).stop_millis, 0);
    }
}
