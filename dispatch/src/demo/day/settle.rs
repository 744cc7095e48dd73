//! The end of the day: does everybody know the same?
//!
//! Each ticket is read again, with its workflow and its timeline. A workflow may still be on its way,
//! so tickets that differ are asked again until all agree, or until none has come nearer for a
//! minute. The timeline must hold each success that somebody was told of exactly once and nothing
//! that nobody was told of, and must fold to the ticket as it is stored.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use client::Client;
use contracts::{
    ActorKind, CommandId, ErrorCode, TenantId, TicketId, event::TicketLevel, signal::WorkflowView,
};
use domain::TicketKey;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use temporalio_client::Client as TemporalClient;
use tokio::time::{Instant, sleep};

use super::{
    live::Live,
    plan::Transition,
    tally::{Counts, Heard},
};
use crate::{
    exit::Failure,
    temporal::{WorkflowState, ask},
};

/// How long nothing may come nearer.
const BOUND: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(500);
/// Tickets that are looked at together.
const AT_ONCE: usize = 8;

/// What the records say.
#[derive(Debug, Default, Serialize)]
pub struct Settled {
    /// Tickets looked at.
    pub tickets: usize,
    /// Workflows that know what the database knows.
    pub workflows: usize,
    /// Workflows that run on, because their ticket is open.
    pub open: usize,
    /// Attempts on record, refused ones too.
    pub attempts: u64,
    /// Cells of the state table that were used, by the records, with how often.
    #[serde(skip)]
    pub transitions: BTreeMap<Transition, u64>,
    /// Refusals on record, by code: those before a ticket is known are not there.
    #[serde(skip)]
    pub refused: BTreeMap<ErrorCode, u64>,
    /// By kind and by what the person did about it, the proposals of the tickets' workflows.
    pub proposals: BTreeMap<String, BTreeMap<String, u64>>,
    /// What does not agree.
    pub differences: Vec<Difference>,
}

/// Something that does not agree.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// Where.
    pub ticket: TicketId,
    /// What.
    pub what: String,
}

/// Waits until the workflows agree, and reads the records.
pub async fn run(
    tenant: TenantId,
    auditor: &Client,
    temporal: &TemporalClient,
    counts: &Counts,
    live: &mut Live,
) -> Result<Settled, Failure> {
    let mut settled = Settled {
        tickets: counts.tickets.len(),
        ..Settled::default()
    };
    workflows(tenant, auditor, temporal, counts, live, &mut settled).await?;
    let records: Vec<_> = stream::iter(&counts.tickets)
        .map(|(id, heard)| records(tenant, auditor, *id, heard))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    for record in records {
        settled.attempts += record.attempts;
        settled.differences.extend(record.differences);
        add(&mut settled.transitions, record.transitions);
        add(&mut settled.refused, record.refused);
        for ((kind, outcome), times) in record.proposals {
            let kind = settled.proposals.entry(kind).or_default();
            *kind.entry(outcome).or_default() += times;
        }
    }
    Ok(settled)
}

fn add<K: Ord>(to: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, times) in more {
        *to.entry(key).or_default() += times;
    }
}

async fn workflows(
    tenant: TenantId,
    auditor: &Client,
    temporal: &TemporalClient,
    counts: &Counts,
    live: &mut Live,
    settled: &mut Settled,
) -> Result<(), Failure> {
    let mut left: HashMap<TicketId, String> = counts
        .tickets
        .keys()
        .map(|id| (*id, String::new()))
        .collect();
    let mut progress = Instant::now();
    loop {
        let compared: Vec<_> = stream::iter(left.keys().copied().collect::<Vec<_>>())
            .map(|id| async move {
                Ok::<_, Failure>((id, compare(tenant, auditor, temporal, id).await?))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for (id, comparison) in compared {
            let before = match comparison {
                Comparison::Same { open } => {
                    settled.workflows += 1;
                    settled.open += usize::from(open);
                    left.remove(&id)
                }
                Comparison::Different(what) => {
                    left.insert(id, what.clone()).filter(|was| *was == what)
                }
            };
            // It agrees now, or it is on its way.
            if !left.contains_key(&id) || before.is_none() {
                progress = Instant::now();
            }
        }
        live.settling(settled.workflows, settled.tickets);
        if left.is_empty() {
            return Ok(());
        }
        if progress.elapsed() > BOUND {
            let differences = left
                .into_iter()
                .map(|(ticket, what)| Difference { ticket, what });
            settled.differences.extend(differences);
            return Ok(());
        }
        sleep(POLL).await;
    }
}

enum Comparison {
    Same { open: bool },
    Different(String),
}

async fn compare(
    tenant: TenantId,
    auditor: &Client,
    temporal: &TemporalClient,
    id: TicketId,
) -> Result<Comparison, Failure> {
    let state = ask(temporal, tenant, id).await?;
    let snapshot = auditor.snapshot(id).await?;
    let ended = snapshot.level.state.is_terminal();
    let view: Box<WorkflowView> = match state {
        WorkflowState::Running(view) if !ended => view,
        WorkflowState::Completed(view) if ended => view,
        WorkflowState::Running(view) => {
            return Ok(Comparison::Different(format!(
                "the ticket has ended, its workflow still runs and applied {} of {} events",
                view.applied_seq, snapshot.head_seq
            )));
        }
        WorkflowState::Completed(_) => {
            return Ok(Comparison::Different(
                "the workflow of an open ticket has ended".into(),
            ));
        }
        WorkflowState::Missing => {
            return Ok(Comparison::Different("there is no workflow".into()));
        }
        WorkflowState::Ended(status) => {
            return Ok(Comparison::Different(format!(
                "the workflow ended as {status:?}"
            )));
        }
    };
    let same = view.level.as_ref().map(TicketLevel::of_the_ticket)
        == Some(snapshot.level.of_the_ticket())
        && (view.applied_seq, view.epoch) == (snapshot.head_seq, snapshot.epoch)
        && view.buffered.is_empty();
    if same {
        return Ok(Comparison::Same { open: !ended });
    }
    let known = view.level.as_ref().map_or("nothing".to_owned(), |level| {
        format!("{} v{}", level.state, level.version)
    });
    Ok(Comparison::Different(format!(
        "the workflow knows {known} and applied {} of {} events; database {} v{}",
        view.applied_seq, snapshot.head_seq, snapshot.level.state, snapshot.level.version
    )))
}

#[derive(Default)]
struct Records {
    attempts: u64,
    transitions: BTreeMap<Transition, u64>,
    refused: BTreeMap<ErrorCode, u64>,
    proposals: BTreeMap<(String, String), u64>,
    differences: Vec<Difference>,
}

/// Reads a ticket's timeline and proposals.
async fn records(
    tenant: TenantId,
    auditor: &Client,
    id: TicketId,
    heard: &Heard,
) -> Result<Records, Failure> {
    let key = TicketKey {
        tenant_id: tenant,
        ticket_id: id,
    };
    let mut records = Records::default();
    let mut found: Vec<CommandId> = Vec::new();
    let (mut ticket, mut cursor) = (None, None::<String>);
    loop {
        let page = auditor.timeline(id, cursor.as_deref()).await?;
        for entry in page.items {
            records.attempts += 1;
            if let Some(code) = entry.refused {
                *records.refused.entry(code).or_default() += 1;
            }
            for change in &entry.changes {
                ticket = Some(domain::evolve(key, ticket, change));
            }
            let (false, Some(to)) = (entry.changes.is_empty(), entry.after) else {
                continue;
            };
            let transition = Transition {
                from: entry.before,
                operation: entry.operation,
                to,
            };
            *records.transitions.entry(transition).or_default() += 1;
            if entry.actor_kind != ActorKind::Workflow {
                found.push(entry.command_id);
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let mut differs = |what: String| records.differences.push(Difference { ticket: id, what });
    let unique: BTreeSet<_> = found.iter().copied().collect();
    if unique.len() != found.len() {
        differs(format!(
            "{} commands are on record twice",
            found.len() - unique.len()
        ));
    }
    for missing in heard.told.difference(&unique) {
        differs(format!(
            "{missing} was told to have taken effect and is not on record"
        ));
    }
    for untold in unique.difference(&heard.told) {
        differs(format!("{untold} is on record and was told to nobody"));
    }
    if ticket != Some(auditor.ticket(id).await?) {
        differs("folding the timeline does not give the ticket as it is stored".into());
    }
    for proposal in auditor.proposals(id).await?.items {
        let outcome = proposal
            .pairing
            .map_or("open".to_owned(), |pairing| pairing.outcome.to_string());
        let key = (proposal.kind.to_string(), outcome);
        *records.proposals.entry(key).or_default() += 1;
    }
    Ok(records)
}
