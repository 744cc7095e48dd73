//! What a text in the search box of the ticket list means.
//!
//! What names a ticket (the beginning of its id, its short form, its invoice's number) is looked up
//! first, by index. A text that names none is looked for in codes and details. Contacts, notes and
//! messages are never searched: they are personal data.

use contracts::TicketId;
use uuid::Uuid;

use crate::{Error, TenantTx};

/// Sites and assets that one text can mean.
const THINGS: i64 = 500;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Search {
    /// Ids from here to there.
    Ids(Uuid, Uuid),
    /// The end of an id.
    ShortId(String),
    /// The number of an invoice.
    Invoice(String),
    /// A part of a code or of a word of the details.
    Word(Word),
}

/// A part of a word, and the things whose code has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    pub sites: Vec<Uuid>,
    pub assets: Vec<Uuid>,
}

impl Search {
    /// Finds out what the text means for this tenant.
    pub(super) async fn resolve(tx: &mut TenantTx, text: &str) -> Result<Self, Error> {
        let tenant = tx.tenant_id().as_uuid();
        let text = text.trim().to_ascii_lowercase();
        if let Some((first, last)) = id_range(&text) {
            let found: bool = sqlx::query_scalar(
                "select exists (select from tickets where tenant_id = $1 and id between $2 and $3)",
            )
            .bind(tenant)
            .bind(first)
            .bind(last)
            .fetch_one(tx.connection())
            .await?;
            if found {
                return Ok(Self::Ids(first, last));
            }
        }
        let invoice = text.to_ascii_uppercase();
        let (short, invoiced): (bool, bool) = sqlx::query_as(
            "select exists (select from tickets where tenant_id = $1 and short_id = $2),
                    exists (select from tickets where tenant_id = $1 and invoice_number = $3)",
        )
        .bind(tenant)
        .bind(&text)
        .bind(&invoice)
        .fetch_one(tx.connection())
        .await?;
        if short {
            return Ok(Self::ShortId(text));
        }
        if invoiced {
            return Ok(Self::Invoice(invoice));
        }
        let sites = sqlx::query_scalar(
            "select id from sites where tenant_id = $1 and position($2 in code) > 0
             order by code limit $3",
        )
        .bind(tenant)
        .bind(&text)
        .bind(THINGS)
        .fetch_all(tx.connection())
        .await?;
        let assets = sqlx::query_scalar(
            "select id from assets where tenant_id = $1 and position($2 in code) > 0
             order by code limit $3",
        )
        .bind(tenant)
        .bind(&text)
        .bind(THINGS)
        .fetch_all(tx.connection())
        .await?;
        Ok(Self::Word(Word {
            text,
            sites,
            assets,
        }))
    }
}

/// The ids that begin with these hex digits.
fn id_range(text: &str) -> Option<(Uuid, Uuid)> {
    let digits = text
        .strip_prefix(TicketId::PREFIX)
        .and_then(|rest| rest.strip_prefix('_'))
        .unwrap_or(text);
    let hex = (1..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !hex {
        return None;
    }
    let first = Uuid::try_parse(&format!("{digits:0<32}")).ok()?;
    let last = Uuid::try_parse(&format!("{digits:f<32}")).ok()?;
    Some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_is_a_range_of_ids() {
        let range = |first, last| Some((Uuid::from_u128(first), Uuid::from_u128(last)));
        let (first, last) = (0x019a_u128 << 112, (0x019b_u128 << 112) - 1);
        assert_eq!(id_range("019a"), range(first, last));
        assert_eq!(id_range("tkt_019a"), range(first, last));
        assert_eq!(id_range(&"f".repeat(32)), range(u128::MAX, u128::MAX));
        for no in ["", "tkt_", "harbour", "sit_019a", &"0".repeat(33)] {
            assert_eq!(id_range(no), None, "{no}");
        }
    }
}
