//! The end: does everybody know the same?

use contracts::{event::TicketLevel, signal::WorkflowView, ticket::Ticket};
use domain::TicketKey;
use temporalio_client::Client as TemporalClient;
use tokio::time::Instant;

use super::{
    World,
    cast::Cast,
    line::Line,
    play::{BOUND, Play},
};
use crate::{
    exit::Failure,
    temporal::{WorkflowState, ask},
};

/// Compares the database, the workflow and the timeline.
pub async fn run(
    play: &mut Play<'_>,
    cast: &Cast,
    world: &World,
    temporal: &TemporalClient,
) -> Result<(), Failure> {
    play.say(&Line::Scene {
        title: "Does the workflow know what the database knows?",
    })?;
    let id = play.ticket()?.id;
    workflow(play, cast, world, temporal).await?;

    let stored = cast.auditor.client.ticket(id).await?;
    let (rebuilt, attempts, refused) = fold_timeline(play, cast, world).await?;
    play.check(
        "timeline",
        rebuilt.as_ref() == Some(&stored),
        format!(
            "{attempts} attempts on record, {refused} of them refused; folding the changes gives \
             the ticket as it is stored"
        ),
    )
}

async fn workflow(
    play: &mut Play<'_>,
    cast: &Cast,
    world: &World,
    temporal: &TemporalClient,
) -> Result<(), Failure> {
    let id = play.ticket()?.id;
    let Some(view) = result(temporal, world, play).await? else {
        return Ok(());
    };
    let snapshot = cast.auditor.client.snapshot(id).await?;
    let level = view.level.as_ref();
    play.check(
        "state",
        level.map(TicketLevel::of_the_ticket) == Some(snapshot.level.of_the_ticket()),
        format!(
            "workflow {}, database {}",
            level.map_or_else(
                || "unknown".to_owned(),
                |level| format!("{} v{}", level.state, level.version)
            ),
            format_args!("{} v{}", snapshot.level.state, snapshot.level.version),
        ),
    )?;
    play.check(
        "events",
        (view.applied_seq, view.epoch) == (snapshot.head_seq, snapshot.epoch)
            && view.buffered.is_empty(),
        format!(
            "{} of {} applied, each once, {} waiting, {} healed",
            view.applied_seq,
            snapshot.head_seq,
            view.buffered.len(),
            view.healed
        ),
    )?;
    let (mut ours, mut theirs) = (view.proposed, snapshot.proposed);
    ours.sort_unstable();
    theirs.sort_unstable();
    play.check(
        "proposals",
        ours == theirs && !ours.is_empty(),
        format!(
            "{} recorded by the workflow, {} in the database",
            ours.len(),
            theirs.len()
        ),
    )?;
    let (mut ours, mut theirs) = (view.sla_recorded, snapshot.sla_recorded);
    ours.sort_unstable();
    theirs.sort_unstable();
    play.check(
        "SLA records",
        ours == theirs,
        format!(
            "{} recorded by the workflow, {} in the database",
            ours.len(),
            theirs.len()
        ),
    )
}

/// The workflow's result; it ends when it hears that the ticket is closed.
async fn result(
    temporal: &TemporalClient,
    world: &World,
    play: &mut Play<'_>,
) -> Result<Option<WorkflowView>, Failure> {
    let id = play.ticket()?.id;
    let deadline = Instant::now() + BOUND;
    loop {
        let (off, last) = match ask(temporal, world.tenant, id).await? {
            WorkflowState::Completed(view) => return Ok(Some(*view)),
            WorkflowState::Ended(status) => (true, format!("ended as {status:?}")),
            WorkflowState::Missing => (false, "there is none".to_owned()),
            WorkflowState::Running(view) => (
                false,
                format!("still runs, {} events applied", view.applied_seq),
            ),
        };
        if off || Instant::now() > deadline {
            play.check("workflow", false, last)?;
            return Ok(None);
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// The ticket rebuilt from its timeline, the number of attempts, and of refused ones.
async fn fold_timeline(
    play: &Play<'_>,
    cast: &Cast,
    world: &World,
) -> Result<(Option<Ticket>, usize, usize), Failure> {
    let key = TicketKey {
        tenant_id: world.tenant,
        ticket_id: play.ticket()?.id,
    };
    let (mut ticket, mut attempts, mut refused) = (None, 0, 0);
    let mut cursor = None;
    loop {
        let page = cast
            .auditor
            .client
            .timeline(key.ticket_id, cursor.as_deref())
            .await?;
        for entry in page.items {
            attempts += 1;
            refused += usize::from(entry.refused.is_some());
            for change in &entry.changes {
                ticket = Some(domain::evolve(key, ticket, change));
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok((ticket, attempts, refused));
        }
    }
}
