//! `dispatch ticket timeline`.

use chrono::Utc;
use contracts::{
    ActorKind,
    read::{TimelineEntry, TimelineFilter},
};

use super::{args::TimelineArgs, id};
use crate::{
    desk::Desk,
    exit::Failure,
    table::{Mark, clean, wrapped},
    words,
};

const PAGE: u32 = 200;
/// Where an explanation begins.
const HANG: usize = 6;

/// Prints every attempt, page by page as they come.
pub async fn run(desk: &Desk, args: &TimelineArgs) -> Result<(), Failure> {
    let now = Utc::now();
    let ticket = id::resolve(&desk.api, &args.ticket).await?;
    let mut filter = TimelineFilter {
        operation: args.operation.clone(),
        actor_kind: args.actor_kind.clone(),
        actor: args.actor.clone(),
        outcome: args.outcome,
        from: args.from.map(|from| from.before(now)),
        to: args.to.map(|to| to.before(now)),
        limit: Some(PAGE),
        ..TimelineFilter::default()
    };
    let (mut attempts, mut refused) = (0, 0);
    loop {
        let page = desk.api.timeline_where(ticket, &filter).await?;
        for entry in &page.items {
            attempts += 1;
            refused += u32::from(entry.refused.is_some());
            if desk.json {
                desk.print_line(entry)?;
            } else {
                desk.print(&text(desk, entry))?;
            }
        }
        filter.cursor = page.next_cursor;
        if filter.cursor.is_none() {
            break;
        }
    }
    if desk.json {
        return Ok(());
    }
    let attempts = if attempts == 1 {
        "1 attempt".to_owned()
    } else {
        format!("{attempts} attempts")
    };
    desk.print(&format!("\n{attempts} on record, {refused} refused\n"))
}

/// One attempt: who tried what and when, and what came of it.
pub fn text(desk: &Desk, entry: &TimelineEntry) -> String {
    let who = match entry.actor_kind {
        ActorKind::Person => clean(&entry.actor_id),
        // The one workflow of a tenant has a long id that says nothing.
        ActorKind::Workflow => "workflow".to_owned(),
        kind => format!("{} ({kind})", clean(&entry.actor_id)),
    };
    let change = match (entry.refused, entry.before, entry.after) {
        (Some(code), ..) => Mark::Bad.on(&format!("refused: {code}")),
        (None, before, Some(after)) if before != Some(after) => match before {
            Some(before) => format!("{before} → {after} (v{})", entry.produced_version),
            None => format!("{after} (v{})", entry.produced_version),
        },
        (None, ..) if entry.produced_version != entry.applied_to_version => {
            format!("v{}", entry.produced_version)
        }
        (None, ..) => String::new(),
    };
    let head = format!(
        "{:>4}  {}  {:<22} {:<18} {change}",
        entry.position,
        words::time(entry.at),
        who,
        entry.operation.to_string()
    );
    let mut text = format!("{}\n", desk.screen.paint(head.trim_end()));
    if !entry.explanation.is_empty() {
        let line = format!("{}{}", " ".repeat(HANG), clean(&entry.explanation));
        text += &wrapped(&line, HANG, desk.screen);
    }
    text
}
