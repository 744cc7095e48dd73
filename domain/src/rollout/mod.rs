//! Whether software may get further: what the ledger says of its advice and its acts, the gate
//! report that a promotion is decided on, and the guardrails that demote by themselves.
//!
//! Everything here is arithmetic over what was recorded before one moment: the same rows give the
//! same report, byte for byte.

mod guardrail;
mod ledger;
mod overrides;
mod report;
mod to_come;
mod wilson;

#[cfg(test)]
mod tests;

pub use guardrail::{Breached, acts, breached, unreadable, window};
pub use ledger::{
    ActFacts, ApprovalFacts, AttemptFacts, LedgerFacts, OpenFacts, PairFacts, PromiseFacts,
    StepFacts, TicketRisk, ledger, rule,
};
pub use overrides::undone;
pub use report::{CLOCKS_DIFFER, GATE_V, checks, gate_report, policy_figures, rank};
pub use to_come::{TurnedSwitch, was_stopped};
pub use wilson::lower_bound_permille;
