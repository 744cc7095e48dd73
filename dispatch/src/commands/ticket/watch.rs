//! `dispatch ticket watch`.
//!
//! One ticket is asked for by its version (`If-None-Match`), so that an unchanged one costs next to
//! nothing; what changed is told by its timeline, which misses nothing between two looks. A list is
//! compared with the one before.

use std::{collections::HashMap, time::Duration};

use chrono::Utc;
use client::RetryPolicy;
use contracts::{
    TicketId, TicketState,
    read::{TicketFilter, TimelineFilter},
    ticket::Ticket,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{args::WatchArgs, id, timeline};
use crate::{
    desk::Desk,
    exit::{Failure, Kind},
    shutdown,
    table::short,
    words,
};

/// Of a list. What is beyond it is told once, at the beginning.
const PAGE: u32 = 200;
/// A watcher outlives a restart of dispatch-api.
const PATIENCE: Duration = Duration::from_secs(120);

/// Prints changes until the end, the time's or the user's.
pub async fn run(desk: &Desk, args: &WatchArgs) -> Result<(), Failure> {
    let stop = shutdown::on_signal();
    let watching = async {
        match &args.ticket {
            Some(text) => {
                let id = id::resolve(&desk.api, text).await?;
                one(desk, args, id).await
            }
            None => list(desk, args).await,
        }
    };
    let bounded = async {
        let Some(bound) = args.timeout else {
            return watching.await;
        };
        match timeout_at(Instant::now() + bound, watching).await {
            Ok(result) => result,
            Err(_) => Err(Failure::timeout(format!(
                "--timeout: {} s are over{}",
                bound.as_secs(),
                args.until.map_or_else(String::new, |state| format!(
                    " and the ticket is not {state}"
                ))
            ))),
        }
    };
    tokio::select! {
        result = bounded => result,
        () = stop.cancelled() => match args.until {
            None => Ok(()),
            Some(state) => Err(Failure::failed(format!("stopped before the ticket was {state}"))),
        },
    }
}

async fn one(desk: &Desk, args: &WatchArgs, id: TicketId) -> Result<(), Failure> {
    let api = desk.api.with_retry(RetryPolicy {
        max_attempts: u32::MAX,
        total: PATIENCE,
        ..RetryPolicy::default()
    });
    let mut filter = TimelineFilter::default();
    let mut position = 0;
    let mut version = None;
    loop {
        let ticket = api.ticket_if_changed(id, version).await?;
        // Also while the version stays: notes, refusals and proposals raise none.
        loop {
            let page = api.timeline_where(id, &filter).await?;
            let told = position;
            for entry in page.items.iter().filter(|entry| entry.position > told) {
                if desk.json {
                    desk.print_line(entry)?;
                } else {
                    desk.print(&timeline::text(desk, entry))?;
                }
                position = entry.position;
            }
            let Some(next) = page.next_cursor else {
                break;
            };
            filter.cursor = Some(next);
        }
        if let Some(ticket) = ticket {
            version = Some(ticket.version);
            if let Some(end) = end(&ticket, args.until) {
                return end;
            }
        }
        sleep(args.interval).await;
    }
}

/// Whether there is nothing more to wait for.
fn end(ticket: &Ticket, until: Option<TicketState>) -> Option<Result<(), Failure>> {
    let state = ticket.state;
    match until {
        Some(wanted) if wanted == state => Some(Ok(())),
        Some(wanted) if state.is_terminal() => Some(Err(Failure::failed(format!(
            "the ticket ended as {state}, not {wanted}"
        )))),
        None if state.is_terminal() => Some(Ok(())),
        _ => None,
    }
}

/// What is told of a ticket in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    version: u64,
    state: TicketState,
}

async fn list(desk: &Desk, args: &WatchArgs) -> Result<(), Failure> {
    let mut known: Option<HashMap<TicketId, Seen>> = None;
    loop {
        let now = Utc::now();
        let filter = TicketFilter {
            limit: Some(PAGE),
            ..args.filter.filter(now)
        };
        let page = match desk.api.tickets(&filter).await.map_err(Failure::from) {
            // It may be on its way back.
            Err(failure) if failure.kind == Kind::Infrastructure && known.is_some() => {
                eprintln!("{}; tried again", failure.message);
                sleep(args.interval).await;
                continue;
            }
            page => page?,
        };
        let first = known.is_none();
        let before = known.take().unwrap_or_default();
        let mut after = HashMap::with_capacity(page.items.len());
        for item in page.items.iter().rev() {
            let ticket = &item.ticket;
            let seen = Seen {
                version: ticket.version,
                state: ticket.state,
            };
            let was = before.get(&ticket.id);
            if was != Some(&seen) {
                if desk.json {
                    desk.print_line(item)?;
                } else {
                    let change = match was {
                        _ if first => ticket.state.to_string(),
                        Some(was) if was.state != ticket.state => {
                            format!("{} → {}", was.state, ticket.state)
                        }
                        Some(_) => ticket.state.to_string(),
                        None => format!("{} (new here)", ticket.state),
                    };
                    desk.print(&format!(
                        "{}  {}  {}  {:<18} v{:<3} {change}, waits for {}\n",
                        words::time(ticket.updated_at),
                        short(ticket.id),
                        ticket.priority,
                        ticket.template.to_string(),
                        ticket.version,
                        item.waiting_for,
                    ))?;
                }
            }
            after.insert(ticket.id, seen);
        }
        if !desk.json {
            for (id, was) in &before {
                // Behind the page's end it is out of sight, not out of the list.
                if !after.contains_key(id) && page.next_cursor.is_none() {
                    desk.print(&format!(
                        "{}  {}  no longer among these; was {}\n",
                        words::time(now),
                        short(id),
                        was.state
                    ))?;
                }
            }
            if first && page.next_cursor.is_some() {
                eprintln!("more than {PAGE} tickets: only the newest {PAGE} are watched");
            }
        }
        known = Some(after);
        sleep(args.interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(state: &str) -> Ticket {
        serde_json::from_value(serde_json::json!({
            "id": "tkt_00000000000000000000000000000001",
            "tenant_id": "ten_00000000000000000000000000000001",
            "state": state, "version": 4, "template": "emergency_glass", "priority": "P1",
            "site_id": "sit_00000000000000000000000000000001", "details": {},
            "nte_cents": 1, "sla": [], "visits": [],
            "created_at": "2026-11-21T00:00:00Z", "updated_at": "2026-11-21T00:00:00Z",
        }))
        .unwrap()
    }

    #[test]
    fn a_watch_ends_with_the_state_or_with_the_ticket() {
        let ends = |state, until| end(&ticket(state), until);
        assert!(ends("ON_SITE", None).is_none());
        assert!(ends("ON_SITE", Some(TicketState::Closed)).is_none());
        assert!(ends("ON_SITE", Some(TicketState::OnSite)).unwrap().is_ok());
        assert!(ends("CLOSED", None).unwrap().is_ok());
        assert!(ends("CLOSED", Some(TicketState::Closed)).unwrap().is_ok());
        let failure = ends("CANCELLED", Some(TicketState::Closed)).unwrap();
        assert_eq!(failure.unwrap_err().kind, Kind::Failed);
    }
}
