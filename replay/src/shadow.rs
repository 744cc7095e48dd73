//! Recorded timelines, with the advisors of today and a bundle of your choice.

use std::{path::Path, sync::Arc};

use contracts::{TenantId, TicketId};
use policy::Bundle;
use sqlx::PgPool;

use crate::{
    AdviceChange, DecisionChange, DecisionLine, Error, ProposalLine, Range, Snapshot,
    artifact::{DECISIONS, Lines, PROPOSALS, REPORT, SUMMARY},
    evaluate::{Answer, evaluate},
    fold::Fold,
    record::{Attempt, Timeline},
    report,
    summary::Summary,
};

/// Tickets that are looked at together: what is held in memory.
const TICKETS: usize = 32;
/// Attempts of another chain that are looked at together; it may be of any length.
const ATTEMPTS: i64 = 500;
/// Lines of each sort that the report for people shows.
const SHOWN: usize = 200;

/// Replays the range into this folder, which must be there and empty. `tell` hears how many chains
/// are done, and of how many.
///
/// # Errors
/// When the record cannot be read, or a file not be written.
pub async fn replay(
    pool: &PgPool,
    bundle: &Arc<Bundle>,
    range: &Range,
    code_version: &str,
    dir: &Path,
    mut tell: impl FnMut(u64, u64),
) -> Result<Summary, Error> {
    let mut snapshot = Snapshot::begin(pool).await?;
    let mut run = Run {
        bundle,
        range,
        proposals: Lines::create(dir, PROPOSALS)?,
        decisions: Lines::create(dir, DECISIONS)?,
        shown: Shown::default(),
        summary: Summary::new(
            code_version.to_owned(),
            bundle.reference().clone(),
            range.clone(),
        ),
    };
    let mut chains = Vec::new();
    for tenant in &range.tenants {
        let found = snapshot.timelines(*tenant, range).await?;
        chains.push((*tenant, found));
    }
    let total = chains.iter().map(|(_, found)| found.len() as u64).sum();
    let mut done = 0;
    tell(done, total);
    for (tenant, found) in &chains {
        let tickets = found.partition_point(|timeline| timeline.ticket_id.is_some());
        let (tickets, others) = found.split_at(tickets);
        for part in tickets.chunks(TICKETS) {
            run.tickets(&mut snapshot, *tenant, part).await?;
            done += part.len() as u64;
            tell(done, total);
        }
        for timeline in others {
            run.other(&mut snapshot, *tenant, timeline).await?;
            done += 1;
            tell(done, total);
        }
    }
    snapshot.end().await?;
    run.finish(dir)
}

/// What is under way.
struct Run<'a> {
    bundle: &'a Arc<Bundle>,
    range: &'a Range,
    proposals: Lines,
    decisions: Lines,
    shown: Shown,
    summary: Summary,
}

/// What the report for people shows: the first that differ.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub proposals: Vec<ProposalLine>,
    pub decisions: Vec<DecisionLine>,
}

impl Run<'_> {
    /// Some tickets: what would have been proposed, and what decided.
    async fn tickets(
        &mut self,
        snapshot: &mut Snapshot,
        tenant: TenantId,
        part: &[Timeline],
    ) -> Result<(), Error> {
        let streams: Vec<_> = part.iter().map(|of| of.stream.clone()).collect();
        let ids: Vec<TicketId> = part.iter().filter_map(|of| of.ticket_id).collect();
        let since = self.range.since;
        let attempts = snapshot.attempts(tenant, &streams, since, 0, None).await?;
        let mut beside = snapshot.beside(tenant, &ids).await?;
        for (ticket, stream) in ids.into_iter().zip(&streams) {
            let beside = beside.remove(&ticket).unwrap_or_default();
            let mut fold = Fold::new(tenant, ticket, self.range, &beside);
            // Up to the end of the range, and nothing behind it: a fold has no gaps.
            let upto = attempts
                .iter()
                .filter(|attempt| attempt.stream == *stream)
                .take_while(|attempt| !self.range.is_over(attempt.at));
            upto.for_each(|attempt| fold.step(attempt));
            let (lines, lost) = fold.finish();
            for line in lines {
                self.proposal(line)?;
            }
            if let Some(reason) = lost {
                self.summary.add_unreadable(stream, reason);
            }
            self.summary.looked_at.tickets += 1;
        }
        self.decide(tenant, attempts).await
    }

    /// A chain of something else: only what would have been decided.
    async fn other(
        &mut self,
        snapshot: &mut Snapshot,
        tenant: TenantId,
        timeline: &Timeline,
    ) -> Result<(), Error> {
        self.summary.looked_at.other_chains += 1;
        let stream = std::slice::from_ref(&timeline.stream);
        let mut after = 0;
        loop {
            let since = self.range.since;
            let attempts = snapshot
                .attempts(tenant, stream, since, after, Some(ATTEMPTS))
                .await?;
            let Some(last) = attempts.last() else {
                return Ok(());
            };
            after = i64::try_from(last.position).unwrap_or(i64::MAX);
            self.decide(tenant, attempts).await?;
        }
    }

    /// Decides again what was attempted in the range.
    async fn decide(&mut self, tenant: TenantId, attempts: Vec<Attempt>) -> Result<(), Error> {
        let mut attempts: Vec<_> = attempts
            .into_iter()
            .filter(|of| of.at >= self.range.since && !self.range.is_over(of.at))
            .collect();
        let inputs = attempts
            .iter_mut()
            .map(|attempt| std::mem::take(&mut attempt.decision.input))
            .collect();
        let answers = evaluate(self.bundle, inputs).await?;
        for (attempt, answer) in attempts.into_iter().zip(answers) {
            self.decision(decision_line(tenant, attempt, answer))?;
        }
        Ok(())
    }

    fn proposal(&mut self, line: ProposalLine) -> Result<(), Error> {
        self.proposals.add(&line)?;
        self.summary.add_proposal(&line);
        let differs = !matches!(
            line.compared,
            AdviceChange::Same | AdviceChange::NotRecorded
        );
        if differs && self.shown.proposals.len() < SHOWN {
            self.shown.proposals.push(line);
        }
        Ok(())
    }

    fn decision(&mut self, line: DecisionLine) -> Result<(), Error> {
        self.decisions.add(&line)?;
        self.summary.add_decision(&line);
        if line.compared != DecisionChange::Same && self.shown.decisions.len() < SHOWN {
            self.shown.decisions.push(line);
        }
        Ok(())
    }

    fn finish(self, dir: &Path) -> Result<Summary, Error> {
        let mut summary = self.summary;
        summary.files = vec![self.proposals.finish()?, self.decisions.finish()?];
        let mut page = Lines::create(dir, REPORT)?;
        page.write(&report::page(&summary, &self.shown))?;
        summary.files.push(page.finish()?);
        let mut last = Lines::create(dir, SUMMARY)?;
        last.add(&summary)?;
        last.finish()?;
        Ok(summary)
    }
}

fn decision_line(tenant_id: TenantId, attempt: Attempt, answer: Answer) -> DecisionLine {
    let decision = attempt.decision;
    let compared = decision.recorded.compare(&answer);
    let (replayed, error) = match answer {
        Ok(decision) => (Some(decision), None),
        Err(error) => (None, Some(error.to_string())),
    };
    DecisionLine {
        tenant_id,
        stream: attempt.stream,
        position: attempt.position,
        ticket_id: attempt.ticket_id,
        command_id: attempt.command_id,
        decision_id: decision.id,
        operation: attempt.operation,
        at: attempt.at,
        refused: attempt.refused,
        recorded: decision.recorded,
        replayed,
        error,
        compared,
    }
}
