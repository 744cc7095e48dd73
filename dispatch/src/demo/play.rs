//! Acts on one ticket, and says each.

use std::{io::Write, time::Duration};

use chrono::{DateTime, Utc};
use client::{CallOptions, ClientError};
use contracts::{
    CorrelationId, ErrorCode, Operation, TicketId, TicketState,
    command::CommandReceipt,
    proposal::{Proposal, ProposalKind},
    ticket::Ticket,
};
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::{cast::Member, line::Line, text};
use crate::exit::{Failure, chain};

/// How long the workflow may take to propose, or to end.
pub const BOUND: Duration = Duration::from_secs(60);
/// Longer than this is unusual and wants a word.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(100);

/// One run of the demo.
pub struct Play<'a> {
    json: bool,
    pace: Duration,
    out: &'a mut (dyn Write + Send),
    started: Instant,
    steps: u32,
    off: bool,
    /// One conversation through all steps.
    correlation: CorrelationId,
    ticket: Option<Ticket>,
}

impl<'a> Play<'a> {
    /// Nothing played yet.
    pub fn new(json: bool, pace: Duration, out: &'a mut (dyn Write + Send)) -> Self {
        let correlation = CorrelationId::new(format!("demo-{}", Uuid::now_v7()))
            .expect("a UUID is visible ASCII of less than 128 characters");
        Self {
            json,
            pace,
            out,
            started: Instant::now(),
            steps: 0,
            off: false,
            correlation,
            ticket: None,
        }
    }

    /// Leaves time to read the step before.
    async fn next_step(&mut self) {
        if self.steps > 0 {
            tokio::time::sleep(self.pace).await;
        }
        self.steps += 1;
    }

    /// Says a line.
    pub fn say(&mut self, line: &Line) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string(line).map_err(Failure::failed)? + "\n"
        } else {
            text::render(line)
        };
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(|error| Failure::failed(format!("cannot print: {error}")))
    }

    /// The ticket as it is now.
    pub fn ticket(&self) -> Result<&Ticket, Failure> {
        self.ticket
            .as_ref()
            .ok_or_else(|| Failure::failed("no ticket was created"))
    }

    fn id(&self) -> Option<TicketId> {
        self.ticket.as_ref().map(|ticket| ticket.id)
    }

    fn options(&self) -> CallOptions {
        CallOptions {
            correlation_id: Some(self.correlation.clone()),
            ..CallOptions::default()
        }
    }

    /// Does something that must succeed.
    pub async fn act<B: Serialize + Sync>(
        &mut self,
        who: &Member,
        operation: Operation,
        body: &B,
        about: impl Into<String>,
    ) -> Result<CommandReceipt, Failure> {
        self.next_step().await;
        let receipt = who
            .client
            .command(operation, self.id(), body, &self.options())
            .await
            .map_err(|error| self.explain(who, operation, error))?;
        let before = self.ticket.as_ref().map(|ticket| ticket.state);
        self.ticket = Some(receipt.ticket.clone());
        self.say(&Line::Done {
            step: self.steps,
            who: who.name.clone(),
            kind: who.kind,
            operation,
            before,
            after: receipt.ticket.state,
            version: receipt.produced_version,
            about: about.into(),
        })?;
        Ok(receipt)
    }

    /// Tries something that must be refused with this code.
    pub async fn refused<B: Serialize + Sync>(
        &mut self,
        who: &Member,
        operation: Operation,
        body: &B,
        expected: ErrorCode,
        dry_run: bool,
    ) -> Result<(), Failure> {
        self.next_step().await;
        let state = self.ticket()?.state;
        let options = CallOptions {
            dry_run,
            ..self.options()
        };
        let error = match who
            .client
            .command(operation, self.id(), body, &options)
            .await
        {
            Err(error @ ClientError::Problem { .. }) => error,
            Err(error) => return Err(self.explain(who, operation, error)),
            Ok(_) => {
                return Err(Failure::failed(format!(
                    "{operation} by {} in {state} took effect; it must be refused with {expected}",
                    who.name
                )));
            }
        };
        let Some(problem) = error.problem().filter(|problem| problem.code == expected) else {
            return Err(Failure::failed(format!(
                "{operation} by {} in {state} must be refused with {expected}, but: {error}",
                who.name
            )));
        };
        let mut detail = problem.detail.clone();
        for reason in &problem.reasons {
            if !detail.contains(&reason.message) {
                detail = format!("{detail} {}", reason.message);
            }
        }
        self.say(&Line::Refused {
            step: self.steps,
            who: who.name.clone(),
            kind: who.kind,
            operation,
            state,
            code: problem.code,
            status: problem.status,
            detail,
            dry_run,
        })
    }

    fn explain(&self, who: &Member, operation: Operation, error: ClientError) -> Failure {
        match error {
            error @ ClientError::Transport { .. } => error.into(),
            error => Failure::failed(format!("{operation} by {}: {}", who.name, chain(&error))),
        }
    }

    /// The clocks as of now.
    pub fn clocks(&mut self, now: DateTime<Utc>) -> Result<(), Failure> {
        let clocks = self.ticket()?.sla.clone();
        self.say(&Line::Clocks { now, clocks })
    }

    /// The workflow's proposal about the ticket as it is now, once it is on record.
    pub async fn proposal(&self, who: &Member, kind: ProposalKind) -> Result<Proposal, Failure> {
        let (id, version) = {
            let ticket = self.ticket()?;
            (ticket.id, ticket.version)
        };
        let begun = Instant::now();
        let mut patient = false;
        loop {
            let proposals = who.client.proposals(id).await?.items;
            let found = proposals
                .into_iter()
                .find(|proposal| proposal.kind == kind && proposal.based_on_version == version);
            match found {
                Some(proposal) => return Ok(proposal),
                None if begun.elapsed() > BOUND => {
                    return Err(Failure::failed(format!(
                        "the workflow recorded no {kind} proposal about version {version} of {id} \
                         within {} s; look at the relay and the worker with `dispatch doctor`",
                        BOUND.as_secs()
                    )));
                }
                None => {
                    if !patient && begun.elapsed() > SIGN_OF_LIFE {
                        patient = true;
                        // To stderr: stdout may be read by a program.
                        eprintln!(
                            "waiting for the workflow's proposal …; `dispatch doctor` tells whether \
                             a worker is current"
                        );
                    }
                    tokio::time::sleep(POLL).await;
                }
            }
        }
    }

    /// Reads a proposal again.
    pub async fn reread(&self, who: &Member, proposal: &Proposal) -> Result<Proposal, Failure> {
        let items = who.client.proposals(proposal.ticket_id).await?.items;
        items
            .into_iter()
            .find(|again| again.id == proposal.id)
            .ok_or_else(|| Failure::failed(format!("proposal {} is gone", proposal.id)))
    }

    /// A comparison; one that fails makes the demo fail at its end.
    pub fn check(
        &mut self,
        what: impl Into<String>,
        ok: bool,
        detail: impl Into<String>,
    ) -> Result<(), Failure> {
        self.off |= !ok;
        self.say(&Line::Checked {
            what: what.into(),
            ok,
            detail: detail.into(),
        })
    }

    /// The state that the job must have reached.
    pub fn expect_state(&mut self, state: TicketState) -> Result<(), Failure> {
        let now = self.ticket()?.state;
        if now == state {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "the ticket is {now}, it must be {state}"
        )))
    }

    /// The last line, and the exit code.
    pub fn end(&mut self) -> Result<(), Failure> {
        let line = Line::Ended {
            ok: !self.off,
            steps: self.steps,
            seconds: self.started.elapsed().as_secs_f64(),
        };
        self.say(&line)?;
        if self.off {
            Err(Failure::reported())
        } else {
            Ok(())
        }
    }
}
