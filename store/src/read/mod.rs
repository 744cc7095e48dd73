//! Reads of one tenant's rows, each in the caller's [`TenantTx`].
//!
//! `Ok(None)` means that there is no such ticket, or that it is another tenant's: the two cannot be
//! told apart.

mod advisor;
mod approvals;
mod comms;
mod cursor;
mod decisions;
mod directory;
mod kill_switch;
mod ledger;
mod proposals;
mod rollout;
mod search;
mod service_accounts;
mod snapshot;
mod tickets;
mod timeline;

pub use advisor::{AdvisorFacts, advisor_facts};
pub use approvals::{ApprovalRow, Inbox, approval, delegations, inbox, lent, list_of};
pub use comms::{message, messages, raw_message, ticket_messages};
pub use decisions::{Exported, decision, decisions, decisions_from};
pub use directory::{
    Homes, absences, asset, assets, booked_visits, contact, contacts, evidence, site, sites,
    technician, technicians,
};
pub use kill_switch::{ExpiredSwitch, drills, expired_switches, kill_switch, turned_switches};
pub use ledger::{Range, deeds, ledger};
pub use proposals::{agreement, approvals, proposals, viewed, viewed_with_approval};
pub use rollout::{
    StageRow, active_bundle, approval_steps_due, report, stage_changes, stage_changes_to_come,
    stages,
};
pub use service_accounts::{
    KeyFilter, KeyOfCaller, api_keys, caller, note_use, service_account, service_accounts,
};
pub use snapshot::snapshot;
pub use tickets::{TicketFacts, ticket, ticket_facts, tickets};
pub use timeline::timeline;

use crate::{Error, TenantTx};
use contracts::TicketId;

/// How far a reader sees of what is the same for all tenants: a kill switch over everything, policy
/// bundles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// That it is there; neither who did it nor what it did to others.
    OwnTenant,
    /// All of it: whoever runs the installation.
    Everybody,
}

impl Sees {
    /// What somebody of another tenant may have written.
    pub(crate) fn of_others<T>(self, value: T) -> Option<T> {
        (self == Self::Everybody).then_some(value)
    }
}

async fn exists(tx: &mut TenantTx, ticket_id: TicketId) -> Result<bool, Error> {
    let found =
        sqlx::query_scalar("select exists (select from tickets where tenant_id = $1 and id = $2)")
            .bind(tx.tenant_id().as_uuid())
            .bind(ticket_id.as_uuid())
            .fetch_one(tx.connection())
            .await?;
    Ok(found)
}

/// Splits the row that says "there is more" off a page.
fn cut<T>(mut rows: Vec<T>, limit: usize) -> (Vec<T>, bool) {
    let more = rows.len() > limit;
    rows.truncate(limit);
    (rows, more)
}

/// The words of a filter; `None`, which is no filter, when there are none.
fn texts(list: &[impl ToString]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.iter().map(ToString::to_string).collect())
}
