//! Which ticket is meant.

use client::Client;
use contracts::{TicketId, read::TicketFilter};

use crate::{exit::Failure, table::short};

/// More than this would only be confusing.
const SHOWN: u32 = 5;

/// The ticket with this id, or the only one whose id begins or ends so.
pub async fn resolve(api: &Client, text: &str) -> Result<TicketId, Failure> {
    let text = text.trim();
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let text = text.to_ascii_lowercase();
    let digits = text.strip_prefix("tkt_").unwrap_or(&text);
    if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!(
            "`{text}` is no ticket: expected an id (`tkt_` and 32 digits 0-9, a-f), the beginning of \
             one, or its last 8 digits, as `dispatch ticket list` shows them"
        )));
    }
    let filter = TicketFilter {
        q: Some(text.clone()),
        limit: Some(SHOWN),
        ..TicketFilter::default()
    };
    let page = api.tickets(&filter).await?;
    let mut found = page.items.iter().map(|item| item.ticket.id).filter(|id| {
        let all = id.to_string();
        all["tkt_".len()..].starts_with(digits) || short(id) == digits
    });
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(one), Some(other)) => Err(Failure::usage(format!(
            "more than one ticket's id begins or ends with `{text}`: {one}, {other} …; give more \
             of it"
        ))),
        (None, _) => Err(Failure::failed(format!(
            "there is no ticket `{text}`; `dispatch ticket list` shows those there are"
        ))),
    }
}
