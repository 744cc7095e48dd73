//! What software did by itself: nothing under an engaged kill switch, and no change in shadow mode.
//!
//! The policy decides so from what it is told, and what it is told is read under locks. This looks
//! at the outcome instead: at the order in which the rows were written, which those locks make that
//! of the commits.

use contracts::{Operation, command::CommandClass};
use sqlx::PgConnection;
use strum::VariantArray;

use super::{Findings, Invariant, MOST_PER_CHECK};
use crate::Error;

/// What the workflow records whatever the kill switch says: `autonomy.through_kill_switch` of the
/// policy data.
const THROUGH_KILL_SWITCH: [Operation; 2] = [Operation::RecordProposal, Operation::RecordSla];

/// Between each accepted engaging and the next accepted release. `$1`: what the workflow may go on
/// with.
const UNDER_KILL_SWITCH: &str = "
    select 'audit_events ' || a.command_id from audit_events e
    left join lateral (
        select min(r.recorded_at) as recorded_at from audit_events r
         where r.tenant_id = e.tenant_id and r.operation = 'release_kill_switch'
           and r.refused is null and r.recorded_at > e.recorded_at) released on true
    join audit_events a on a.tenant_id = e.tenant_id and a.recorded_at > e.recorded_at
     and (released.recorded_at is null or a.recorded_at < released.recorded_at)
    where e.operation = 'engage_kill_switch' and e.refused is null and a.refused is null
      and (a.actor_kind = 'agent' or a.actor_kind = 'workflow' and not a.operation = any($1))";

/// `$1`: the operations that change a ticket.
const CHANGE_IN_SHADOW: &str = "
    select 'audit_events ' || a.command_id from audit_events a
    join policy_decisions d on d.tenant_id = a.tenant_id and d.id = a.decision_id
    where a.refused is null and a.actor_kind in ('agent', 'workflow') and a.operation = any($1)
      and d.input::jsonb ->> 'autonomy' = 'SHADOW'";

pub(super) async fn check(tx: &mut PgConnection, found: &mut Findings) -> Result<(), Error> {
    let words = |operations: &[Operation]| -> Vec<String> {
        operations.iter().map(ToString::to_string).collect()
    };
    let changes: Vec<_> = Operation::VARIANTS
        .iter()
        .copied()
        .filter(|operation| operation.class() == CommandClass::Change)
        .collect();
    let checks = [
        (
            "software acted under an engaged kill switch",
            UNDER_KILL_SWITCH,
            words(&THROUGH_KILL_SWITCH),
        ),
        (
            "software changed a ticket by itself in shadow mode",
            CHANGE_IN_SHADOW,
            words(&changes),
        ),
    ];
    for (what, sql, operations) in checks {
        let places: Vec<String> = sqlx::query_scalar(sql)
            .bind(operations)
            .fetch_all(&mut *tx)
            .await?;
        for place in places.into_iter().take(MOST_PER_CHECK) {
            found.add(Invariant::I5, place, what);
        }
    }
    Ok(())
}
