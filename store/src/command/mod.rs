//! The command transaction's two calls: [`open`] takes the locks and reads, [`commit`] writes.
//!
//! Between them the policy and `domain::decide` run; before and after stand the transaction's own
//! begin and commit. That makes four round trips; an inbound message needs a fifth before, [`route`],
//! because its ticket is not known. Everything that must be true together is checked
//! where it is written, so a bug in between cannot tear it apart.

mod commit;
mod held;
mod open;
mod route;
mod writes;

#[cfg(feature = "bench")]
pub use commit::commit_unchained;
pub use commit::{Attempt, BesideRow, DecisionRow, StoredAnswer, commit};
pub use held::{AskedRow, HeldRow, asked_before, held};
pub use open::{
    AccountAsks, Asks, ControlAsks, ControlRow, DelegationRow, FilingAsks, FilingRow, HourAsks,
    HourRow, KnownEvidence, LockedTicket, Offered, OpenFacts, OpenRequest, Opened, Reach,
    ReportRow, Stored, TenantRow, Thing, WhichAccount, counted_in, open, switches,
};
pub use route::{RouteRows, route};
pub use writes::{Counted, HeldCommand, ReceivedMessage, Writes};
