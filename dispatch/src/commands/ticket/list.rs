//! `dispatch ticket list`.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    event::WaitingFor,
    read::{TicketCounts, TicketFilter, TicketPage, TicketSummary},
};

use super::args::ListArgs;
use crate::{
    desk::Desk,
    exit::Failure,
    table::{Mark, Table, short},
    words,
};

/// Of `--all`.
const PAGE: u32 = 200;
/// A deadline nearer than this wants to be seen.
const SOON: TimeDelta = TimeDelta::hours(1);

/// Lists tickets.
pub async fn run(desk: &Desk, args: &ListArgs) -> Result<(), Failure> {
    let now = Utc::now();
    let mut filter = TicketFilter {
        sort: args.sort,
        counts: true,
        limit: Some(if args.all { PAGE } else { args.limit }),
        ..args.filter.filter(now)
    };
    let mut rows: Vec<TicketSummary> = Vec::new();
    let mut counts = None;
    loop {
        let page = desk.api.tickets(&filter).await?;
        let next = page.next_cursor.clone();
        match (desk.json, args.all) {
            (true, true) => desk.print_line(&page)?,
            (true, false) => return desk.print_json(&page),
            (false, _) => {
                counts = counts.or(page.counts);
                rows.extend(page.items);
            }
        }
        filter.cursor = next.clone().filter(|_| args.all);
        filter.counts = false;
        if filter.cursor.is_none() {
            break;
        }
    }
    if desk.json {
        return Ok(());
    }
    let page = TicketPage {
        items: rows,
        next_cursor: None,
        counts,
    };
    desk.print(&text(desk, &page, now))
}

fn text(desk: &Desk, page: &TicketPage, now: DateTime<Utc>) -> String {
    if page.items.is_empty() {
        return "no tickets; `dispatch ticket list` without filters shows all\n".to_owned();
    }
    let mut table = Table::new(&[
        "ID",
        "STATE",
        "P",
        "TYPE",
        "WAITS FOR",
        "DUE",
        "SITE",
        "TECH",
        "UPDATED",
    ]);
    for item in &page.items {
        table.row(row(item, now));
    }
    let mut text = table.render(desk.screen, &[0, 1, 2, 5]);
    text += &footer(page.items.len(), page.counts.as_ref());
    text
}

fn row(item: &TicketSummary, now: DateTime<Utc>) -> [String; 9] {
    let ticket = &item.ticket;
    let technician = ticket.current_visit().and_then(|visit| visit.technician_id);
    [
        short(ticket.id),
        ticket.state.to_string(),
        ticket.priority.to_string(),
        ticket.template.to_string(),
        match item.waiting_for {
            WaitingFor::Nothing => "–".to_owned(),
            what => what.to_string(),
        },
        item.due_at
            .map_or_else(|| "–".to_owned(), |due| due_words(due, now)),
        short(ticket.site_id),
        technician.map_or_else(|| "–".to_owned(), short),
        words::ago(ticket.updated_at, now),
    ]
}

/// A deadline as of now; one that passed stands out.
pub fn due_words(due: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let left = due - now;
    if left < TimeDelta::zero() {
        Mark::Bad.on(&format!("late {}", words::length(-left)))
    } else if left < SOON {
        Mark::Warn.on(&format!("in {}", words::length(left)))
    } else {
        format!("in {}", words::length(left))
    }
}

fn footer(shown: usize, counts: Option<&TicketCounts>) -> String {
    let Some(counts) = counts else {
        return format!("\n{shown} shown\n");
    };
    let by_state: Vec<_> = counts
        .by_state
        .iter()
        .map(|(state, n)| format!("{n} {state}"))
        .collect();
    let more = if counts.complete { "" } else { "more than " };
    let total = counts.total;
    let of = match u64::try_from(shown) {
        Ok(1) if total == 1 => "1 ticket".to_owned(),
        Ok(shown) if shown == total && counts.complete => format!("{total} tickets"),
        _ => format!("{shown} of {more}{total} tickets; --all shows all"),
    };
    format!("\n{of}: {}\n", by_state.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contracts::TicketState;

    use super::*;
    use crate::table::Screen;

    #[test]
    fn a_deadline_that_passed_is_told_as_late() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let words =
            |seconds| Screen::PIPE.paint(&due_words(now + TimeDelta::seconds(seconds), now));
        assert_eq!(words(-7500), "late 2 h 5 min");
        assert_eq!(words(1800), "in 30 min");
        assert_eq!(words(7500), "in 2 h 5 min");
        let screen = Screen {
            width: Some(80),
            colours: true,
        };
        let late = screen.paint(&due_words(now - SOON, now));
        assert!(late.contains("\u{1b}[1;31mlate"), "{late:?}");
    }

    #[test]
    fn the_footer_says_how_many_there_are() {
        let counts = |total, complete| TicketCounts {
            total,
            by_state: BTreeMap::from([(TicketState::New, 2), (TicketState::OnSite, total - 2)]),
            complete,
        };
        assert_eq!(
            footer(3, Some(&counts(3, true))),
            "\n3 tickets: 2 NEW, 1 ON_SITE\n"
        );
        assert_eq!(
            footer(3, Some(&counts(70, true))),
            "\n3 of 70 tickets; --all shows all: 2 NEW, 68 ON_SITE\n"
        );
        assert!(footer(3, Some(&counts(70, false))).contains("of more than 70"));
    }
}
