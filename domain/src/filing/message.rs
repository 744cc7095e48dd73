//! A message that belongs to no ticket: it came before, cannot be used, or a person has to say.

use contracts::{comms::Routing, filing::Filed};

use super::{Filing, FilingFacts, check};
use crate::{Rejection, Route};

pub(super) fn plan(facts: &FilingFacts) -> Result<Filing, Rejection> {
    check::expected_version(facts, 0)?;
    let (message_id, routing, writes) = match &facts.route {
        Some(Route::Unusable { pointer, message }) => {
            return Err(Rejection::invalid(*pointer, *message));
        }
        Some(Route::Duplicate { first, ticket_id }) => {
            let routing = Routing::Duplicate {
                first: *first,
                ticket_id: *ticket_id,
            };
            (*first, routing, false)
        }
        Some(Route::Hold {
            reason, candidates, ..
        }) => {
            let routing = Routing::Held {
                reason: *reason,
                candidates: candidates.clone(),
            };
            (facts.message, routing, true)
        }
        Some(Route::Attach { .. } | Route::Open { .. }) | None => {
            return Err(Rejection::Broken {
                what: "the route of a message without a ticket",
            });
        }
    };
    Ok(Filing {
        filed: Filed::Message {
            message_id,
            routing,
        },
        id: message_id.as_uuid(),
        applied_to_version: 0,
        produced_version: 0,
        writes,
        notices: Vec::new(),
        row: None,
        effects: Vec::new(),
        operation: None,
    })
}
