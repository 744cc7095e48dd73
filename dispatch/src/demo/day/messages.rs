//! What became of the messages that a day sent out.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use client::Client;
use contracts::{
    TicketId,
    comms::{CommsEnvelope, CommsFilter, DeliveryState, Direction},
};
use serde::Serialize;

use super::tally::Counts;
use crate::exit::Failure;

/// The newest so many are looked at: a system may hold years of messages.
const PAGES: usize = 100;
const PAGE: u32 = 200;

/// Outbound messages of the day's tickets, and those of no ticket since the day began.
#[derive(Debug, Default, Serialize)]
pub struct Messages {
    /// Their receiver took them.
    pub sent: u64,
    /// No longer wanted when their time came.
    pub withdrawn: u64,
    /// Their time has not come, or nobody has sent them yet.
    pub waiting: u64,
    /// Given up: each with what its last try met.
    pub failed: Vec<String>,
    /// There were too many to look at all.
    pub cut: bool,
}

/// Reads them, newest first.
pub async fn read(
    dispatcher: &Client,
    counts: &Counts,
    since: DateTime<Utc>,
) -> Result<Messages, Failure> {
    let tickets: HashSet<TicketId> = counts.tickets.keys().copied().collect();
    let mut messages = Messages::default();
    let mut filter = CommsFilter {
        direction: Some(Direction::Outbound),
        limit: Some(PAGE),
        ..CommsFilter::default()
    };
    for _ in 0..PAGES {
        let page = dispatcher.messages(&filter).await?;
        for message in &page.items {
            let ours = message
                .ticket_id
                .map_or(message.received_at >= since, |id| tickets.contains(&id));
            if ours {
                messages.add(message);
            }
        }
        filter.cursor = page.next_cursor;
        if filter.cursor.is_none() {
            return Ok(messages);
        }
    }
    messages.cut = true;
    Ok(messages)
}

impl Messages {
    fn add(&mut self, message: &CommsEnvelope) {
        let Some(delivery) = &message.delivery else {
            return;
        };
        match delivery.state {
            DeliveryState::Sent => self.sent += 1,
            DeliveryState::Withdrawn => self.withdrawn += 1,
            DeliveryState::Queued => self.waiting += 1,
            DeliveryState::Failed => {
                let why = delivery.last_result.as_ref();
                self.failed.push(format!(
                    "{}: {}",
                    message.id,
                    why.map_or("unknown".to_owned(), ToString::to_string)
                ));
            }
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let cut = match self.cut {
            true => format!(", of the newest {}", PAGES * PAGE as usize),
            false => String::new(),
        };
        format!(
            "sent {}, withdrawn {}, waiting {}, failed {}{cut}",
            self.sent,
            self.withdrawn,
            self.waiting,
            self.failed.len()
        )
    }
}
