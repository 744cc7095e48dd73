//! Plays one story: sends each act when its time comes and holds the answer against what the story
//! expects. The first surprise ends the story, because what follows was meant for another ticket.

use std::{sync::Arc, time::Duration};

use client::{CallOptions, Client, ClientError};
use contracts::{
    CommandId, CorrelationId, ErrorCode, TicketState,
    command::{CommandClass, CommandReceipt},
    comms::Routing,
    filing::{Filed, FilingReceipt},
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    clock::Clock,
    people::People,
    plan::{Act, Branch, Expect, Story, Twist},
    props::{Message, Props},
    tally::{Heard, Tally, Unexpected},
};
use crate::{demo::World, exit::Failure};

/// What all stories share.
#[derive(Debug)]
pub struct Theatre {
    pub seed: u64,
    pub world: World,
    pub people: People,
    pub clock: Clock,
    /// Requests that are under way at once.
    pub requests: Semaphore,
    pub tally: Tally,
    /// Everybody stops: somebody asked for it, or the system is gone.
    pub stop: CancellationToken,
}

/// A command that took effect, to be sent again.
#[derive(Debug)]
struct Sent {
    key: Uuid,
    message: Message,
    command: CommandId,
}

/// An answer.
enum Answer {
    Ticket(Box<CommandReceipt>),
    Filing(Box<FilingReceipt>),
    Told,
    Refused(Box<contracts::Problem>),
}

/// Why a story ends early.
enum Broken {
    Unexpected(Option<ErrorCode>, String),
    /// The system gives no answer.
    Gone(Failure),
}

/// One story on its way.
struct Player<'a> {
    theatre: &'a Theatre,
    props: Props<'a>,
    last: Option<Sent>,
    correlation: CorrelationId,
}

/// Plays a story to its end, or to the first surprise.
pub async fn play(theatre: Arc<Theatre>, story: Story) -> Result<(), Failure> {
    let mut player = Player {
        theatre: &theatre,
        props: Props::new(&theatre.world, theatre.seed, story.number),
        last: None,
        correlation: CorrelationId::new(format!("day-{:x}-{}", theatre.seed, story.number))
            .map_err(Failure::failed)?,
    };
    {
        let mut tally = theatre.tally.lock();
        tally.begun += 1;
        *tally.plots.entry(story.plot).or_default() += 1;
    }
    for (step, act) in story.acts.iter().enumerate() {
        tokio::select! {
            () = theatre.clock.pause(act.after) => {}
            () = theatre.stop.cancelled() => return Ok(()),
        }
        match player.act(step, act).await {
            Ok(()) => {}
            Err(Broken::Gone(failure)) => {
                theatre.stop.cancel();
                return Err(failure);
            }
            Err(Broken::Unexpected(code, what)) => {
                theatre.tally.lock().unexpected.push(Unexpected {
                    story: story.number,
                    plot: story.plot,
                    ticket: player.props.tickets[act.slot]
                        .as_ref()
                        .map(|ticket| ticket.id),
                    step,
                    operation: act.deed.operation(),
                    twist: act.twist,
                    code,
                    what,
                });
                return Ok(());
            }
        }
    }
    theatre.tally.lock().ended += 1;
    Ok(())
}

impl Player<'_> {
    async fn act(&mut self, step: usize, act: &Act) -> Result<(), Broken> {
        let own = self.props.technician;
        let client = self
            .theatre
            .people
            .client(act.by, own)
            .map_err(Broken::Gone)?;
        if act.deed.operation().is_none() {
            return self.look(&client, act).await;
        }
        let unfit = |what: &str| Broken::Unexpected(None, what.to_owned());
        let mut message = self.props.message(act, step).map_err(unfit)?;
        let mut key = self.props.key(step);
        if let Some(twist @ (Twist::SameAgain | Twist::UsedKey)) = act.twist {
            let last = self
                .last
                .as_ref()
                .ok_or_else(|| unfit("nothing was sent before"))?;
            key = last.key;
            if twist == Twist::SameAgain {
                message = last.message.clone();
            }
        }
        let stale = (act.twist == Some(Twist::StaleVersion))
            .then(|| self.props.ticket(act.slot).map(|ticket| ticket.version + 7))
            .transpose()
            .map_err(unfit)?;
        let options = CallOptions {
            request_id: Some(key.to_string()),
            expected_version: stale,
            dry_run: act.twist == Some(Twist::DryRun),
            correlation_id: Some(self.correlation.clone()),
            ..CallOptions::default()
        };
        let answer = self.send(&client, &message, &options).await?;
        self.judge(act, key, message, answer)
    }

    async fn send(
        &self,
        client: &Client,
        message: &Message,
        options: &CallOptions,
    ) -> Result<Answer, Broken> {
        let Message {
            operation,
            ticket,
            body,
        } = message;
        let (begun, _permit) = self.permit().await?;
        let answer = if operation.class() == CommandClass::Filing {
            let sent = client.filing(*operation, body, options).await;
            sent.map(|receipt| Answer::Filing(Box::new(receipt)))
        } else {
            let sent = client.command(*operation, *ticket, body, options).await;
            sent.map(|receipt| Answer::Ticket(Box::new(receipt)))
        };
        self.answered(begun.elapsed(), answer)
    }

    /// Reads what the workflow proposes.
    async fn look(&self, client: &Client, act: &Act) -> Result<(), Broken> {
        let unfit = |what: &str| Broken::Unexpected(None, what.to_owned());
        let ticket = self.props.ticket(act.slot).map_err(unfit)?.id;
        let (begun, permit) = self.permit().await?;
        let answer = client.proposals(ticket).await.map(|_| Answer::Told);
        drop(permit);
        match self.answered(begun.elapsed(), answer)? {
            Answer::Refused(problem) => Err(surprise(&act.expect, &problem)),
            _ => {
                self.theatre.tally.lock().asked += 1;
                Ok(())
            }
        }
    }

    async fn permit(&self) -> Result<(Instant, tokio::sync::SemaphorePermit<'_>), Broken> {
        let permit = self.theatre.requests.acquire().await;
        let permit = permit.map_err(|error| Broken::Gone(Failure::failed(error)))?;
        Ok((Instant::now(), permit))
    }

    fn answered(
        &self,
        within: Duration,
        answer: Result<Answer, ClientError>,
    ) -> Result<Answer, Broken> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(ClientError::Problem { problem, .. }) => Answer::Refused(problem),
            Err(error @ (ClientError::Transport { .. } | ClientError::Token(_))) => {
                return Err(Broken::Gone(error.into()));
            }
            Err(error) => return Err(Broken::Unexpected(None, crate::exit::chain(&error))),
        };
        self.theatre.tally.lock().answered(within);
        Ok(answer)
    }

    /// Holds an answer against what the story expects, and remembers it.
    fn judge(
        &mut self,
        act: &Act,
        key: Uuid,
        message: Message,
        answer: Answer,
    ) -> Result<(), Broken> {
        let mut tally = self.theatre.tally.lock();
        match (&act.expect, answer) {
            (Expect::Refused(codes), Answer::Refused(problem)) if codes.contains(&problem.code) => {
                tally.refused += 1;
                *tally.codes.entry(problem.code).or_default() += 1;
            }
            (Expect::State(state), Answer::Ticket(receipt))
                if receipt.ticket.state == *state && !receipt.dry_run =>
            {
                let command = receipt.command_id;
                tally.done += 1;
                *tally.operations.entry(message.operation).or_default() += 1;
                heard(&mut tally, &receipt.ticket, command);
                self.props.took(act.slot, &receipt);
                self.last = Some(Sent {
                    key,
                    message,
                    command,
                });
            }
            (Expect::Repeated, Answer::Ticket(receipt))
                if self
                    .last
                    .as_ref()
                    .is_some_and(|last| last.command == receipt.command_id) =>
            {
                tally.repeated += 1;
            }
            (Expect::Told, Answer::Ticket(receipt)) if receipt.dry_run => tally.asked += 1,
            (Expect::Filed, Answer::Filing(receipt)) => {
                tally.done += 1;
                *tally.operations.entry(message.operation).or_default() += 1;
                self.props.filed(act.slot, &act.deed, &receipt);
            }
            (Expect::Routed(branch), Answer::Filing(receipt))
                if placed(&receipt) == Some(*branch) =>
            {
                tally.done += 1;
                *tally.operations.entry(message.operation).or_default() += 1;
                *tally.branches.entry(*branch).or_default() += 1;
                if let (Branch::Attached | Branch::Created, Some(ticket)) =
                    (branch, &receipt.ticket)
                {
                    heard(&mut tally, ticket, receipt.command_id);
                }
                self.props.filed(act.slot, &act.deed, &receipt);
            }
            (expect, Answer::Refused(problem)) => return Err(surprise(expect, &problem)),
            (expect, Answer::Ticket(receipt)) => {
                return Err(Broken::Unexpected(
                    None,
                    format!(
                        "{} expected, but it took effect: {} v{}",
                        words(expect),
                        receipt.ticket.state,
                        receipt.ticket.version
                    ),
                ));
            }
            (expect, Answer::Filing(receipt)) => {
                let placed =
                    placed(&receipt).map_or("done".to_owned(), |branch| branch.to_string());
                return Err(Broken::Unexpected(
                    None,
                    format!("{} expected, but it was {placed}", words(expect)),
                ));
            }
            (expect, Answer::Told) => {
                return Err(Broken::Unexpected(
                    None,
                    format!("{} expected", words(expect)),
                ));
            }
        }
        if let Some(twist) = act.twist {
            *tally.twists.entry(twist).or_default() += 1;
        }
        Ok(())
    }
}

fn heard(tally: &mut super::tally::Counts, ticket: &contracts::ticket::Ticket, command: CommandId) {
    let heard = tally.tickets.entry(ticket.id).or_insert_with(|| Heard {
        state: TicketState::New,
        template: ticket.template.clone(),
        told: Default::default(),
    });
    heard.state = ticket.state;
    heard.template = ticket.template.clone();
    heard.told.insert(command);
}

/// How a message was placed.
fn placed(receipt: &FilingReceipt) -> Option<Branch> {
    match &receipt.filed {
        Filed::Message { routing, .. } => Some(match routing {
            Routing::Attached { .. } => Branch::Attached,
            Routing::Created { .. } => Branch::Created,
            Routing::Duplicate { .. } => Branch::Duplicate,
            Routing::Held { reason, .. } => Branch::Held(*reason),
        }),
        _ => None,
    }
}

fn surprise(expect: &Expect, problem: &contracts::Problem) -> Broken {
    let what = format!(
        "{} expected, but {}: {}",
        words(expect),
        problem.code,
        problem.detail
    );
    Broken::Unexpected(Some(problem.code), what)
}

fn words(expect: &Expect) -> String {
    match expect {
        Expect::State(state) => format!("{state}"),
        Expect::Filed => "a filing".to_owned(),
        Expect::Routed(branch) => format!("a message {branch}"),
        Expect::Refused(codes) => {
            let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
            format!("the refusal {}", codes.join(" or "))
        }
        Expect::Repeated => "the answer before".to_owned(),
        Expect::Told => "a dry run's answer".to_owned(),
    }
}
