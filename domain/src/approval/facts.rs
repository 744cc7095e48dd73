//! What a held command depends on: when it changes, the approval is void.
//!
//! Not the version: a reminder of a customer must not void an approval to send somebody. Each kind
//! of command names what its approver looked at.
//!
//! `dispatch verify` recomputes them for what was carried out long ago: other facts for a kind of
//! command would accuse what was right then.

use contracts::{Operation, canonical::canonical_sha256, ticket::Ticket};
use serde_json::{Value, json};

use crate::Rejection;

/// SHA-256 of the facts that a held command of this kind depends on.
pub fn facts_sha256(operation: Operation, ticket: &Ticket) -> Result<String, Rejection> {
    canonical_sha256(&facts(operation, ticket)).map_err(|_| Rejection::Broken {
        what: "the canonical form of the facts of an approval",
    })
}

fn facts(operation: Operation, ticket: &Ticket) -> Value {
    let visit = ticket.current_visit();
    match operation {
        // What is said or noted depends on the job going on, and on who is to hear it.
        Operation::CommsOutbound
        | Operation::AddNote
        | Operation::AddEvidence
        | Operation::AttachMessage => json!({
            "ended": ticket.state.is_terminal(),
            "contact": ticket.contact_id,
        }),
        Operation::Triage => json!({
            "state": ticket.state,
            "template": ticket.template,
            "priority": ticket.priority,
            "details": ticket.details,
        }),
        Operation::RequestChange
        | Operation::GenerateInvoice
        | Operation::Close
        | Operation::Reopen => json!({
            "state": ticket.state,
            "visit": visit.map(|visit| visit.number),
            "nte_cents": ticket.nte_cents,
            "invoice": ticket.invoice.as_ref().map(|invoice| &invoice.number),
        }),
        _ => json!({
            "state": ticket.state,
            "template": ticket.template,
            "priority": ticket.priority,
            "customer_awaited": ticket.customer_wait.is_some(),
            "visit": visit.map(|visit| json!({
                "number": visit.number,
                "window": visit.window,
                "technician_id": visit.technician_id,
            })),
        }),
    }
}
